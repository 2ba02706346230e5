"""The values of arrays and tensors of any library, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_numpy(value: Any) -> np.ndarray:
    """The values of an array, of a tensor of TensorFlow, PyTorch or JAX, or of what `np.asarray` reads.

    A tensor of PyTorch may have a gradient, be on another device, or have a type that NumPy lacks. PyTorch is not imported.

    Raises:
      Exception: whatever the other library raises for a tensor without values.
    """
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    return np.asarray(value)
