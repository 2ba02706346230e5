"""The .npy files of the homework: a pickled dictionary of arrays, read without running what a pickle can say."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.system.errors import InputError
from tfinvert.system.files import regular

LARGEST_FILE = 2**31  # bytes


class _Arrays(pickle.Unpickler):
    """An unpickler of arrays, which makes nothing else: a class or function that is not named here is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            return _empty
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return _latin1
        raise InputError(f"the file asks for {module}.{name}, which is no array")


def _empty(kind: type, shape: tuple[int, ...], order: object) -> np.ndarray:
    return np.ndarray((0,), np.int8)


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def read_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """Reads a file such as vgg16_onnx.npy or resnet18.npy of the homework.

    Args:
      path: a file that holds a pickled dictionary: layer name -> list of arrays.

    Returns:
      Layer name -> its arrays, float32. Whatever else the dictionary holds is left out.

    Raises:
      InputError: the file is no such dictionary; it asks for something else than arrays.
    """
    try:
        if regular(path).stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} has more than {LARGEST_FILE} bytes")
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(file)
            if shape != () or dtype != np.dtype(object):
                raise InputError(
                    f"{path} holds an array of {dtype} {list(shape)}; expected the homework's dictionary of weights"
                )
            content = _Arrays(file, encoding="latin1").load()
    except InputError as error:
        raise InputError(f"cannot read the weights {path}: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(
            f"cannot read the weights {path}: {' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from None
    content = content.item() if isinstance(content, np.ndarray) and content.shape == () else content
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected the homework's dictionary of weights")
    return {
        str(name): [np.asarray(array, np.float32) for array in arrays]
        for name, arrays in content.items()
        if isinstance(arrays, list | tuple) and arrays and all(_is_numbers(array) for array in arrays)
    }


def _is_numbers(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size > 0
