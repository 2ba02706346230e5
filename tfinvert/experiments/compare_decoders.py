"""The same features inverted three ways: by optimization, by a decoder, and by optimization from what the decoder gives."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert import metrics
from tfinvert.decoders import data as pictures
from tfinvert.decoders import model as decoders
from tfinvert.decoders.model import Encoder
from tfinvert.images import files as images
from tfinvert.images import parameterizations
from tfinvert.networks.conversion import convert
from tfinvert.networks.network import Network, load
from tfinvert.optimization import precision, presets
from tfinvert.optimization.step import run_optimization
from tfinvert.reports import sheet
from tfinvert.runs import provenance
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.config import CompareDecodersConfig, Config, flagfile

WAYS = ("optimization", "decoder", "from the decoder")
COLUMNS = ("layer", "picture", "way", "steps", "psnr", "ssim", "image_error", "feature_error", "seconds")


def run(config: CompareDecodersConfig, run_dir: RunDirectory) -> list[dict[str, Any]]:
    """Inverts each picture from each decoder's layer; writes the figure, the table and the pictures.

    Returns:
      The rows of the table: layer, picture, way, steps, PSNR in dB, SSIM, image error ||x - x0|| over the mean distance of two
      photographs (Dosovitskiy & Brox 2016), feature error ||phi(x) - phi0||^2 / ||phi0||^2, seconds per picture; for the
      third way also `steps_to_psnr` and `steps_to_feature_loss`, after how many steps it is as good as the first is in the
      end, None where it is not.

    Raises:
      InputError: a decoder is for another encoder, or a picture or the network cannot be used.
      NonFiniteLossError: an optimization diverged.
    """
    precision.grow_gpu_memory()
    names = config.pictures or (config.image,)
    rows: list[dict[str, Any]] = []
    with run_dir.locked():
        started = False
        for source, layer in zip(config.decoders, config.layers, strict=True):
            with convert.Conversion(convert.request_for(config, (layer,))) as conversion:
                network = load(conversion.result(), config.network_name())
                own = Encoder.of(config, network.layers[layer], network.size, conversion.request)
                decoders.encoder_of(source).refuse_other(dataclasses.asdict(own), source)
                targets = np.concatenate([images.load(name, network.size) for name in names])
                if not started:
                    info = provenance.describe(config, network, conversion.request, targets)
                    run_dir.create(
                        flagfile(config), {**info, "image": ", ".join(names), "decoders": config.decoders}, resume=False
                    )
                    for number, target in enumerate(targets):
                        images.save(run_dir.images / f"target-{number}.png", target)
                    distance = _mean_distance(network.size)
                    started = True
                info["layers"] |= {layer: dataclasses.asdict(network.layers[layer])}
                rows += _compared(config, run_dir, network, layer, source, targets, distance)
        for row in rows:
            row["picture"] = names[row["picture"]]
        run_dir.write_info({**info, "result": {"rows": rows}})
        run_dir.write_table(_table(rows))
        _write_sheet(config, run_dir, info, rows, names)
    return rows


def _compared(
    config: CompareDecodersConfig,
    run_dir: RunDirectory,
    network: Network,
    layer: str,
    source: str,
    targets: np.ndarray,
    distance: float,
) -> list[dict[str, Any]]:
    encode = tf.function(lambda given: network.model(given, training=False)[layer])
    wanted = encode(tf.constant(targets)).numpy()
    decode = decoders.load(source)
    decode(wanted)  # traced before it is timed
    began = time.perf_counter()
    decoded = np.clip(decode(wanted), 0, 1).astype(np.float32)
    instant = time.perf_counter() - began
    grey = np.concatenate([parameterizations.initial_image("grey", network.size, config.seed)] * len(targets))
    settings = presets.at_depth(config.inversion(layer), {layer: network.layers[layer]}, network.size)
    fewer = config.warm(settings)
    cold = _optimized(settings, network, wanted, targets, grey)
    warm = _optimized(fewer, network, wanted, targets, decoded)
    found = {
        WAYS[0]: (cold["image"], settings.steps, cold["seconds"]),
        WAYS[1]: (decoded, 0, instant),
        WAYS[2]: (warm["image"], fewer.steps, warm["seconds"] + instant),
    }
    rows: list[dict[str, Any]] = []
    for way, (pictures_found, steps, seconds) in found.items():
        features = encode(tf.constant(pictures_found)).numpy()
        for number, (one, target) in enumerate(zip(pictures_found, targets, strict=True)):
            images.save(run_dir.images / f"{layer.replace('/', '_')}-{number}-{WAYS.index(way)}.png", one)
            row = {
                "layer": layer,
                "picture": number,
                "way": way,
                "steps": steps,
                "psnr": min(metrics.psnr(one, target), 200.0),
                "ssim": metrics.ssim(one, target),
                "image_error": float(np.linalg.norm(one - target)) / distance,
                "feature_error": metrics.normalized_feature_error(features[number], wanted[number]),
                "seconds": seconds / len(targets),
            }
            if way == WAYS[2]:
                row["steps_to_psnr"] = _first(warm["psnr"][:, number] >= cold["psnr"][-1, number])
                row["steps_to_feature_loss"] = _first(warm["features"] <= cold["features"][-1])
            rows.append(row)
    return rows


def _optimized(
    config: Config, network: Network, wanted: np.ndarray, targets: np.ndarray, initial: np.ndarray
) -> dict[str, Any]:
    """All pictures at once: the best images, seconds, and by step each one's PSNR and the sum of their feature losses."""
    optimization = run_optimization(config, network.model, {config.layers[0]: tf.constant(wanted)}, initial)
    quality, losses = [], []
    watching = 0.0
    began = time.perf_counter()
    for snapshot in optimization.run(config.steps):
        if snapshot.image is not None:
            stopped = time.perf_counter()
            quality.append([min(metrics.psnr(*pair), 200.0) for pair in zip(snapshot.image, targets, strict=True)])
            losses.append(snapshot.terms[config.layers[0]])
            watching += time.perf_counter() - stopped
    seconds = time.perf_counter() - began - watching
    best = np.clip(optimization.best_image(), 0, 1)
    return {"image": best, "seconds": seconds, "psnr": np.array(quality), "features": np.array(losses)}


