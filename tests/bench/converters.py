"""What makes the Keras model: onnx2tf, the builder of Keras layers, and Keras layers that a person wrote."""

import statistics
import tempfile
from typing import Any

import keras

from tests.bench.orders import HOMEWORK
from tests.bench.workers import Worker, measure_in_turn

CASES = [("vgg16-bn", "conv3_1", "avg"), ("vgg16-bn", "pool5", "avg"), ("resnet18", "res2", "max")]
SIDES = {
    "onnx2tf": {"side": "tensorflow", "converter": "onnx2tf"},
    "Keras layers, built": {"side": "tensorflow", "converter": "keras"},
    "Keras layers, by hand": {"side": "by hand"},
}
layers = keras.layers


def measure() -> list[dict[str, Any]]:
    """A row for each case and side, on one thread, with nothing in the cache: processor time, since machines are shared."""
    rows = []
    for model, layer, pool in CASES:
        with tempfile.TemporaryDirectory() as folder:
            case: dict[str, Any] = {"model": model, "pool": pool, "threads": 1}
            case["settings"] = {**HOMEWORK, "layers": (layer,), "precision": "float32"}
            workers = {
                name: Worker(**case, **side, cache=f"{folder}/{number}") for number, (name, side) in enumerate(SIDES.items())
            }
            measure_in_turn(workers)
            rows += [
                {
                    "network": model,
                    "layer": layer,
                    "model": name,
                    "first step (s of processor time)": worker.first_processor,
                    "steps/s of processor time": 1 / statistics.median(worker.processor),
                    "memory (MB)": worker.close(),
                }
                for name, worker in workers.items()
            ]
    return rows


def by_hand(model: str, layer: str, pool: str, size: int) -> keras.Model:
    """A network up to a layer as a person would write it in Keras, with random weights."""
    image = keras.Input((size, size, 3))
    value = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.229**2, 0.224**2, 0.225**2])(image)
    made = keras.Model(image, {layer: {"vgg16-bn": _vgg, "resnet18": _resnet}[model](value, layer, pool)})
    made.trainable = False
    return made


def _vgg(value: keras.KerasTensor, layer: str, pool: str) -> keras.KerasTensor:
    pooling = {"avg": layers.AveragePooling2D, "max": layers.MaxPooling2D}[pool]
    for block, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for number in range(1, depth + 1):
            value = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")(value)
            value = layers.ReLU()(layers.BatchNormalization()(value))
            if layer == f"conv{block}_{number}":
                return value
        value = pooling(2)(value)
        if layer == f"pool{block}":
            return value
    raise ValueError(layer)


def _resnet(value: keras.KerasTensor, layer: str, pool: str) -> keras.KerasTensor:
    """Up to its second block, all of whose convolutions have 64 channels."""

    def convolution(value: keras.KerasTensor, side: int, stride: int) -> keras.KerasTensor:
        value = layers.ZeroPadding2D(side // 2)(value)
        value = layers.Conv2D(64, side, stride, use_bias=False, kernel_initializer="he_normal")(value)
        return layers.BatchNormalization()(value)

    value = layers.ReLU()(convolution(value, 7, 2))
    value = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(value))
    for block in (1, 2):
        branch = convolution(layers.ReLU()(convolution(value, 3, 1)), 3, 1)
        value = layers.ReLU()(layers.Add()([branch, value]))
        if layer == f"res{block}":
            return value
    raise ValueError(layer)
