"""A functional Keras model as a list of calls: which layer reads what, nested models taken apart.

Keras has no public way to ask how its layers are connected. This file is the only one that reads the history of its symbolic
tensors (`_keras_history`, `_inbound_nodes`, `_outputs_struct` and `Node.arguments`, which are the same from Keras 3.8 on).
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfinvert.networks.onnx.inputs import BRIGHTNESS
from tfinvert.system.errors import InputError

Shape = tuple[Any, ...]  # numbers, and None for the batch


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A call of a layer, or of an operation of `keras.ops`.

    Attributes:
      operation: the layer or operation.
      arguments: what it is called with, symbolic tensors among it.
      keys: identity of each of these tensors -> key of its value.
      writes: keys of the values that it returns.
    """

    operation: Any
    arguments: Any
    keys: Mapping[int, int]
    writes: tuple[int, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        """Keys of the values that it is called with."""
        return tuple(self.keys.values())

    def call(self, values: Mapping[int, tf.Tensor], pool: str) -> list[tf.Tensor]:
        """What it returns, in inference mode; with `pool="avg"` a max pool takes the average, of no padding."""
        args, kwargs = self.arguments.fill_in({tensor: values[key] for tensor, key in self.keys.items()})
        if pool == "avg" and isinstance(self.operation, keras.layers.MaxPooling2D):
            layer = self.operation
            return [tf.nn.avg_pool2d(args[0], layer.pool_size, layer.strides, layer.padding.upper())]
        if isinstance(self.operation, keras.Layer) and "training" in inspect.signature(self.operation.call).parameters:
            kwargs["training"] = False
        return keras.tree.flatten(self.operation(*args, **kwargs))

    def shapes(self, shapes: Mapping[int, Shape]) -> list[Shape]:
        """The shapes of what it returns; raises ValueError where it cannot be called with values of these shapes."""
        specs = {tensor: keras.KerasTensor(shapes[key], dtype="float32") for tensor, key in self.keys.items()}
        for spec in keras.tree.flatten(getattr(self.operation, "input_spec", None)):
            for axis, length in (spec.axes if spec else {}).items():
                if any(tensor.shape[axis] not in (None, length) for tensor in specs.values()):
                    raise ValueError(f"{self.operation.name} expects {length} values along axis {axis}")
        args, kwargs = self.arguments.fill_in(specs)
        return [tuple(spec.shape) for spec in keras.tree.flatten(self.operation.compute_output_spec(*args, **kwargs))]


@dataclasses.dataclass(frozen=True, eq=False)
class LayerGraph:
    """The calls of a model from one image on.

    Attributes:
      steps: in topological order.
      layers: layer name -> key of its output, for each layer with one output of rank 2, 3 or 4. The second call of a layer, and
        another layer of the same name in a nested model, has the name with _2 behind it, and so on.
      image: key of the image.
      outputs: name -> key of each output of the model.
      size: (height, width) of the images, None for a side that is not fixed.
      channels: of the images: 3 colors, or 1 for their brightness.
      takes_bytes: whether the images have whole numbers, which are from 0 to 255.
      models: the names of the model and of the models in it.
      has_binary_loss: whether the model was compiled with a binary cross-entropy, whose classes do not exclude each other.
    """

    steps: tuple[Step, ...]
    layers: dict[str, int]
    image: int
    outputs: dict[str, int]
    size: tuple[int | None, int | None]
    channels: int
    takes_bytes: bool
    models: tuple[str, ...]
    has_binary_loss: bool = False

    def producers(self) -> dict[int, Step]:
        """Key -> the step that writes it."""
        return {key: step for step in self.steps for key in step.writes}

    def needed(self, keys: Iterable[int]) -> list[Step]:
        """The steps that the values of these keys depend on, in order."""
        needed = set(keys)
        steps = []
        for step in reversed(self.steps):
            if needed.intersection(step.writes):
                needed.update(step.reads)
                steps.append(step)
        return steps[::-1]

    def shapes_at(self, size: tuple[int, int]) -> dict[int, Shape]:
        """Key -> shape [batch, ...] of the values that fit images of a size (height, width)."""
        shapes: dict[int, Shape] = {self.image: (None, *size, self.channels)}
        for step in self.steps:
            if all(key in shapes for key in step.reads):
                try:
                    shapes.update(zip(step.writes, step.shapes(shapes), strict=True))
                except ValueError:  # such as a dense layer at another size than the model's
                    continue
        return shapes

    def values(self, image: tf.Tensor, keys: Collection[int], pool: str) -> dict[int, tf.Tensor]:
        """The values of these keys, and of those that they are made from, for a prepared image [batch, H, W, 3]."""
        if self.channels == 1:
            image = tf.tensordot(image, tf.constant(BRIGHTNESS, image.dtype), 1)[..., None]
        values = {self.image: image}
        for step in self.needed(keys):
            values.update(zip(step.writes, step.call(values, pool), strict=True))
        return values


def layer_graph(model: keras.Model) -> LayerGraph:
    """Reads a model, and leaves it as it is.

    Raises:
      InputError: it is neither a functional nor a built sequential model, or not a model of one image.
    """
    if not _is_symbolic(model):
        built = "is not built yet" if isinstance(model, keras.Sequential) else "is subclassed"
        raise InputError(
            f"the Keras model {model.name!r} {built}, so its layers cannot be seen; expected a functional model, or a "
            "Sequential one that begins with keras.Input((height, width, 3))"
        )
    inputs = model.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] not in (1, 3):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
        raise InputError(
            f"the Keras model {model.name!r} takes inputs of shape {shapes}; expected (batch, height, width, 3 or 1)"
        )
    reading = _Reading()
    reading.read(model)
    return LayerGraph(
        steps=tuple(reading.steps),
        layers=_by_name(reading.layers),
        image=id(inputs[0]),
        outputs={name: reading.key(tensor) for name, tensor in _named_outputs(model).items()},
        size=inputs[0].shape[1:3],
        channels=inputs[0].shape[-1],
        takes_bytes="int" in str(inputs[0].dtype),
        models=tuple(reading.models),
        has_binary_loss=len(model.outputs) == 1 and _is_binary(getattr(model, "loss", None)),
    )


