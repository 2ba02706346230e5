"""What several tests of decoders need: a record of an encoder, and image files."""

import numpy as np
from PIL import Image

from tfinvert.decoders.encoder import Encoder

ENCODER = Encoder(
    layer="conv1",
    tensor="relu1",
    shape=(8, 8, 4),
    size=(16, 16),
    network="alexnet",
    onnx="/somewhere/tiny.onnx",
    sha256="ab" * 32,
    weights="pretrained",
    pool="max",
    preprocessing="torch",
)


def write_images(folder, count, size=(20, 16), suffix=".png"):
    """Writes random images into a folder, which is made; returns the files in order."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    paths = [folder / f"{folder.parent.name}_{number}{suffix}" for number in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(path)
    return paths
