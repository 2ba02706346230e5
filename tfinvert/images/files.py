"""Pictures in and out: files to `Image` arrays and back."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from tfinvert.errors import InputError
from tfinvert.system.files import regular, replacing

SAMPLES = ("astronaut", "chelsea", "coffee", "rocket")
MEAN_COLOR = (0.485, 0.456, 0.406)  # of ImageNet's photographs, RGB
COLOR_DEVIATION = (0.229, 0.224, 0.225)  # likewise
# How the colors of photographs vary together: the symmetric square root of the covariance of logit(RGB) over all pixels
# of `SAMPLES` at 224x224, each with equal weight, divided by its largest singular value. tests/test_parameterizations.py
# measures it again. (Olah, Mordvintsev & Schubert 2017, "Feature Visualization".)
COLOR_CORRELATION = ((0.555, 0.296, 0.165), (0.296, 0.395, 0.314), (0.165, 0.314, 0.498))
# Of the files in a folder of pictures.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm")
# Pillow reads more, some of it with the help of other programs: PostScript is a program itself.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000")
SMALLEST = 8
LARGEST = 64_000_000
LONGEST = 65_535  # of a side, as in JPEG: Pillow's time for some formats grows with the square of a row


def load(source: str | Path, size: tuple[int, int]) -> np.ndarray:
    """A picture as the homework reads it: resized to `size` whatever its proportions.

    Grey, palette and 16-bit pictures become RGB, transparency is laid over white, EXIF rotation is applied.

    Args:
      source: a file, or the name of a sample photograph of scikit-image (`SAMPLES`).
      size: (height, width) in pixels.

    Returns:
      float32 [1, height, width, 3], RGB in [0, 1].

    Raises:
      InputError: no such file, no picture, or a side of fewer than 8 or more than 65,535, or more than 64 million pixels.
    """
    height, width = size
    resized = read(source).resize((width, height), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)[None] / np.float32(255)


def proportional_size(source: str | Path, side: int) -> tuple[int, int]:
    """(height, width) of a picture whose shorter side becomes `side` and whose proportions are kept, as the course does.

    The longer side is rounded down. Raises InputError as `load` does.
    """
    width, height = read(source).size
    return (side, int(side * width / height)) if height <= width else (int(side * height / width), side)


def normalized(image: np.ndarray) -> np.ndarray:
    """[..., 3] in [0, 1], RGB, in units of ImageNet's deviation from its mean: what the course's networks are given."""
    return (image - np.asarray(MEAN_COLOR, np.float32)) / np.asarray(COLOR_DEVIATION, np.float32)


def blurred(image: np.ndarray, deviation: float) -> np.ndarray:
    """[batch, H, W, 3] under a Gaussian of a deviation in pixels, reflected at the border."""
    from scipy.ndimage import gaussian_filter  # takes a second to import

    return gaussian_filter(image, (0, deviation, deviation, 0)).astype(np.float32)


# NTSC's luminance and two color differences (ITU-R BT.470); greys have the latter 0.
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)


def luminance(image: np.ndarray) -> np.ndarray:
    """The picture in greys of its luminance Y, of its own shape."""
    return np.repeat(image @ TO_YIQ[:1].T, 3, axis=-1)


def with_color_of(image: np.ndarray, colored: np.ndarray) -> np.ndarray:
    """The luminance of one picture with the color differences of another (Gatys et al. 2016, arXiv 1606.05897, section 5.2).

    Args:
      image, colored: [..., 3] of one shape.

    Returns:
      The same shape; not clipped.
    """
    mixed = np.concatenate([image @ TO_YIQ[:1].T, colored @ TO_YIQ[1:].T], axis=-1)
    return (mixed @ np.linalg.inv(TO_YIQ).T).astype(np.float32)


def with_statistics_of(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The picture with the mean and deviation of another, over all its values (the same paper, section 5.2)."""
    return (image - image.mean()) * (other.std() / max(float(image.std()), 1e-6)) + other.mean()


