"""The row of one file: its conversion, its names, three inversions and their geometry."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.images import files

STEPS = 30
UNITS = 3  # images whose gradients a support is measured with

# By the beginning of a file's name: what people call the parts of such a network.
NAMES = {
    "alexnet": ("conv5", "fc6", "features.4"),
    "vgg": ("conv3_1", "pool5", "fc6", "features.4"),
    "resnet": ("res2", "layer3.1", "layer4"),
    "resnext": ("res2", "layer3.1", "layer4"),
    "squeezenet": ("fire4", "features.4"),
    "densenet": ("denseblock2", "features.denseblock2"),
    "googlenet": ("mixed3", "inception4a"),
    "inception": ("mixed3", "Mixed_5b"),
    "mobilenet": ("block4", "features.4"),
    "shufflenet": ("mixed3", "stage3"),
    "mnasnet": ("block4", "layers.9"),
    "efficientnet_lite": ("block4", "_blocks.4"),
    "efficientnet": ("block4", "features.4"),
    "regnet": ("res4", "trunk_output.block2"),
    "convnext": ("res4", "features.4"),
    "vit": ("block1", "block11", "patch_embed", "encoder.layers.encoder_layer_5"),
    "swin": ("block3", "features.3"),
    "timm-vit": ("block1", "block11", "patch_embed", "blocks.4"),
    "clip": ("block1", "block11", "patch_embed", "transformer.resblocks.4"),
    "MobileNetV2": ("block_6_expand_relu",),
    "ResNet50V2": ("conv4_block6_out",),
    "EfficientNetB0": ("block4a_expand_activation",),
    "ConvNeXtTiny": ("convnext_tiny_stage_1_block_1_identity",),
    "DenseNet121": ("conv3_block2_concat",),
    "light_": ("scores",),
}


def row(path: Path, converter: str, *, inverts: bool) -> dict[str, Any]:
    """Converts the network of a file, and inverts three layers or none; returns what the table says of it."""
    import tfinvert

    weights = "random" if path.name.startswith("light_") else "auto"
    network = tfinvert.load(path, weights=weights, converter=converter)
    wanted = next((NAMES[key] for key in sorted(NAMES, key=len, reverse=True) if path.name.startswith(key)), ())
    names = dict.fromkeys(network.layers)
    missing = [name for name in wanted if not _is_there(network, name)]
    every = dict.fromkeys((*names, *(name for name in wanted if name not in missing)))
    network.prepare(every)
    built = network if converter == "keras" or not inverts else tfinvert.load(path, weights=weights, converter="keras")
    errors = _errors(network, every)
    converters = sorted({one.converter for one in getattr(network._source, "_converted", {}).values()})
    if "onnx2tf" in converters and inverts:  # else the layers of Keras are at hand
        built_errors = _errors(built, every)
    else:
        built, built_errors = network, errors or [_error_of_copies(network, every)]
    placed = [network.layer(name) for name in names if network.layers[name].stride is not None]
    chosen = list({layer.name: layer for layer in (placed[0], placed[len(placed) // 2], placed[-1])}.values())
    fell, geometry = 0, []
    for layer in chosen if inverts else ():
        result = tfinvert.invert("astronaut", built, layers=layer.name, steps=STEPS, save_every=STEPS // 2, progress=False)
        losses = [line["loss"] for line in result.history]
        fell += bool(np.isfinite(losses).all() and losses[-1] < losses[0])
        geometry.append(f"{layer.name}: {compared(built, layer)}")
    return {
        "converter": ", ".join(converters) or "none needed",
        "layers": len(every),
        "largest error": max(errors, default=None),
        "error of the builder": max(built_errors, default=None),
        "missing": missing,
        "inverted": f"{fell} of {len(chosen)}" if inverts else "-",
        "geometry": geometry,
        **_used(),
    }


def _errors(network: Any, names: Any) -> list[float]:
    network.prepare(names)
    return [float(error) for name in names if (error := network.layer(name).error) is not None]


def _error_of_copies(network: Any, names: Any) -> float:
    """The largest difference of copied Keras layers from the layers themselves, relative to the largest value of a layer."""
    image = np.concatenate([files.load(name, network.size, "squash") for name in ("astronaut", "rocket")])
    copies, wanted = network.plain(names)(image), network.features(image, names)
    return max(float(np.abs(copies[name] - wanted[name]).max() / np.abs(wanted[name]).max()) for name in names)


def _used() -> dict[str, float]:
    """Processor seconds and the most memory of this process and of those that converted."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in both)
    return {"seconds": round(seconds, 1), "GB": round(max(one.ru_maxrss for one in both) / 2**20, 2)}


def _is_there(network: Any, name: str) -> bool:
    from tfinvert.system.errors import InputError

    try:
        network.check(name)
    except InputError:
        return False
    return True


def compared(network: Any, layer: Any) -> str:
    """The stated receptive field of a layer beside the support of the gradient of its middle unit."""
    if layer.stride is None:
        return "no places"
    found = _support(network, layer)
    if found is None:
        return "no gradient"
    limit = layer.receptive_field or network.size
    stated = tuple(min(field, side) for field, side in zip(limit, network.size, strict=True))
    words = f"{'x'.join(map(str, stated))} stated, {'x'.join(map(str, found))} computed"
    if found == stated:
        return f"equal ({words})"
    return f"{'inside' if all(a <= b for a, b in zip(found, stated, strict=True)) else 'LARGER'} ({words})"


def _support(network: Any, layer: Any) -> tuple[int, int] | None:
    """Height and width of the pixels that a unit in the middle depends on."""
    import tensorflow as tf

    model = network.cut(layer.name)
    image = tf.random.stateless_uniform((UNITS, *network.size, 3), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = model(image, training=False)[layer.name]
        unit = value[:, value.shape[1] // 2, value.shape[2] // 2] if value.shape.rank == 4 else value[:, value.shape[1] // 2]
        signs = tf.random.stateless_normal(unit.shape, (3, 4))
        total = tf.reduce_sum(unit * signs)
    gradient = tape.gradient(total, image)
    if gradient is None:
        return None
    seen = np.abs(gradient.numpy()).max((0, 3)) > 0
    if not seen.any():
        return None
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
