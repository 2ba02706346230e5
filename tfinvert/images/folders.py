"""Which image files a setting stands for: single files, samples, and what is in folders, whatever it is called."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tfinvert.images import files
from tfinvert.system.errors import InputError

MOST_NAMED = 5  # files that the log names
log = logging.getLogger("tfinvert")


def expand(values: str | os.PathLike | Iterable[str | os.PathLike], name: str = "--image") -> dict[str, str]:
    """The image files that one setting stands for. It reads their headers alone, so that it is fast for a large folder.

    Args:
      values: files, folders and names of sample photographs. A folder stands for the images in it, sorted, whatever
        the files are called, without hidden ones.
      name: the name of the setting, for errors.

    Returns:
      The name of each image (its file's, without folder and suffix) -> the file, or the name of the sample photograph.

    Raises:
      InputError: a file is no image, a folder has none, there is nothing at all, or two images have the same name.

    Example:
      >>> from tfinvert.images import expand
      >>> expand(["chelsea", "rocket"])
      {'chelsea': 'chelsea', 'rocket': 'rocket'}
    """
    sources = [os.path.expanduser(value) for value in ([values] if isinstance(values, str | os.PathLike) else values)]
    if not sources:
        raise InputError(f"{name} is empty; expected a file, a folder, or one of {', '.join(files.SAMPLES)}")
    images: dict[str, str] = {}
    for source in sources:
        if os.path.isdir(source):
            found = [str(path) for path in files_in(Path(source), name=name)]
            if not found:
                raise InputError(f"{name} has no image in {source}; expected files such as PNG or JPEG")
        else:
            files.check_header(source)
            found = [source]
        for file in found:
            stem = Path(file).stem
            if stem in images:
                raise InputError(f"{name} has two images of the name {stem} ({images[stem]} and {file}); rename one of them")
            images[stem] = file
    return images


def files_in(folder: Path, *, subfolders: bool = False, name: str = "--image") -> list[Path]:
    """The images in a folder, sorted. What they are called does not matter; the log names the files that are passed over.

    Args:
      folder: the folder. Hidden files and folders in it are left out.
      subfolders: whether the images in its subfolders count, too.
      name: of the setting, for the error.

    Raises:
      InputError: the folder cannot be read.
    """
    try:
        paths = sorted(folder.rglob("*") if subfolders else folder.iterdir())
    except OSError as error:
        raise InputError(f"{name} is {str(folder)!r}, which cannot be read: {error.strerror}") from None
    hidden = [any(part.startswith(".") for part in path.relative_to(folder).parts) for path in paths]
    paths = [path for path, is_hidden in zip(paths, hidden, strict=True) if not is_hidden and not path.is_dir()]
    reasons = {path: reason for path in paths if (reason := _unusable(path))}
    if reasons:
        named = [f"{path.relative_to(folder)} {reason}" for path, reason in list(reasons.items())[:MOST_NAMED]]
        more = f"; and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
        count = f"{len(reasons)} of {len(paths)} files"
        log.warning("%s in %s are passed over: %s%s", count, folder, "; ".join(named), more)
    return [path for path in paths if path not in reasons]


def _unusable(path: Path) -> str:
    """Why a file is no image that can be used, by its first bytes; empty where it is one."""
    try:
        files.check_header(path)
    except (InputError, OSError) as error:
        return str(error).removeprefix(f"{path} ").partition(" in a known format")[0].partition("; expected")[0]
    return ""
