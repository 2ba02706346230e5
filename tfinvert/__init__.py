"""See what a convolutional network keeps of a picture, by gradient descent on the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tfinvert.experiments.invert import Result

__version__ = "0.1.0"
__all__ = ["invert"]


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
      **settings: any other field of `tfinvert.config.Config`, by the names of the flags; lists where the flags take
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
    import numpy as np

    from tfinvert.config import Config, flagfile, with_preset
    from tfinvert.errors import InputError
    from tfinvert.networks import convert
    from tfinvert.rundir import RunDirectory

    chosen: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    if str(network).endswith(".onnx"):
        chosen["onnx"] = str(network)
    else:
        chosen["model"] = str(network)
    target = None
    if isinstance(image, np.ndarray):
        target = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)
        if target.ndim != 3 or target.shape[2] != 3:
            raise InputError(f"the image is an array of shape {image.shape}; expected [height, width, 3]")
        if not (np.isfinite(target).all() and target.min() >= 0 and target.max() <= 1):
            raise InputError(
                f"the image has values from {target.min():.4g} to {target.max():.4g}; expected floats in [0, 1] or uint8"
            )
        target = target[None]
        chosen.setdefault("size", target.shape[1:3])
        chosen["image"] = "(array)"
    else:
        chosen["image"] = str(image)
    try:
        chosen["layers"] = (layers,) if isinstance(layers, str) else tuple(layers)
        config = Config(**with_preset(chosen))
    except TypeError as error:
        raise InputError(str(error).replace("Config.__init__()", "tfinvert.invert()")) from None
    run_dir = None
    if config.output_dir:
        run_dir = RunDirectory(config.run_folder())
        run_dir.check(flagfile(config), resume=config.resume, overwrite=config.overwrite)
    with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
        from tfinvert.experiments import invert as experiment

        return experiment.run(config, conversion, run_dir, target)
