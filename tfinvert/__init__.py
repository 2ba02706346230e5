"""See what a convolutional network keeps of a picture, by gradient descent on the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from tfinvert.experiments.invert import Result
    from tfinvert.runs.directory import RunDirectory
    from tfinvert.settings.config import RunConfig

    Kind = TypeVar("Kind", bound=RunConfig)

__version__ = "0.1.0"
__all__ = ["class_vis", "fool", "invert", "saliency", "style"]


def invert(
    image: str | Path | np.ndarray,
    network: str | Path = "vgg16-bn",
    layers: Sequence[str] = ("conv3_1",),
    **settings: Any,
) -> Result:
    """Finds a picture with the same features as `image`, as the command line does with the same settings.

    Args:
      image: a picture file, the name of a sample photograph (astronaut, chelsea, coffee, rocket), or an array
        [height, width, 3], RGB: floats in [0, 1], or uint8.
      network: a network of the ONNX model zoo (vgg16-bn, resnet18, squeezenet1.1, alexnet) or an .onnx file.
      layers: names of the layers whose features to match.
      **settings: any other field of `tfinvert.settings.Config`, by the names of the flags; lists where the flags take
        lists, size as (height, width). With `output_dir`, a run directory is written.

    Returns:
      A Result: the image, float32 [height, width, 3] in [0, 1], and its figures.

    Raises:
      InputError: a setting, the picture or the network cannot be used.
      NonFiniteLossError: the loss became NaN or infinite.

    Example:
      >>> result = tfinvert.invert("astronaut", "resnet18", layers=["res2"], steps=200)
      >>> result.psnr, result.image.shape
    """
    from tfinvert.errors import InputError
    from tfinvert.networks.conversion import convert
    from tfinvert.settings.config import Config

    chosen, target = _chosen(image, network, settings)
    config = _made(Config, layers=(layers,) if isinstance(layers, str) else tuple(layers), **chosen)
    if config.pictures:
        raise InputError("pictures is of the command line; expected one image")
    run_dir = _run_directory(config, resume=config.resume)
    with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
        from tfinvert.experiments import invert as experiment

        return experiment.run(config, conversion, run_dir, target)


def saliency(
    image: str | Path | np.ndarray,
    network: str | Path = "squeezenet1.1",
    **settings: Any,
) -> dict[str, Any]:
    """Which pixels the score of a class depends on, by five methods.

    Args:
      image, network: as of `invert`.
      **settings: any other field of `tfinvert.settings.SaliencyConfig`, by the names of the flags (`classes`, `methods`, ...).

    Returns:
      `maps`: method -> float32 [1, height, width], at least 0; `classes`: the index of the class; `weights`: where the
      network's weights came from; `completeness_error` of integrated gradients, and the other figures of run.json.

    Raises:
      InputError: a setting, the picture or the network cannot be used.

    Example:
      >>> tfinvert.saliency("chelsea", classes=["tabby"], methods=["smoothgrad"])["maps"]["smoothgrad"].shape
      (1, 224, 224)
    """
    from tfinvert.networks.conversion import convert
    from tfinvert.settings.config import SaliencyConfig

    chosen, picture = _chosen(image, network, settings)
    config = _made(SaliencyConfig, **chosen)
    run_dir = _run_directory(config)
    with convert.Conversion(convert.request_for(config, config.needed_layers())) as conversion:
        from tfinvert.experiments import saliency as experiment

        return experiment.run(config, conversion, run_dir, picture)


def fool(
    image: str | Path | np.ndarray,
    classes: str | Sequence[str] = ("stingray",),
    network: str | Path = "squeezenet1.1",
    **settings: Any,
) -> dict[str, Any]:
    """Changes a picture until the network takes it for each of `classes`, or, without any, for something else.

    Args:
      image, network: as of `invert`.
      classes: ImageNet names, indices or WordNet ids.
      **settings: any other field of `tfinvert.settings.FoolConfig`, by the names of the flags (`attack`, `bound`, ...).

    Returns:
      `image`: float32 [classes, height, width, 3], rounded to 8 bits; `targets`: for each class whether it `fooled`, after
      how many `steps`, the probabilities and the `largest_change` in 1/255; and the other figures of run.json.

    Raises:
      InputError: a setting, the picture or the network cannot be used.

    Example:
      >>> tfinvert.fool("chelsea", "gorilla", attack="pgd", bound=2)["targets"][0]["fooled"]
      True
    """
    from tfinvert.networks.conversion import convert
    from tfinvert.settings.config import FoolConfig

    chosen, picture = _chosen(image, network, settings)
    config = _made(FoolConfig, classes=(classes,) if isinstance(classes, str) else tuple(classes), **chosen)
    run_dir = _run_directory(config)
    with convert.Conversion(convert.request_for(config, config.needed_layers())) as conversion:
        from tfinvert.experiments import fool as experiment

        return experiment.run(config, conversion, run_dir, picture)


def style(
    image: str | Path,
    style_images: Sequence[str | Path] = (),
    network: str | Path = "squeezenet1.1",
    **settings: Any,
) -> dict[str, Any]:
    """Paints a picture like others: style transfer, and with weights of 0 texture synthesis and feature inversion.

    Args:
      image: the content, a picture file or the name of a sample photograph.
      style_images: pictures whose style to take, likewise.
      network: as of `invert`.
      **settings: any other field of `tfinvert.settings.StyleConfig`, by the names of the flags (`style_weights`, `side`, ...).

    Returns:
      `image`: float32 [height, width, 3] in [0, 1]; `history`: the lines of metrics.jsonl; and the figures of run.json.

    Raises:
      InputError: a setting, a picture or the network cannot be used.
      NonFiniteLossError: the loss became NaN or infinite.

    Example:
      >>> tfinvert.style("houses.jpg", ["painting.jpg"])["image"].shape
      (192, 256, 3)
    """
    import contextlib

    from tfinvert.networks.scales import scales
    from tfinvert.settings.config import StyleConfig

    chosen, _ = _chosen(str(image), network, settings)
    config = _made(StyleConfig, style_images=tuple(map(str, style_images)), **chosen)
    run_dir = _run_directory(config, resume=config.resume)
    with contextlib.ExitStack() as stack:
        prepared = scales(config, stack)
        from tfinvert.experiments import style as experiment

        return experiment.run(config, prepared, run_dir)


def class_vis(
    classes: str | Sequence[str] = (),
    network: str | Path = "squeezenet1.1",
    **settings: Any,
) -> dict[str, Any]:
    """Makes pictures of what a network takes for classes, or of what its channels or neurons answer to.

    Args:
      classes: ImageNet names, indices or WordNet ids; by default the six of CS231n.
      network: as of `invert`.
      **settings: any other field of `tfinvert.settings.ClassVisConfig`, by the names of the flags (`recipe`, `layers`, ...).

    Returns:
      `image`: float32 [targets, height, width, 3] in [0, 1]; `targets`: for each its name, `score` and, of classes,
      `probability`; and the other figures of run.json.

    Raises:
      InputError: a setting or the network cannot be used.
      NonFiniteLossError: the loss became NaN or infinite.

    Example:
      >>> tfinvert.class_vis("gorilla")["targets"][0]["probability"] > 0.99
      True
    """
    from tfinvert.networks.conversion import convert
    from tfinvert.settings.config import ClassVisConfig

    chosen, _ = _chosen("", network, settings)
    chosen.pop("image")
    if classes:
        chosen["classes"] = (classes,) if isinstance(classes, str) else tuple(classes)
    config = _made(ClassVisConfig, **chosen)
    run_dir = _run_directory(config, resume=config.resume)
    with convert.Conversion(convert.request_for(config, config.needed_layers())) as conversion:
        from tfinvert.experiments import class_vis as experiment

        return experiment.run(config, conversion, run_dir)


def _chosen(
    image: str | Path | np.ndarray, network: str | Path, settings: dict[str, Any]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The settings as a config takes them, and the picture [1, height, width, 3] where it was given as an array."""
    import numpy as np

    from tfinvert.errors import InputError

    chosen: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    if str(network).endswith(".onnx"):
        chosen["onnx"] = str(network)
    else:
        chosen["model"] = str(network)
    if not isinstance(image, np.ndarray):
        chosen["image"] = str(image)
        return chosen, None
    picture = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(f"the image is an array of shape {image.shape}; expected [height, width, 3]")
    if not (np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1):
        raise InputError(
            f"the image has values from {picture.min():.4g} to {picture.max():.4g}; expected floats in [0, 1] or uint8"
        )
    chosen.setdefault("size", picture.shape[:2])
    chosen["image"] = "(array)"
    return chosen, picture[None]


def _made(kind: type[Kind], **chosen: Any) -> Kind:
    """The config of a call; raises InputError for a setting that it does not have."""
    from tfinvert.errors import InputError
    from tfinvert.settings.config import Config, with_preset

    try:
        return kind(**(with_preset(chosen) if kind is Config else chosen))
    except TypeError as error:
        raise InputError(str(error).replace(f"{kind.__name__}.__init__()", "tfinvert")) from None


def _run_directory(config: RunConfig, *, resume: bool = False) -> RunDirectory | None:
    """The run directory of a call that names one, found usable; else None."""
    from tfinvert.runs.directory import RunDirectory
    from tfinvert.settings.config import flagfile

    if not config.output_dir:
        return None
    run_dir = RunDirectory(config.run_folder())
    run_dir.check(flagfile(config), resume=resume, overwrite=config.overwrite)
    return run_dir
