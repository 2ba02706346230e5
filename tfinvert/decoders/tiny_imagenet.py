"""The download of Tiny ImageNet, 200 classes of 500 images of 64x64 pixels (Le & Yang 2015, "Tiny ImageNet")."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from tfinvert.system.downloads import fetch
from tfinvert.system.errors import InputError

NAME = "tiny-imagenet-200"
SOURCES = ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",)
HASH = "md5:90528d7ca1a48142e341f4ef8d21d0de"


def download(folder: Path) -> Path:
    """The folder of Tiny ImageNet, downloaded and unpacked if it is not there. It appears whole or not at all.

    Args:
      folder: where the archive and the folder are, or will be.

    Raises:
      InputError: no source has the archive, or the disk is full or cannot be written.
    """
    unpacked = folder / NAME
    if unpacked.is_dir():
        return unpacked
    archive = folder / f"{NAME}.zip"
    fetch(archive, SOURCES, HASH, "or give --data=FOLDER")
    part = folder / f".{NAME}.{os.getpid()}.part"
    try:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(part)
        os.replace(part / NAME, unpacked)
    except OSError as error:
        raise InputError(f"cannot unpack {archive} into {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return unpacked
