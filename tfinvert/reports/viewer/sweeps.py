"""Inversions of one image from several layers of one network, which the layer browser shows together."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from typing import Any

from tfinvert.reports.viewer.catalog import Catalog
from tfinvert.reports.viewer.paths import ROOT, inside
from tfinvert.reports.viewer.plain import short
from tfinvert.system.files import read_text

LARGEST_GRAPH = 2**21  # bytes
MOST_LAYERS = 2000


def find(catalog: Catalog) -> list[dict[str, Any]]:
    """The sweeps of a catalog: folders whose runs invert one layer each of one network, the one that changed last first."""
    folders: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for name in catalog.names():
        card = catalog.card(name)
        if card is None or name == ROOT or card["experiment"] != "invert" or card["layer"] is None:
            continue
        folder = name.rpartition("/")[0] or ROOT
        folders[folder, card["network"]].setdefault(card["layer"]["name"], card)
    return [_described(folder, network, runs) for (folder, network), runs in folders.items() if len(runs) > 1]


def layers(catalog: Catalog, folder: str) -> dict[str, Any] | None:
    """A sweep with its layers in the order of the network, and which layer reads which; None where there is no such sweep."""
    sweep = next((sweep for sweep in find(catalog) if sweep["name"] == folder), None)
    if sweep is None:
        return None
    connections = _connections(catalog, folder)
    order = {name: place for place, name in enumerate(connections)}
    known = {card["layer"]["name"] for card in sweep["runs"]}
    runs = sorted(sweep["runs"], key=lambda card: (order.get(card["layer"]["name"], len(order)), *_depth(card)))
    return {
        **sweep,
        "runs": [
            {**card, "reads": [name for name in connections.get(card["layer"]["name"], []) if name in known]} for card in runs
        ],
        "connected": any(connections.values()),
        "target": _target(catalog, runs),
    }


def _described(folder: str, network: str, runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    cards = sorted(runs.values(), key=_depth)
    return {
        "name": folder,
        "network": network,
        "image": cards[0]["image"],
        "weights": cards[0]["weights"],
        "finished": sum(card["finished"] for card in cards),
        "running": sum(card["state"] == "running" for card in cards),
        "changed": max(card["changed"] for card in cards),
        "runs": cards[:MOST_LAYERS],
    }


def _depth(card: dict[str, Any]) -> tuple[float, ...]:
    """Orders layers that no graph orders: by what a value sees of the image, then by when their runs began."""
    layer = card["layer"]
    stride, field = layer["stride"] or [1e9], layer["receptive_field"] or [1e9]
    return (stride[0], field[0], card["made"])


def _connections(catalog: Catalog, folder: str) -> dict[str, list[str]]:
    """Layer -> the layers that it is computed from, as the sweep's graph.json has it; empty where there is none."""
    parents = [folder, folder.rpartition("/")[0] or ROOT]  # a sweep over several images has one graph.json above them
    places = ("graph.json" if name == ROOT else f"{name}/graph.json" for name in parents)
    path = next((path for place in places if (path := inside(catalog.folder, place))), None)
    if path is None:
        return {}
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(read_text(path, LARGEST_GRAPH))
        if isinstance(content, dict):
            pairs = [(short(name), reads) for name, reads in list(content.items())[:MOST_LAYERS] if isinstance(reads, list)]
            return {name: [short(each) for each in reads[:50] if isinstance(each, str)] for name, reads in pairs}
    return {}


def _target(catalog: Catalog, runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    for card in runs:
        path = inside(catalog.folder, f"{card['name']}/target.png")
        if path is not None:
            return {"run": card["name"], "path": "target.png", "stamp": path.lstat().st_mtime_ns}
    return None
