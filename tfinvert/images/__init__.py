"""Images: reading and writing them, their colors, how variables make them, and where they start.

This module has everything of it that needs no TensorFlow.
"""

from tfinvert.images.files import (
    COLOR_CORRELATION,
    COLOR_DEVIATION,
    MEAN_COLOR,
    SAMPLES,
    SUFFIXES,
    blurred,
    check,
    heat,
    load,
    load_same_size,
    luminance,
    normalized,
    overlay,
    proportional_size,
    read,
    sample,
    save,
    to_pillow,
    with_color_of,
    with_statistics_of,
)
from tfinvert.images.inputs import as_images, expand
from tfinvert.images.starts import initial_image

__all__ = [
    "COLOR_CORRELATION",
    "COLOR_DEVIATION",
    "MEAN_COLOR",
    "SAMPLES",
    "SUFFIXES",
    "as_images",
    "blurred",
    "check",
    "expand",
    "heat",
    "initial_image",
    "load",
    "load_same_size",
    "luminance",
    "normalized",
    "overlay",
    "proportional_size",
    "read",
    "sample",
    "save",
    "to_pillow",
    "with_color_of",
    "with_statistics_of",
]
