"""What an optimization shows of a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfinvert.system.errors import NonFiniteLossError


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The state before an update.

    Attributes:
      step: number of updates so far.
      loss: the weighted sum of the terms, summed over the batch.
      terms: name -> value without its weight, summed over the batch.
      learning_rate: the rate of the update that follows; 0 with L-BFGS, which has none.
      image: [batch, H, W, 3] as it is, not clipped; None in the steps between the images.
    """

    step: int
    loss: float
    terms: dict[str, float]
    learning_rate: float
    image: np.ndarray | None


def snapshot(
    step: int, values: Mapping[str, tf.Tensor], rate: float, image: np.ndarray | None, *, finite: bool = True
) -> Snapshot:
    """A snapshot of the values that a step has given: the loss under the name `loss`, and the terms.

    Raises:
      NonFiniteLossError: `finite` is set, and the loss is not.
    """
    terms = {name: float(value) for name, value in values.items()}
    loss = terms.pop("loss")
    if finite and not math.isfinite(loss):
        raise NonFiniteLossError(step, loss)
    return Snapshot(step, loss, terms, rate, image)