def _first(reached: np.ndarray) -> int | None:
    return int(np.argmax(reached)) if reached.any() else None


def _mean_distance(size: tuple[int, int]) -> float:
    """The mean Euclidean distance of two photographs, over all pairs of scikit-image's."""
    names = (*pictures.TRAINING_SAMPLES, *pictures.HELD_OUT_SAMPLES)
    found = pictures.Pictures([images.sample(name) for name in names], size).centers() / np.float32(255)
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    return float(np.mean([np.linalg.norm(found[i] - found[j]) for i, j in pairs]))


def _table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown, with the mean over the pictures of each layer and way."""
    lines = [f"| {' | '.join(COLUMNS)} | as good after |", f"|{'---|' * (len(COLUMNS) + 1)}"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["way"]), []).append(row)
        lines.append(_line(row))
    for (layer, way), group in groups.items():
        if len(group) > 1:
            numbers = {name: float(np.mean([row[name] for row in group])) for name in COLUMNS[4:]}
            lines.append(_line({"layer": layer, "picture": "mean", "way": way, "steps": group[0]["steps"], **numbers}))
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    cells = [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS]
    after = row.get("steps_to_psnr")
    return f"| {' | '.join(cells)} | {'' if after is None else f'{after} steps'} |"


def _write_sheet(
    config: CompareDecodersConfig,
    run_dir: RunDirectory,
    info: dict[str, Any],
    rows: list[dict[str, Any]],
    names: tuple[str, ...],
) -> None:
    cells = []
    for layer in config.layers:
        for number, name in enumerate(names):
            cells.append((run_dir.images / f"target-{number}.png", f"{name}, from {layer}"))
            for place, way in enumerate(WAYS):
                row = next(r for r in rows if (r["layer"], r["picture"], r["way"]) == (layer, name, way))
                steps = f", {row['steps']} steps" if row["steps"] else ""
                path = run_dir.images / f"{layer.replace('/', '_')}-{number}-{place}.png"
                cells.append((path, f"{way}{steps}: {row['psnr']:.1f} dB"))
    second = f"weights: {info['weights']}; {config.pool} pooling; {', '.join(config.decoders)}"
    sheet.write_side_by_side(run_dir.sheet, [f"{info['network']}: one inversion, three ways", second], cells, 1 + len(WAYS))
