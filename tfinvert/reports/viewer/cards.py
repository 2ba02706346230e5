"""What the pages show of one run directory: a card, and everything."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfinvert.reports.captions import caption, in_rows, is_map
from tfinvert.reports.viewer.plain import plain, short
from tfinvert.runs import reading
from tfinvert.runs.directory import RunDirectory

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
LARGEST_INFO, CARD_METRICS, PAGE_METRICS = 2**21, 2**16, 2**23  # bytes that are read
MOST_FILES, MOST_LINES, MOST_STEPS, MOST_IMAGES = 3000, 1000, 2000, 200
FRESH_SECONDS, HELD_SECONDS = 30, 900  # since the last change, for a run that goes on; the second while it holds its lock


def read(path: Path, name: str) -> dict[str, Any]:
    """What a card shows, from the files alone. What is damaged or missing there is empty.

    Args:
      path: the run directory.
      name: its name in the catalog.
    """
    directory = RunDirectory(path)
    info, flags = _info(directory), reading.read_flags(directory.flags)
    lines = reading.read_metrics(directory.metrics, CARD_METRICS)
    last = lines[-1] if lines else {}
    result = info.get("result", {})
    layers = info.get("layers", {})
    figures = {
        key: value for key in ("psnr", "ssim", "normalized_feature_error") if reading.is_number(value := result.get(key))
    }
    if "psnr" not in figures and "psnr" in last:
        figures["psnr"] = last["psnr"]
    return {
        "name": name,
        "experiment": short(info.get("experiment") or flags.get("experiment", "invert")).rpartition("/")[2],
        "network": short(info.get("network") or flags.get("model", "")),
        "layers": [short(layer) for layer in list(layers)[:20]],
        "layer": _layer(layers),
        "image": short(info.get("image") or flags.get("image", "")),
        "weights": short(info.get("weights", "")),
        "settings": short(" ".join(f"{key}={value}" for key, value in flags.items()), 2000),
        "finished": "result" in info and "stopped" not in info,
        "stopped": short(info.get("stopped", "")),
        "holder": (path / ".lock.holder").is_file(),
        "step": last.get("step"),
        "steps": _steps(info, flags),
        "loss": last.get("loss"),
        "figures": figures,
        "latest": _latest(directory),
        "made": _time(directory.flags),
    }


def state(card: Mapping[str, Any], changed: float) -> str:
    """How a run stands: finished, stopped, running, or unfinished where it neither goes on nor says why it stopped."""
    if card["stopped"]:
        return "stopped"
    if card["finished"]:
        return "finished"
    age = time.time() - changed
    return "running" if age < (HELD_SECONDS if card["holder"] else FRESH_SECONDS) else "unfinished"


def read_all(path: Path) -> dict[str, Any]:
    """What the page of a run shows beside its card."""
    directory = RunDirectory(path)
    info, flags = _info(directory), reading.read_flags(directory.flags)
    steps = _step_images(directory)
    files = _list_files(path)
    shown = {file["path"] for file in files}
    return {
        "target": "target.png" if "target.png" in shown else "",
        "final": "final.png" if "final.png" in shown else "",
        "stepImages": [{"step": step, "path": f"images/{file}", "stamp": stamp} for step, (file, stamp) in steps.items()],
        "rows": _rows(files, {f"images/{file}" for file, _ in steps.values()}, info),
        "metrics": _thinned(reading.read_metrics(directory.metrics, PAGE_METRICS)),
        "answer": short(info.get("answer", ""), 2000),
        "result": plain(info.get("result", {})),
        "chosen": plain(info.get("settings", {})),
        "flags": {short(key): short(value, 500) for key, value in list(flags.items())[:300]},
        "command": _command(flags),
        "versions": plain(info.get("versions", {})),
        "size": plain(info.get("size")),
        "files": files,
    }


def _info(directory: RunDirectory) -> dict[str, Any]:
    info = reading.read_info(directory.info, LARGEST_INFO)
    return info or reading.read_outcome(directory.path, LARGEST_INFO)


def _layer(layers: Mapping[str, Any]) -> dict[str, Any] | None:
    """The only layer of a run with its shape, stride and receptive field, or None."""
    if len(layers) != 1:
        return None
    ((name, about),) = layers.items()
    return {"name": short(name), **{key: _sides(about.get(key)) for key in ("shape", "stride", "receptive_field")}}


def _sides(value: object) -> list[float] | None:
    return value if isinstance(value, list) and len(value) <= 4 and all(map(reading.is_number, value)) else None


def _steps(info: Mapping[str, Any], flags: Mapping[str, str]) -> int | None:
    """The number of steps of the whole run, where it is known."""
    value = info.get("settings", {}).get("steps", flags.get("steps"))
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return int(value) if 0 < int(value) < reading.LARGEST_STEP else None
    return None


def _command(flags: Mapping[str, str]) -> str:
    """The command line that repeats a run."""
    rest = [shlex.quote(f"--{name}={value}"[:1000]) for name, value in list(flags.items())[:300] if name != "experiment"]
    return " ".join(["tfinvert", shlex.quote(flags.get("experiment", "invert")[:500]), *rest]) if flags else ""


def _time(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _step_images(directory: RunDirectory) -> dict[int, tuple[str, int]]:
    """The images of the steps: step -> (file name, time of its change), in order; evenly thinned where there are many."""
    found = {}
    with contextlib.suppress(OSError), os.scandir(directory.images) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix == ".png" and stem.isdecimal() and stem.isascii() and len(stem) < 16:
                with contextlib.suppress(OSError):
                    if entry.is_file(follow_symlinks=False):
                        found[int(stem)] = (entry.name, entry.stat(follow_symlinks=False).st_mtime_ns)
    ordered = sorted(found.items())
    part = -(-len(ordered) // MOST_STEPS)
    return dict([*ordered[: -1 : max(part, 1)], *ordered[-1:]])


def _latest(directory: RunDirectory) -> dict[str, Any] | None:
    """The newest image of a run: the result, else that of the last step, else any other."""
    for name in ("final.png", "tensorflow.png", "losses.png"):
        if _is_file(directory.path / name):
            return {"path": name, "stamp": (directory.path / name).lstat().st_mtime_ns}
    if steps := _step_images(directory):
        file, stamp = steps[max(steps)]
        return {"path": f"images/{file}", "stamp": stamp}
    others: list[tuple[bool, int, str]] = []
    with contextlib.suppress(OSError), os.scandir(directory.images) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _is_image(entry.name) and entry.is_file(follow_symlinks=False):
                    # An overlay says the most; else the first that was written.
                    others.append(("overlay" not in entry.name, entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    if others:
        _, stamp, name = min(others)
        return {"path": f"images/{name}", "stamp": stamp}
    if _is_file(directory.sheet):
        return {"path": "sheet.png", "stamp": directory.sheet.lstat().st_mtime_ns}
    return None


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _list_files(path: Path) -> list[dict[str, Any]]:
    """The files of a run directory with their sizes and times, without hidden ones and links."""
    files: list[dict[str, Any]] = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(path)
        for name in sorted(names):
            with contextlib.suppress(OSError, UnicodeEncodeError):
                about = (Path(folder) / name).lstat()
                if not name.startswith(".") and name.encode() and _is_file(Path(folder) / name):
                    files.append({"path": (below / name).as_posix(), "size": about.st_size, "stamp": about.st_mtime_ns})
        if len(files) >= MOST_FILES:
            break
    return files[:MOST_FILES]


def _rows(files: list[dict[str, Any]], steps: set[str], info: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The images that are no step in rows: maps, overlays, fooling images, styles, in the order in which they were written.

    Args:
      files: all files.
      steps: the paths of the images of steps.
      info: what run.json holds.
    """
    paths = {file["path"] for file in files}
    has_stage = "final.png" in paths or bool(steps)  # which shows the target
    known = {"final.png", "sheet.png", "compare.png", "curves.png", *steps, *(("target.png",) if has_stage else ())}
    images = [file for file in files if _is_image(file["path"]) and file["path"] not in known]
    images = sorted(images, key=lambda file: (file["stamp"], file["path"]))[:MOST_IMAGES]
    rows = in_rows(images, _stem, info)
    return [
        [{**file, "caption": short(caption(_stem(file), info)), "map": is_map(_stem(file), info)} for file in row]
        for row in rows
    ]


def _stem(file: Mapping[str, Any]) -> str:
    return Path(file["path"]).stem


def _thinned(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most about a thousand lines, the last one among them, with the names of the last one."""
    names = list(lines[-1])[:40] if lines else []
    part = max(-(-len(lines) // MOST_LINES), 1)
    return [{name: line[name] for name in names if name in line} for line in [*lines[:-1:part], *lines[-1:]]]
