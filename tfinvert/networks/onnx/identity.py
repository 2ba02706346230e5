"""What identifies an .onnx file: its bytes, and those of the files beside it that hold its weights."""

import hashlib
from pathlib import Path

from tfinvert.networks.onnx.weights import external_files
from tfinvert.system.cache import remembered, remembered_sha256
from tfinvert.system.errors import InputError


def checksum(path: Path) -> str:
    """SHA-256 of an .onnx file; where it keeps weights in other files, that of the checksums of all of them.

    Two exports of one architecture can have the same .onnx file and other weights beside it.

    Raises:
      InputError: the file is no ONNX model, or a file with weights is not there.
    """
    own = remembered_sha256(path)
    names = remembered(path, "external", lambda file: [str(f.relative_to(file.parent.resolve())) for f in external_files(file)])
    if not names:
        return own
    sums = [own]
    for name in names:
        file = path.parent / name
        if not file.is_file():
            raise InputError(
                f"{path} keeps weights in {name!r}, which is not there; put that file beside the .onnx file again, "
                "or export the network anew"
            )
        sums.append(f"{name} {remembered_sha256(file)}")
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()
