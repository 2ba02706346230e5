"""Reading and writing image files, and the colors of images. Arrays are float32, RGB in [0, 1]."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, TiffImagePlugin, UnidentifiedImageError

from tfinvert.images import depths, resizing
from tfinvert.images.color_profiles import profile_of, to_srgb
from tfinvert.system.errors import InputError
from tfinvert.system.files import regular, replacing
from tfinvert.system.notices import warn_once
from tfinvert.system.received import located

SAMPLES = ("astronaut", "chelsea", "coffee", "rocket")
MEAN_COLOR = (0.485, 0.456, 0.406)  # of ImageNet's photographs, RGB
COLOR_DEVIATION = (0.229, 0.224, 0.225)  # their standard deviation
# How the colors of photographs vary together: the symmetric square root of the covariance of logit(RGB) over all pixels
# of `SAMPLES` at 224x224, each with equal weight, divided by its largest singular value. tests/images/test_parameterizations.py
# measures it again. (Olah, Mordvintsev & Schubert 2017, "Feature Visualization".)
COLOR_CORRELATION = ((0.555, 0.296, 0.165), (0.296, 0.395, 0.314), (0.165, 0.314, 0.498))
# Pillow reads more formats, some of them with the help of other programs. PostScript is a program itself.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000")
ORIENTATION = 0x0112  # the EXIF tag; from 5 on the image lies on its side
SMALLEST = 8  # pixels of a side
LARGEST = 64_000_000  # pixels
LONGEST = 65_535  # pixels of a side, as in JPEG: Pillow's time for some formats grows with the square of a row


def load(source: str | Path, size: tuple[int, int], resize: str = "crop") -> np.ndarray:
    """Reads an image at a size.

    Gray, palette and 16-bit images become RGB, transparency is laid over white, EXIF rotation is applied.

    Args:
      source: a file, or the name of a sample photograph of scikit-image (`SAMPLES`).
      size: (height, width) in pixels.
      resize: `crop` for the largest part about the middle that has these proportions; `squash` for the whole image, as the
        homework does it.

    Returns:
      float32 [1, height, width, 3], RGB in [0, 1].

    Raises:
      InputError: there is no such file, it is no image, a side has fewer than 8 or more than 65,535 pixels, or there are more
        than 64 million.

    Example:
      >>> from tfinvert import images
      >>> images.load("astronaut", (24, 32)).shape
      (1, 24, 32, 3)
    """
    return np.asarray(resizing.resized(read(source), size, resize), np.float32)[None] / np.float32(255)


def proportional_size(source: str | Path, side: int) -> tuple[int, int]:
    """The (height, width) of an image when its shorter side becomes `side` and its proportions are kept, as in CS231n.

    The longer side is rounded down. Raises InputError as `load` does.
    """
    width, height = read(source).size
    return (side, int(side * width / height)) if height <= width else (int(side * height / width), side)


def normalized(image: np.ndarray) -> np.ndarray:
    """An image [..., 3] in units of ImageNet's standard deviation from its mean, as the networks of CS231n read it."""
    return (image - np.asarray(MEAN_COLOR, np.float32)) / np.asarray(COLOR_DEVIATION, np.float32)


def blurred(image: np.ndarray, deviation: float) -> np.ndarray:
    """Blurs images [batch, H, W, 3] with a Gaussian of a standard deviation in pixels; they are reflected at the border."""
    from scipy.ndimage import gaussian_filter  # takes a second to import

    return gaussian_filter(image, (0, deviation, deviation, 0)).astype(np.float32)


# From RGB to NTSC's luminance and two color differences (ITU-R BT.470), which are 0 for grays.
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)


def luminance(image: np.ndarray) -> np.ndarray:
    """An image [..., 3] in grays of its luminance Y, of the same shape."""
    return np.repeat(image @ TO_YIQ[:1].T, 3, axis=-1)


def with_color_of(image: np.ndarray, colored: np.ndarray) -> np.ndarray:
    """Joins the luminance of one image and the color differences of another (Gatys et al. 2016, arXiv 1606.05897, section 5.2).

    Args:
      image, colored: [..., 3] of one shape.

    Returns:
      The same shape; not clipped.
    """
    mixed = np.concatenate([image @ TO_YIQ[:1].T, colored @ TO_YIQ[1:].T], axis=-1)
    return (mixed @ np.linalg.inv(TO_YIQ).T).astype(np.float32)


