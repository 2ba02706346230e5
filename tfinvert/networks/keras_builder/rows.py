"""A dense layer for the tokens of a transformer, in the form that is fastest on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfinvert.networks.keras_builder.layers import PACKAGE
from tfinvert.system.tensorflow import weights_stay


@keras.saving.register_keras_serializable(PACKAGE)
class RowsDense(keras.layers.Layer):
    """A dense layer for a matrix of many rows, [n, in] -> [n, units].

    Where weights are packed once (`precision.pack_weights_once`), it is a convolution of a single place, at which oneDNN is a
    quarter faster than at a product. So is its gradient, whose kernel is a weight of its own: TensorFlow's gradient of a
    convolution packs the kernel in each step.

    Args:
      units: numbers in each row of the result.
      use_bias: whether a bias is added.
    """

    def __init__(self, units: int, use_bias: bool = True, **options: Any):
        super().__init__(**options)
        self.units, self.use_bias = units, use_bias

    def build(self, input_shape: Sequence[int]) -> None:
        """Makes the weights: kernel [1, 1, in, units], transposed [1, 1, units, in], and bias [units]."""
        shapes = {"kernel": (input_shape[-1], self.units), "transposed": (self.units, input_shape[-1])}
        for name, shape in shapes.items():
            setattr(self, name, self.add_weight(shape=(1, 1, *shape), initializer="zeros", trainable=False, name=name))
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", trainable=False) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        """The rows times the matrix, plus the bias."""
        kernel = ops.convert_to_tensor(self.kernel)
        bias = ops.convert_to_tensor(self.bias) if self.use_bias else None
        if not weights_stay():
            product = ops.matmul(inputs, kernel[0, 0])
            return ops.add(product, bias) if self.use_bias else product
        transposed = ops.convert_to_tensor(self.transposed)

        @ops.custom_gradient
        def convolved(rows: Any) -> Any:
            def gradient(*gradients: Any, upstream: Any = None) -> Any:
                return _convolved(gradients[0] if upstream is None else upstream, transposed)

            return _convolved(rows, kernel, bias), gradient

        return convolved(inputs)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, int]:
        """The number of rows, and the units."""
        return input_shape[0], self.units

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias}


def _convolved(rows: Any, kernel: Any, bias: Any = None) -> Any:
    """Rows [n, in] times a kernel [1, 1, in, out], plus a bias [out]: [n, out]."""
    places = ops.conv(ops.reshape(rows, (1, 1, -1, kernel.shape[2])), kernel, padding="valid", data_format="channels_last")
    return ops.reshape(places if bias is None else ops.add(places, bias), (-1, kernel.shape[3]))
