"""What an experiment returns: images with their history and figures, to be shown, saved and pickled."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from tfinvert.images import files
from tfinvert.system.errors import InputError
from tfinvert.system.files import replacing
from tfinvert.system.notebook import in_notebook

if TYPE_CHECKING:
    from tfinvert.runs.directory import RunDirectory

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
QUALITY = 95  # of JPEG and WebP
LONGEST_ROW, GAP = 8, 8  # images in a row, pixels between them


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """What an experiment returns. Each experiment has a subclass of its own, whose numbers are fields.

    A result holds NumPy arrays and plain Python values only, and can be pickled.

    Attributes:
      images: float32 [n, height, width, 3], RGB in [0, 1].
      history: the lines of metrics.jsonl, each a dictionary with "step" and numbers.
      weights: where the network's weights come from, in words.
      settings: the settings of the run, by the names of the flags.
      error: what ended the run before its last step, or None.

    Examples:
      >>> @dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
      ... class InversionResult(Result):
      ...     psnr: float
      >>> result = InversionResult(images=np.zeros((1, 24, 32, 3), np.float32), psnr=38.25)
      >>> result
      InversionResult(38.2 dB, 24x32)
      >>> result.image.shape, result.figures()
      ((24, 32, 3), {'psnr': 38.25})
    """

    images: np.ndarray
    history: tuple[dict[str, Any], ...] = ()
    weights: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: BaseException | None = None

    @property
    def image(self) -> np.ndarray:
        """The only image, float32 [height, width, 3] in [0, 1]. Raises InputError where there are several."""
        if len(self.images) != 1:
            raise InputError(f"this result has {len(self.images)} images, and .image is for a single one; use .images[0]")
        return self.images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The images, so that a result can be given wherever images can."""
        return np.array(self.images, dtype=dtype)

    def figures(self) -> dict[str, Any]:
        """The numbers of the result, as run.json ends with them: by default every field that is a number."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, int | float)}

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes the images into a run directory: final.png, or images/0.png, images/1.png, ... where there are several.

        Args:
          directory: the run directory.
          info: what run.json will hold.
        """
        if len(self.images) == 1:
            files.save(directory.final, self.image)
        else:
            for number, image in enumerate(self.images):
                files.save(directory.images / f"result-{number}.png", image)

    def show(self) -> None:
        """Shows the images side by side: in a notebook below its cell, else in the system's image viewer."""
        shown = self._side_by_side()
        if in_notebook():
            from IPython.display import display

            display(shown)
        else:
            shown.show()

    def save(self, path: str | Path) -> list[Path]:
        """Writes the images, clipped to [0, 1] and rounded to 8 bits.

        Args:
          path: an image file, such as "x.png"; with several images they become "x-0.png", "x-1.png", and so on. Or a folder,
            which is made if it does not exist; the images in it are "image-0.png", "image-1.png", and so on.

        Returns:
          The paths of the files.

        Raises:
          InputError: the suffix names no known format, or the folder of the file does not exist.
          OSError: a file cannot be written.
        """
        path = Path(path).expanduser()
        if path.is_dir() or not path.suffix:
            path.mkdir(parents=True, exist_ok=True)
            paths = [path / f"image-{number}.png" for number in range(len(self.images))]
        elif len(self.images) == 1:
            paths = [path]
        else:
            paths = [path.with_stem(f"{path.stem}-{number}") for number in range(len(self.images))]
        for each, image in zip(paths, self.images, strict=True):
            _write(each, image)
        return paths

    def _side_by_side(self) -> PillowImage.Image:
        """The images in rows of at most 8, on white."""
        count, height, width, _ = self.images.shape
        columns = min(count, LONGEST_ROW)
        rows = -(-count // columns)
        size = (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP)
        sheet = PillowImage.new("RGB", size, "white")
        for number, image in enumerate(self.images):
            left, top = (number % columns) * (width + GAP), (number // columns) * (height + GAP)
            sheet.paste(files.to_pillow(image), (left, top))
        return sheet

    def _repr_png_(self) -> bytes:
        """The images side by side as PNG, which notebooks show."""
        out = io.BytesIO()
        self._side_by_side().save(out, "PNG")
        return out.getvalue()

    def __repr__(self) -> str:
        """One line: the PSNR where there is one, height x width as in --size, and the number of steps."""
        count, height, width, _ = self.images.shape
        figures = self.figures()
        parts = [f"{figures['psnr']:.1f} dB"] if "psnr" in figures else []
        parts.append(f"{height}x{width}" if count == 1 else f"{count} images of {height}x{width}")
        parts += [f"{self.history[-1]['step']} steps"] if self.history else []
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OptimizationResult(Result):
    """Optimized images, each where its loss was lowest.

    Attributes:
      losses: the lowest loss of each image, [n].
      terms: the last value of each term without its weight, summed over the images.
    """

    losses: np.ndarray
    terms: dict[str, float]

    def figures(self) -> dict[str, Any]:
        return {"losses": [float(loss) for loss in self.losses], "terms": self.terms}


def _write(path: Path, image: np.ndarray) -> None:
    known = FORMATS.get(path.suffix.lower())
    if known is None:
        raise InputError(f"cannot save an image as {path.name!r}; expected a name with one of {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"cannot save {path}: there is no folder {path.parent}")
    with replacing(path) as part:
        files.to_pillow(image).save(part, format=known, quality=QUALITY)