def with_statistics_of(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Gives an image the mean and standard deviation of another, over all values (the same paper, section 5.2)."""
    return (image - image.mean()) * (other.std() / max(float(image.std()), 1e-6)) + other.mean()


def load_same_size(sources: Sequence[str], size: tuple[int, int], resize: str = "crop") -> np.ndarray:
    """Reads several images as `load` does, [len(sources), height, width, 3]."""
    return np.concatenate([load(source, size, resize) for source in sources])


def check(source: str | Path) -> None:
    """Raises InputError, as `load` would, for an image that cannot be read."""
    read(source)


def check_header(source: str | Path) -> None:
    """Raises InputError for what is no image, is too small or too large. Damage in the pixels is left to `check`."""
    with _opened(source) as (path, image):
        check_size(path, *image.size)


def size_of(source: str | Path) -> tuple[int, int]:
    """The (height, width) of an image as it is seen, by its header. Raises InputError as `load` does."""
    with _opened(source) as (_, image):
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # whose size is already the one that is seen, by Pillow's version
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        lies_down = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return (width, height) if lies_down else (height, width)


def read(source: str | Path) -> PillowImage.Image:
    """Reads an image at its own size, RGB of 8 bits. Raises InputError as `load` does."""
    with _opened(source) as (path, image):
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # in which cameras keep more than the photograph
            warn_once(f"{path} has {frames} images in it; the first is used")
        return _upright_rgb(image, path)


@contextlib.contextmanager
def _opened(source: str | Path) -> Iterator[tuple[Path, PillowImage.Image]]:
    """The path and the image of a source, whose pixels are not read yet."""
    named = str(source) in SAMPLES and not os.path.exists(source)
    path = sample(str(source)) if named else located(Path(os.path.expanduser(source)))
    try:
        with _decoding(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(regular(path), formats=FORMATS) as image:
                yield path, image
    except FileNotFoundError:
        raise InputError(f"there is no image {str(source)!r}; give a file, or one of {', '.join(SAMPLES)}") from None


def to_rgb(image: PillowImage.Image, name: object) -> PillowImage.Image:
    """Makes RGB of 8 bits from a Pillow image of any mode, in the way that files are read.

    Gray, palette and 16-bit images become RGB, transparency is laid over white, EXIF rotation is applied.

    Raises:
      InputError: the image, called `name`, is too small, too large or damaged.
    """
    with _decoding(name):
        return _upright_rgb(image, name)


@contextlib.contextmanager
def _decoding(name: object) -> Iterator[None]:
    """Turns every exception of Pillow's into an InputError of one line; a FileNotFoundError passes."""
    try:
        yield
    except (InputError, FileNotFoundError):
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name} is no image in a known format ({', '.join(FORMATS)})") from None
    except PillowImage.DecompressionBombError:
        raise InputError(f"{name} is far too large; expected at most {LARGEST // 10**6} million pixels") from None
    except Exception as error:  # decoders raise SyntaxError, struct.error, EOFError and more on damaged files
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"cannot read the image {name}: {reason}") from None


def sample(name: str) -> Path:
    """Finds the file of a sample photograph, which comes with scikit-image."""
    import skimage  # the package is lazy: this does not import SciPy

    folder = Path(skimage.__file__).parent / "data"
    return next(folder / f"{name}{suffix}" for suffix in (".png", ".jpg") if (folder / f"{name}{suffix}").exists())


def save(path: Path, image: np.ndarray) -> None:
    """Writes an image, clipped to [0, 1] and never rescaled.

    Args:
      path: the file, whose suffix names the format. It appears whole or not at all.
      image: float [height, width, 3] or [1, height, width, 3], RGB.
    """
    with replacing(path) as part:
        to_pillow(image).save(part, format=path.suffix[1:].upper())


def to_pillow(image: np.ndarray) -> PillowImage.Image:
    """A Pillow image from an array [height, width, 3] or [1, height, width, 3], clipped to [0, 1], rounded to 8 bits."""
    array = np.asarray(image, np.float32).reshape(image.shape[-3:])
    return PillowImage.fromarray(np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8))


def check_size(name: object, width: int, height: int) -> None:
    """Raises InputError for an image, called `name`, that is too small or too large."""
    if min(width, height) < SMALLEST:
        raise InputError(f"{name} is {width}x{height} pixels; expected at least {SMALLEST}x{SMALLEST}")
    if max(width, height) > LONGEST:
        raise InputError(f"{name} is {width}x{height} pixels; expected at most {LONGEST} on a side: cut it first")
    if width * height > LARGEST:
        raise InputError(f"{name} is {width}x{height} pixels; expected at most {LARGEST // 10**6} million: shrink it first")


def _upright_rgb(image: PillowImage.Image, name: object) -> PillowImage.Image:
    check_size(name, *image.size)
    profile = profile_of(image)
    image = ImageOps.exif_transpose(image)
    gray = image.mode in ("1", "L", "LA", "La") or depths.is_deep(image.mode)
    image = depths.in_8_bits(image, name) if depths.is_deep(image.mode) else image
    if image.mode == "La":  # Pillow converts it to LA alone
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        opacity = image.getchannel("A")
        image = to_srgb(image.convert("RGB"), profile, name, gray=gray)
        image.putalpha(opacity)
        return PillowImage.alpha_composite(PillowImage.new("RGBA", image.size, "white"), image).convert("RGB")
    return to_srgb(image if image.mode in ("CMYK", "LAB") else image.convert("RGB"), profile, name, gray=gray)