def load_same_size(sources: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Several pictures as `load` reads them, [len(sources), height, width, 3]."""
    return np.concatenate([load(source, size) for source in sources])


def heat(values: np.ndarray) -> np.ndarray:
    """A map [H, W] as colors from black over red and yellow to white, [H, W, 3].

    Every map has a scale of its own, from 0 to its 99.9th percentile, so that a few pixels do not darken all the others;
    two maps can be compared in their shape only.
    """
    scaled = np.clip(values / max(float(np.percentile(values, 99.9)), 1e-12), 0, 1)[..., None]
    return np.clip(3 * scaled - np.arange(3), 0, 1).astype(np.float32)


def overlay(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The heat of a map [H, W] over the picture [H, W, 3] made grey, [H, W, 3]."""
    grey = np.mean(picture, axis=-1, keepdims=True)
    return np.clip(0.45 * grey + 0.75 * heat(values), 0, 1)


def check(source: str | Path) -> None:
    """Raises InputError, as `load` would, for a picture that cannot be read."""
    read(source)


def read(source: str | Path) -> PillowImage.Image:
    """A picture at its own size, RGB of 8 bits, as `load` reads it; raises InputError as `load` does."""
    path = sample(str(source)) if str(source) in SAMPLES and not os.path.exists(source) else Path(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(regular(path), formats=FORMATS) as opened:
                _check_size(path, *opened.size)
                return _to_rgb(ImageOps.exif_transpose(opened))
    except FileNotFoundError:
        raise InputError(f"there is no picture {str(source)!r}; give a file, or one of {', '.join(SAMPLES)}") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture in a format that is known ({', '.join(FORMATS)})") from None
    except InputError:
        raise
    except PillowImage.DecompressionBombError:
        raise InputError(f"{path} is far too large a picture; expected at most {LARGEST // 10**6} million pixels") from None
    except Exception as error:  # decoders raise SyntaxError, struct.error, EOFError and more on damaged files
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"cannot read the picture {path}: {reason}") from None


def sample(name: str) -> Path:
    """The file of a sample photograph that comes with scikit-image."""
    import skimage  # the package is lazy: this does not import SciPy

    folder = Path(skimage.__file__).parent / "data"
    return next(folder / f"{name}{suffix}" for suffix in (".png", ".jpg") if (folder / f"{name}{suffix}").exists())


def save(path: Path, image: np.ndarray) -> None:
    """Writes one image as it is: clipped to [0, 1], never stretched.

    Args:
      path: the file, whose suffix names the format; it appears whole or not at all.
      image: float [height, width, 3] or [1, height, width, 3], RGB.
    """
    with replacing(path) as part:
        to_pillow(image).save(part, format=path.suffix[1:].upper())


def to_pillow(image: np.ndarray) -> PillowImage.Image:
    """One image, clipped to [0, 1] and rounded to 8 bits."""
    array = np.asarray(image, np.float32).reshape(image.shape[-3:])
    return PillowImage.fromarray(np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8))


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < SMALLEST:
        raise InputError(f"{path} is {width}x{height} pixels; expected at least {SMALLEST}x{SMALLEST}")
    if max(width, height) > LONGEST:
        raise InputError(f"{path} is {width}x{height} pixels; expected at most {LONGEST} on a side: cut it first")
    if width * height > LARGEST:
        raise InputError(f"{path} is {width}x{height} pixels; expected at most {LARGEST // 10**6} million: shrink it first")


def _to_rgb(picture: PillowImage.Image) -> PillowImage.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow clips 16-bit greys to 255 instead of scaling them.
        values = np.asarray(picture, np.float64)
        top = 65535 if values.max(initial=0) > 255 else 255
        if picture.mode == "F" and values.max(initial=0) <= 1:
            top = 1
        picture = PillowImage.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = PillowImage.new("RGBA", picture.size, "white")
        picture = PillowImage.alpha_composite(white, picture)
    return picture.convert("RGB")
