"""A network of the zoo or of an .onnx file: described in this process, converted in another."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinvert.networks import names as naming
from tfinvert.networks import onnx as graphs
from tfinvert.networks import recognition, trainings, zoo
from tfinvert.networks.conversion.cache import Converted
from tfinvert.networks.conversion.converters import FILE
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.conversion.request import request as build_request
from tfinvert.networks.heads import Head, find_head
from tfinvert.networks.layer import Layer
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Description:
    """What the graph of a network says without being run.

    Attributes:
      size: (height, width) of the images.
      layers: every layer that has a name of its own.
      connections: the tensor of a layer -> the tensors of layers that it is computed from, with no layer in between.
    """

    size: tuple[int, int]
    layers: dict[str, Layer]
    connections: dict[str, tuple[str, ...]]


class OnnxFile:
    """A network of the zoo, or of an .onnx file; the attributes and methods are those of `source.Source`."""

    def __init__(self, name: str, settings: Mapping[str, Any]):
        """Looks at nothing yet.

        Args:
          name: of the network.
          settings: the arguments of `conversion.request.request`, without the layers.
        """
        self.name = name
        self._settings = settings
        self._conversions: dict[frozenset[str], Conversion] = {}
        self._converted: dict[frozenset[str], Converted] = {}

    @classmethod
    def of(cls, converted: Converted, name: str) -> OnnxFile:
        """The file of a finished conversion; its layers are those of the conversion."""
        request = converted.request
        names = ("weights", "size", "pool", "preprocessing", "output", "converter")
        settings = {field: getattr(request, field) for field in names}
        settings["winograd"] = "auto" if request.winograd else "off"
        file = cls(name, {"model": request.model or "vgg16-bn", "onnx": None if request.model else request.file, **settings})
        file.request = request
        file.layers = {layer.name: layer for layer in converted.layers}
        file._converted[frozenset(file.layers)] = converted
        return file

    @functools.cached_property
    def request(self) -> Request:
        """The request for every layer. For a network of the zoo, this downloads the file."""
        return build_request(**self._settings, layers=())

    @functools.cached_property
    def description(self) -> Description:
        """What the graph says; raises InputError where the file is no usable network."""
        return describe(self._graph, self._settings["pool"])

    @functools.cached_property
    def _graph(self) -> graphs.Graph:
        """The tidied graph at the size of the images, for a network of the zoo without its weights."""
        whole = graphs.tidy(self._read)
        return graphs.resized(whole, self._settings["size"] or whole.size)

    @functools.cached_property
    def _read(self) -> graphs.Graph:
        file = self._settings["onnx"]
        graph = graphs.read(Path(file)) if file else zoo.model(self._settings["model"]).topology()
        return graphs.with_output(graph, self._settings.get("output"))

    @functools.cached_property
    def head(self) -> Head:
        head = find_head(self._graph, self._read.outputs)
        if not head.count:  # the images are of a size that the classifier does not fit
            graphs.shapes(graphs.settle(graphs.cut(self._graph, [head.tensor])))  # says so
        return head

    @property
    def size(self) -> tuple[int, int]:
        if self._settings["size"]:
            return self._settings["size"]
        if self._conversions:  # under way, so that its result costs less than to read the file here
            self.convert(tuple(next(iter(self._conversions))))
        converted = next(iter(self._converted.values()), None)
        return converted.size if converted is not None else self.description.size

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer]:
        return self.description.layers

    @property
    def recognized(self) -> recognition.Recognized:
        if self._settings["preprocessing"]:
            return recognition.given(self._settings["preprocessing"])
        if not self._settings["onnx"]:  # the file may not be there yet
            return recognition.of_zoo_model(zoo.model(self._settings["model"]))
        return recognition.Recognized(self.request.preprocessing, self.request.preprocessing_from)

    @functools.cached_property
    def weights(self) -> str:
        for converted in self._converted.values():
            return converted.weights_origin
        file = self.request.file
        training = trainings.words(graphs.read(Path(file))) if file and self.request.weights != "random" else ""
        return Converted(Path(), (), self.size, self.request, training).weights_origin

    def layer(self, name: str) -> Layer:
        key = next((key for key in (*self._converted, *self._conversions) if name in key), frozenset((name,)))
        return next(layer for layer in self.convert(tuple(key)).layers if layer.name == name)

    def check(self, layers: tuple[str, ...]) -> None:
        if self._at_hand(frozenset(layers)) is None:  # what is converted was checked
            naming.describe(self._graph, layers, pool=self._settings["pool"])

    def prepare(self, layers: tuple[str, ...]) -> None:
        key = frozenset(layers)
        if self._under_way(key) is not None or self._at_hand(key) is not None:
            return
        if not self._settings["onnx"]:  # before it is downloaded; the process that converts a file checks it
            self.check(layers)
        self._conversions[key] = conversion = Conversion(dataclasses.replace(self.request, layers=layers))
        weakref.finalize(self, conversion.close)  # also when the interpreter ends

    def convert(self, layers: tuple[str, ...]) -> Converted:
        """The finished conversion to these layers; raises InputError as `Conversion` does."""
        key = frozenset(layers)
        if (converted := self._at_hand(key)) is not None:
            return converted
        larger = self._under_way(key)
        if larger is not None and larger != key:
            with contextlib.suppress(InputError):  # of another layer
                self._converted[larger] = self._conversions.pop(larger).result()
                return self._converted[larger]
        self.prepare(layers)
        self._converted[key] = self._conversions.pop(key).result()
        return self._converted[key]

    def _under_way(self, layers: frozenset[str]) -> frozenset[str] | None:
        """The layers of a conversion that has begun and will give these layers."""
        is_cut = self._settings.get("converter") == "keras"
        return next((key for key in self._conversions if layers == key or (is_cut and layers < key)), None)

    def _at_hand(self, layers: frozenset[str]) -> Converted | None:
        """A finished conversion to these layers, or one to more of them that can be cut, which layers of Keras can."""
        larger = (each for key, each in self._converted.items() if layers < key and each.converter == "keras")
        return self._converted.get(layers) or next(larger, None)

    def connections(self, layers: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        names = {self.layers[name].tensor: name for name in layers if name in self.layers}
        found: dict[str, tuple[str, ...]] = dict.fromkeys(layers, ())
        for tensor, name in names.items():
            pending, seen = list(self.description.connections.get(tensor, ())), set()
            while pending:  # past the layers that are not among these
                source = pending.pop()
                if source not in names:
                    pending += self.description.connections.get(source, ())
                else:
                    seen.add(source)
            found[name] = tuple(each for source, each in names.items() if source in seen)
        return found

    def build(self, layers: tuple[str, ...]) -> keras.Model:
        return keras_model(self.convert(layers), layers)

    def build_plain(self, layers: tuple[str, ...]) -> keras.Model:
        return OnnxFile(self.name, {**self._settings, "converter": "keras", "plain": True}).build(layers)

    def file(self, layers: tuple[str, ...]) -> Path:
        converted = self.convert(layers)
        return converted.folder / (FILE if converted.converter == "keras" else "saved_model.pb")

    def provenance(self) -> dict[str, Any]:
        return {
            "network": self.name,
            "weights": self.weights,
            "onnx_sha256": self.request.sha256,
            "converter": ", ".join(sorted({converted.converter for converted in self._converted.values()})) or None,
            "preprocessing": self.recognized.preprocessing,
            "preprocessing_from": self.recognized.reason,
            "pool": self.request.pool,
            "size": list(self.size),
        }

    def settings(self) -> dict[str, Any]:
        names = ("model", "onnx", "weights", "preprocessing", "size", "pool", "output", "converter", "winograd")
        values = {name: self._settings[name] for name in names if name in self._settings}
        return {name: value for name, value in values.items() if (name, value) != ("converter", "auto")}

    def at_size(self, size: tuple[int, int]) -> OnnxFile:
        return self._with(size=size)

    def at_precision(self, precision: str) -> OnnxFile:
        return self if precision == self._settings.get("precision", "float32") else self._with(precision=precision)

    def _with(self, **changes: Any) -> OnnxFile:
        return OnnxFile(self.name, {**self._settings, **changes})


def describe(whole: graphs.Graph, pool: str) -> Description:
    """The layers of a network, without running it.

    Args:
      whole: a tidied graph at the size of the images.
      pool: "max" or "avg".

    Raises:
      InputError: no layer fits images of this size.
    """
    layers = {name: Layer(name, *found) for name, found in naming.describe(whole, pool=pool).items()}
    if not layers:
        graphs.settle(graphs.cut(whole, whole.outputs))  # says what cannot be converted, if that is why there are none
    connections = whole.connections(layer.tensor for layer in layers.values())
    return Description(whole.size, layers, connections)


def keras_model(converted: Converted, names: Collection[str]) -> keras.Model:
    """The model of a finished conversion: images float32 [batch, H, W, 3], RGB in [0, 1] -> {layer name: features}.

    Args:
      converted: the conversion.
      names: of its layers, those that the model returns; with onnx2tf all of them.
    """
    import keras

    if converted.converter == "keras":
        from tfinvert.networks.keras_builder import layers  # noqa: F401 - the file may have some of them

        model = keras.models.load_model(converted.folder / FILE, compile=False, safe_mode=True)
        if len(names) == len(converted.layers):
            return model
        return keras.Model(model.input, {name: model.output[name] for name in names}, name=model.name)
    image = keras.Input((*converted.size, 3), name="image", dtype="float32")
    layer = keras.layers.TFSMLayer(
        str(converted.folder), call_endpoint="serving_default", trainable=False, name="onnx", dtype="float32"
    )
    # Each requested layer has an output; SavedModel signatures return them in no particular order.
    outputs = layer(image)
    return keras.Model(image, {one.name: outputs[one.name] for one in converted.layers}, name="features")
