"""A network: its named layers, and what it makes of images. Nothing here imports TensorFlow before it is needed."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinvert.images import as_images
from tfinvert.networks.classes import Classes
from tfinvert.networks.conversion.cache import Converted
from tfinvert.networks.layer import Layer
from tfinvert.networks.names import SCORES
from tfinvert.networks.onnx_files import OnnxFile
from tfinvert.networks.source import Source
from tfinvert.system.cache import remembered
from tfinvert.system.errors import InputError
from tfinvert.system.tensorflow import call_as_function, check_backend

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from tfinvert.networks.conversion.request import Request

log = logging.getLogger("tfinvert")


class Network:
    """A network that `tfinvert.networks.load` gave. It is converted once for a set of layers, and then used for many calls.

    Attributes:
      name: of the zoo model, file, Keras model or class of a PyTorch module.
      kept: what callers compute once for this network and use again, by a key of their own.

    Examples:
      >>> network = load("squeezenet1.1", weights="random")
      >>> network.layers["fire4"].shape
      (28, 28, 256)
      >>> network.features("chelsea", "fire4")["fire4"].shape
      TensorShape([1, 28, 28, 256])
    """

    def __init__(self, source: Source, class_names: Any = None):
        self.name = source.name
        self._class_names = class_names
        self.kept: dict[Any, Any] = {}
        self._source = source
        self._cuts: dict[frozenset[str], keras.Model] = {}
        self._others: dict[Any, Network] = {}  # by their size, or by the precision that they are for
        self._whole: keras.Model | None = None

    @classmethod
    def of(cls, converted: Converted, name: str) -> Network:
        """The network of a finished conversion, whose layers are those of the conversion."""
        return cls(OnnxFile.of(converted, name))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images, in pixels."""
        return self._source.size

    @property
    def weights(self) -> str:
        """Where the weights came from, in words. For a network of the zoo, this downloads its file."""
        return self._source.weights

    @property
    def preprocessing(self) -> str:
        """How images are prepared for the network, in the words of `--preprocessing`."""
        return self._source.recognized.preprocessing

    @property
    def preprocessing_from(self) -> str:
        """How the preprocessing is known, in words."""
        return self._source.recognized.reason

    @property
    def layers(self) -> Mapping[str, Layer]:
        """Layer name -> Layer, for every layer that has a name of its own and fits images of this size.

        Nothing is converted or downloaded for it; so `Layer.error` is None where the network was not converted yet.
        """
        return self._source.layers

    @functools.cached_property
    def classes(self) -> Classes:
        """The classes of the network and their names. Nothing is converted or downloaded for it.

        Raises:
          InputError: the network has no class scores, or the names that it was loaded with do not fit.
        """
        head = self._source.head
        if head.others:
            log.info("the class scores are the output %r; the network also has %s", head.output, ", ".join(head.others))
        return Classes.of(head, self._class_names)

    def layer(self, name: str) -> Layer:
        """A layer with its measured difference from onnxruntime; converts the network to this layer if it was not yet.

        Args:
          name: a key of `layers`, `scores`, `last`, or the name of a tensor in an .onnx file.

        Raises:
          InputError: there is no such layer, or the network cannot be converted.
        """
        return self._source.layer(name)

    def remembered(self, what: str, layers: str | Iterable[str], compute: Callable[[], Any]) -> Any:
        """A fact about layers, which is computed once for a network that is in the cache, whichever process is the first.

        Args:
          what: the fact, in a word; another word where it would be computed differently.
          layers: names as for `layer`, one or several.
          compute: gives the fact, of values that JSON has.
        """
        names = _names(layers)
        key = (what, *names)
        if key not in self.kept:
            file = self._source.file(names)
            self.kept[key] = compute() if file is None else remembered(file, " ".join(key), lambda _: compute())
        return self.kept[key]

    def check(self, layers: str | Iterable[str]) -> None:
        """Raises InputError for layers that do not exist or do not fit, without a download or a conversion."""
        self._source.check(_names(layers))

    def prepare(self, layers: str | Iterable[str]) -> None:
        """Starts converting the network, cut to these layers, in a process of its own, and returns at once.

        TensorFlow is not imported for it, so that the caller can import it in the meantime.

        Args:
          layers: names as for `layer`, one or several.

        Raises:
          InputError: there is no such layer, or the network cannot be used.
        """
        self._source.prepare(_names(layers))

    def cut(self, layers: str | Iterable[str]) -> keras.Model:
        """The network as a Keras model that computes these layers and nothing else.

        Args:
          layers: names as for `layer`, one or several.

        Returns:
          A model from images, float32 [batch, height, width, 3], RGB in [0, 1], to {layer name: features [batch, ...]}.
          Preprocessing is inside, and no weight is trainable. The same set of layers gives the same model again.

        Raises:
          InputError: there is no such layer, the network cannot be converted, or Keras does not use TensorFlow.
        """
        names = _names(layers)
        if frozenset(names) not in self._cuts:
            check_backend()
            self._source.prepare(names)
            self._cuts[frozenset(names)] = call_as_function(self._source.build(names))
        return self._cuts[frozenset(names)]

    @property
    def model(self) -> keras.Model:
        """The network as a Keras model with every layer of `layers` as an output; otherwise as `cut` gives it.

        It has real Keras layers: one that computes a named layer has its name, with `_` for a slash. `model.save("net.keras")`
        writes it as a file, which all backends of Keras read (docs/networks.md).
        """
        if self._whole is None:
            self._whole = self.plain(self.layers)
        return self._whole

    def plain(self, layers: str | Iterable[str]) -> keras.Model:
        """A new Keras model as `model`, that returns these layers and computes nothing else; the names are as for `cut`."""
        check_backend()
        return self._source.build_plain(_names(layers))

    def features(self, image: Any, layers: str | Iterable[str]) -> dict[str, tf.Tensor]:
        """The features of images.

        Args:
          image: a file or the name of a sample photograph, or an array [height, width, 3] in [0, 1]; or several, as a list
            or as an array [n, height, width, 3].
          layers: names as for `layer`, one or several.

        Returns:
          Layer name -> features, float32 [n, height, width, channels] or [n, channels].

        Raises:
          InputError: an image, a layer or the network cannot be used.
        """
        names = _names(layers)
        images = as_images(image, self.size)
        model = self.cut(names)
        import tensorflow as tf  # after `cut`, which imports it without its notes on standard error

        values = model(tf.constant(images), training=False)
        return {name: values[name] for name in names}

    def classify(self, image: Any, top: int = 5) -> list[Any]:
        """What the network sees in images.

        Args:
          image: as for `features`.
          top: how many classes to list.

        Returns:
          (name, probability) of the most probable classes, the most probable first; for several images a list of such lists.
          Where an image can be of several classes, each probability is for itself.

        Raises:
          InputError: the network has no class scores, or an image cannot be used.

        Examples:
          >>> load("squeezenet1.1").classify("chelsea", top=1)  # doctest: +SKIP
          [('tabby', 0.53)]
        """
        from tfinvert.networks import classifier

        if not isinstance(top, int | np.integer) or top < 1:
            raise InputError(f"top is {top!r}; expected the number of classes to list, at least 1")
        images = as_images(image, self.size)
        classes = self.classes
        rows = classifier.probabilities(self.cut(SCORES), images, classes.activation)
        lists = [
            [(classes.name(int(index)), float(row[index])) for index in np.argsort(-row, kind="stable")[:top]] for row in rows
        ]
        return lists if isinstance(image, list | tuple) or getattr(image, "ndim", 3) == 4 else lists[0]

    def guided(self, layers: str | Iterable[str]) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """A function from images to {layer name: features}, whose gradient is that of guided backpropagation."""
        from tfinvert.networks import backpropagation

        return backpropagation.guided(self.cut(layers))

    def redirected(self, layers: str | Iterable[str]) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """A function from images to {layer name: features}, whose gradient finds a way through a ReLU that is 0 everywhere."""
        from tfinvert.networks import backpropagation

        return backpropagation.redirected(self.cut(layers))

    def head(self, layer: str, output: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function from the features of `layer` to the features of `output`, a layer above it."""
        from tfinvert.networks import backpropagation

        return backpropagation.head(self.cut((layer, output)), layer, output)

    def connections(self, layers: str | Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Layer name -> those of these layers that it is computed from, none of them in between.

        Names that are not in `layers`, such as those of tensors, have none. For a Keras model the dictionary is empty.
        """
        return self._source.connections(_names(layers))

    def provenance(self) -> dict[str, Any]:
        """What run.json says: network, weights, onnx_sha256, converter, preprocessing and how it is known, pool, size."""
        return self._source.provenance()

    def at_size(self, size: tuple[int, int]) -> Network:
        """The same network for images of another size, (height, width) in pixels."""
        if size == self.size:
            return self
        if size not in self._others:
            self._others[size] = Network(self._source.at_size(size), self._class_names)
        return self._others[size]

    def at_precision(self, precision: str) -> Network:
        """The same network in the form that a run in float32, tf32 or bfloat16 needs: not all are right in each."""
        source = self._source.at_precision(precision)
        if source is self._source:
            return self
        if precision not in self._others:
            self._others[precision] = Network(source, self._class_names)
        return self._others[precision]

    @property
    def request(self) -> Request:
        """What the network is converted from. Raises InputError for a Keras model, which is not converted."""
        return self._source.request

    def settings(self) -> dict[str, Any]:
        """The settings that stand for this network in the flagfile of a run."""
        names = self._class_names
        return {**self._source.settings(), "class_names": os.fspath(names) if isinstance(names, str | Path) else None}

    def __repr__(self) -> str:
        size = "x".join(map(str, self.size))
        return f"<Network {self.name}: {len(self.layers)} layers, images of {size}, preprocessing {self.preprocessing}>"


def _names(layers: str | Iterable[str]) -> tuple[str, ...]:
    """The names of layers without repetitions; raises InputError for what is no name."""
    names = (layers,) if isinstance(layers, str) else tuple(layers) if isinstance(layers, Iterable) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"layers is {layers!r}; expected the name of a layer, or several, such as ['conv3_1', 'pool3']")
    return tuple(dict.fromkeys(names))
