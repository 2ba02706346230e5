"""Keras layers for what Keras itself has no layer for. They compute with `keras.ops` alone, so they run on all of its backends.

A `.keras` file that has such layers is read after `import tfinvert.networks.keras_builder.layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

PACKAGE = "tfinvert"
INPUT = "input"  # a place among the arguments of a function that a layer's input takes
# Functions that take their values as one list.
OF_LISTS = frozenset(("concatenate", "stack"))
# Functions whose values are not each computed from the values at its own place, other than along axes that they remove.
MOVING = frozenset(("einsum", "flip", "matmul", "reshape", "take", "tile", "transpose"))


@keras.saving.register_keras_serializable(PACKAGE)
class Function(keras.layers.Layer):
    """A function of `keras.ops`, with values that are inputs, numbers, or weights of the layer.

    Args:
      function: its name in `keras.ops`.
      places: what each of its first arguments is: "input" for the next input, a number, or {"shape": ..., "dtype": ...} for a
        weight.
      arguments: further arguments by name.

    Example:
      >>> half = Function("multiply", ["input", 0.5])
      >>> half(keras.ops.ones((1, 2)))
    """

    def __init__(
        self,
        function: str,
        places: Sequence[Any] = (INPUT,),
        arguments: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        if function.startswith("_") or not callable(getattr(ops, function, None)):
            raise ValueError(f"keras.ops has no function {function!r}")
        self.function, self.places, self.arguments = function, list(places), dict(arguments or {})
        for number, place in enumerate(self.places):
            if isinstance(place, Mapping):
                self._add(number, tuple(place["shape"]), place["dtype"])
        self.built = True

    def _add(self, number: int, shape: tuple[int, ...], dtype: str) -> None:
        kind = self.variable_dtype if dtype == "float" else dtype
        weight = self.add_weight(
            shape=shape, dtype=kind, initializer="zeros", trainable=False, autocast=False, name=f"value{number}"
        )
        setattr(self, f"value{number}", weight)

    @property
    def keeps_places(self) -> bool:
        """Whether a value of an image depends on nothing but what is in its place (`keras_geometry`)."""
        return self.function not in MOVING or (self.function == "take" and self.arguments.get("axis") == -1)

    def call(self, inputs: Any) -> Any:
        """The value of the function for a tensor, or for a list of tensors."""
        return self._evaluated(inputs, ops.convert_to_tensor)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Shape and type of the value, which Keras would otherwise find out by tracing the function."""
        return _spec(self._evaluated(inputs, lambda weight: keras.KerasTensor(weight.shape, weight.dtype)))

    def _evaluated(self, inputs: Any, read: Callable[[Any], Any]) -> Any:
        left = iter(inputs if isinstance(inputs, (list, tuple)) else [inputs])
        values = []
        for number, place in enumerate(self.places):
            if place == INPUT:
                values.append(next(left))
            elif isinstance(place, Mapping):
                values.append(read(getattr(self, f"value{number}")))
            else:
                values.append(place)
        if self.function == "add":  # TensorFlow's of Keras takes a vector along another axis than the last for a bias
            return values[0] + values[1]
        function = getattr(ops, self.function)
        if self.function in OF_LISTS:
            return function(values, **self.arguments)
        return function(*values, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        own = {"function": self.function, "places": self.places, "arguments": self.arguments}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class Slice(keras.layers.Layer):
    """A part of a tensor: `starts`, `stops` and `steps` for each axis, None where an axis is whole."""

    def __init__(self, starts: Sequence[int | None], stops: Sequence[int | None], steps: Sequence[int | None], **options: Any):
        super().__init__(**options)
        self.starts, self.stops, self.steps = list(starts), list(stops), list(steps)

    def call(self, inputs: Any) -> Any:
        """The part of the tensor."""
        if all(step in (None, 1) for step in self.steps):
            # TensorFlow's gradient of it is a padding, which takes a tenth of the time that the one of a part with steps takes.
            starts = [start or 0 for start in self.starts]
            ends = [side if stop is None else stop for stop, side in zip(self.stops, ops.shape(inputs), strict=True)]
            return ops.slice(inputs, starts, [end - start for start, end in zip(starts, ends, strict=True)])
        return inputs[self._places()]

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Shape and type of the part."""
        return _spec(inputs[self._places()])

    def _places(self) -> tuple[slice, ...]:
        return tuple(slice(*along) for along in zip(self.starts, self.stops, self.steps, strict=True))

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        return {**super().get_config(), "starts": self.starts, "stops": self.stops, "steps": self.steps}


@keras.saving.register_keras_serializable(PACKAGE)
class Repeated(keras.layers.Layer):
    """A weight that is the same for every image of the batch: a tensor [batch, ...] -> the weight, [batch, ...].

    Args:
      value_shape: of the weight, without the batch.
      axis: the axis of the input that is the batch, and of the output.
    """

    def __init__(self, value_shape: Sequence[int], axis: int = 0, **options: Any):
        super().__init__(**options)
        self.value_shape, self.axis = tuple(value_shape), axis
        self.value = self.add_weight(shape=self.value_shape, initializer="zeros", trainable=False, name="value")
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The weight, once for each image."""
        value = ops.expand_dims(ops.convert_to_tensor(self.value), self.axis)
        count = ops.shape(inputs)[self.axis]
        shape = (*self.value_shape[: self.axis], count, *self.value_shape[self.axis :])
        return ops.broadcast_to(value, shape)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of the weight for each image."""
        return (*self.value_shape[: self.axis], input_shape[self.axis], *self.value_shape[self.axis :])

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        return {**super().get_config(), "value_shape": self.value_shape, "axis": self.axis}


@keras.saving.register_keras_serializable(PACKAGE)
class Standardization(keras.layers.Layer):
    """Subtracts the mean over some axes, and divides by the standard deviation: (x - m) / sqrt(v + epsilon).

    Args:
      axes: those that mean and variance are taken over.
      epsilon: is added to the variance.
      centered: whether the mean is subtracted; without, the variance is the mean square.
    """

    def __init__(self, axes: Sequence[int], epsilon: float = 1e-5, centered: bool = True, **options: Any):
        super().__init__(**options)
        self.axes, self.epsilon, self.centered = tuple(axes), epsilon, centered
        self.keeps_places = self.axes in ((-1,), (3,))  # of images, where the channels alone are standardized

    def call(self, inputs: Any) -> Any:
        """The standardized tensor."""
        if self.centered:
            inputs = inputs - ops.mean(inputs, axis=self.axes, keepdims=True)
        variance = ops.mean(ops.square(inputs), axis=self.axes, keepdims=True)
        return inputs * ops.rsqrt(variance + self.epsilon)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        return {**super().get_config(), "axes": self.axes, "epsilon": self.epsilon, "centered": self.centered}


@keras.saving.register_keras_serializable(PACKAGE)
class LocalResponseNormalization(keras.layers.Layer):
    """AlexNet's normalization across channels (Krizhevsky et al. 2012, section 3.3): x / (bias + alpha / size * s)^beta.

    Here s is the sum of the squares of `size` neighboring channels; channels are the last axis.
    """

    keeps_places = True

    def __init__(self, size: int, alpha: float, beta: float, bias: float, **options: Any):
        super().__init__(**options)
        self.size, self.alpha, self.beta, self.bias = size, alpha, beta, bias

    def call(self, inputs: Any) -> Any:
        """The normalized tensor."""
        channels = np.arange(inputs.shape[-1])
        offsets = channels[:, None] - channels[None, :]  # of the channel that is summed, from the one that it is summed for
        band = (offsets >= -((self.size - 1) // 2)) & (offsets <= self.size // 2)
        sums = ops.matmul(ops.square(inputs), ops.convert_to_tensor(band, dtype=inputs.dtype))
        return inputs * ops.power(self.bias + self.alpha / self.size * sums, -self.beta)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        own = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class Norm(keras.layers.Layer):
    """The Euclidean norm over some axes; its gradient is 0 where the norm is 0."""

    def __init__(self, axes: Sequence[int], keepdims: bool = True, **options: Any):
        super().__init__(**options)
        self.axes, self.keepdims = tuple(axes), keepdims

    def call(self, inputs: Any) -> Any:
        """The norm."""
        squares = ops.sum(ops.square(inputs), axis=self.axes, keepdims=self.keepdims)
        nothing = squares == 0
        return ops.where(nothing, ops.zeros_like(squares), ops.sqrt(ops.where(nothing, ops.ones_like(squares), squares)))

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        return {**super().get_config(), "axes": self.axes, "keepdims": self.keepdims}


def _spec(symbolic: Any) -> keras.KerasTensor:
    """A symbolic tensor without the history of how it was computed."""
    return keras.KerasTensor(symbolic.shape, symbolic.dtype)
