"""Images: reading and writing them, their colors, how variables make them, and where they start.

This module has everything of it that needs no TensorFlow.
"""

from tfinvert.images.files import (
    COLOR_CORRELATION,
    COLOR_DEVIATION,
    MEAN_COLOR,
    SAMPLES,
    blurred,
    check,
    load,
    load_same_size,
    luminance,
    normalized,
    proportional_size,
    read,
    sample,
    save,
    to_pillow,
    with_color_of,
    with_statistics_of,
)
from tfinvert.images.folders import expand, files_in
from tfinvert.images.inputs import as_images, sizes_of
from tfinvert.images.maps import heat, heat_limit, overlay
from tfinvert.images.resizing import describe_cuts, kept_size
from tfinvert.images.starts import initial_image

__all__ = [
    "COLOR_CORRELATION",
    "COLOR_DEVIATION",
    "MEAN_COLOR",
    "SAMPLES",
    "as_images",
    "blurred",
    "check",
    "describe_cuts",
    "expand",
    "files_in",
    "heat",
    "heat_limit",
    "initial_image",
    "kept_size",
    "load",
    "load_same_size",
    "luminance",
    "normalized",
    "overlay",
    "proportional_size",
    "read",
    "sample",
    "save",
    "sizes_of",
    "to_pillow",
    "with_color_of",
    "with_statistics_of",
]