def _named_outputs(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The outputs of a model, by the keys of a dictionary or by the names of their layers."""
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, Mapping):
        return dict(structure)
    names = [tensor._keras_history.operation.name for tensor in model.outputs]
    return {f"{name}_{n}" if name in names[:n] else name: model.outputs[n] for n, name in enumerate(names)}


def _by_name(layers: list[tuple[str, int]]) -> dict[str, int]:
    """Name -> key, where a name that is taken is numbered."""
    taken, named = {name for name, _ in layers}, dict[str, int]()
    for name, key in layers:
        numbered = (f"{name}_{number}" for number in itertools.count(2) if f"{name}_{number}" not in taken)
        free = next(one for one in itertools.chain([name], numbered) if named.get(one, key) == key)
        named[free] = key
    return named


def _is_binary(loss: Any) -> bool:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return "binary" in name.lower()


def _is_symbolic(model: Any) -> bool:
    """Whether an operation is a model that is nothing but its graph."""
    return (
        isinstance(model, keras.Model)
        and type(model).call.__module__.split(".")[0] == "keras"  # and no method of a subclass
        and bool(getattr(model, "inputs", None))
    )


class _Reading:
    """The steps of a model, gathered by walking through it. The key of a value is the identity of its symbolic tensor."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.layers: list[tuple[str, int]] = []
        self.models: list[str] = []
        self._same: dict[int, int] = {}  # a tensor at the border of a nested model -> the value that it stands for

    def key(self, tensor: keras.KerasTensor) -> int:
        return self._same.get(id(tensor), id(tensor))

    def read(self, model: keras.Model) -> None:
        self.models.append(model.name)
        for node in _nodes(model.outputs):
            operation, arguments = node.operation, node.arguments
            if self._is_nested(node):
                self._same[id(operation.inputs[0])] = self.key(arguments.keras_tensors[0])
                self.read(operation)
                self._same |= {id(out): self.key(own) for out, own in zip(node.outputs, operation.outputs, strict=True)}
            else:
                keys = {id(tensor): self.key(tensor) for tensor in arguments.keras_tensors}
                writes = tuple(id(tensor) for tensor in node.outputs)
                self.steps.append(Step(operation, arguments, keys, writes))
            if isinstance(operation, keras.Layer) and len(node.outputs) == 1 and 2 <= len(node.outputs[0].shape) <= 4:
                self.layers.append((operation.name, self.key(node.outputs[0])))

    def _is_nested(self, node: Any) -> bool:
        """Whether a call is that of a model whose layers can be called one by one instead; the second call of it is not."""
        model = node.operation
        return (
            _is_symbolic(model)
            and len(model.inputs) == len(node.arguments.keras_tensors) == 1
            and len(model.outputs) == len(node.outputs)
            and id(model.inputs[0]) not in self._same
        )


def _nodes(outputs: Iterable[keras.KerasTensor]) -> list[Any]:
    """The calls that symbolic tensors come from, in topological order, without those of the inputs."""

    def origin(tensor: keras.KerasTensor) -> Any:
        history = tensor._keras_history
        return history.operation._inbound_nodes[history.node_index]

    ordered: dict[int, Any] = {}
    waiting = [origin(tensor) for tensor in outputs]
    while waiting:
        node = waiting[-1]
        before = [origin(tensor) for tensor in node.arguments.keras_tensors]
        missing = [other for other in before if id(other) not in ordered]
        if id(node) in ordered or not missing:
            ordered.setdefault(id(node), waiting.pop())
        else:
            waiting += reversed(missing)
    return [node for node in ordered.values() if node.arguments.keras_tensors]
