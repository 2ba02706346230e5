"""What the converting process does: `python -m tfinvert.networks.conversion.work`, started by `process.Conversion`."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfinvert.images import files as images
from tfinvert.networks import onnx as graphs
from tfinvert.networks import trainings
from tfinvert.networks.conversion import cache, converters, request_graph, verify
from tfinvert.networks.conversion.cache import Converted
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.layer import Layer
from tfinvert.networks.onnx import Graph
from tfinvert.networks.preprocessing import parse
from tfinvert.system import child
from tfinvert.system.errors import InputError

PHOTOGRAPHS = ("astronaut", "rocket")  # that layers are compared on, together, so that no image is taken for another


def main() -> None:
    """Converts the network of the request that the parent sends, into the folder that it names, and waits to be ended."""
    parent = child.Parent()
    order = parent.receive()
    if order is None:  # the parent was killed before it could send one
        return
    scratch = Path(order["scratch"])
    child.end_with_parent(functools.partial(child.remove_and_end, scratch))
    try:
        scratch.mkdir()
        os.chdir(scratch)  # onnx2tf looks for files of its own in the working directory
        request = Request(**cache.with_tuples(order["request"]))
        convert(request, scratch / "entry", lambda event: parent.send(event=event), order["because"])
    except InputError as error:
        parent.send(error=str(error))
    except MemoryError:
        parent.send(error="not enough memory to convert the network")
    except OSError as error:
        parent.send(error=f"the converted network cannot be written to {scratch}: {error.strerror or error}", disk=True)
    threading.Event().wait()  # until the parent has taken the entry, or is gone


def convert(request: Request, folder: Path, tell: Callable[[str], None], because: str = "") -> None:
    """Converts a network, compares each layer with onnxruntime, and writes a whole cache entry.

    Args:
      request: the network.
      folder: the entry, which is not there yet.
      tell: is called with "accepted" when file and layers are known to be usable, with the name of each of `process.STAGES`
        when it begins (once more where a second converter is tried), and with "converted" at the end.
      because: why onnx2tf is not tried, where it has been before.

    Raises:
      InputError: the file is no usable network, a layer is not in it or not finite, an operator could not be converted, or a
        layer differs from onnxruntime.
      OSError: the entry cannot be written.
    """
    part, layers = request_graph.cut_graph(request)
    places = graphs.geometry(part)
    tell("accepted")
    if request.weights == "random":
        tell("calibrating random weights")
    part = request_graph.with_weights(request, part)
    tell("converting")
    proof = _Proof(request, part, layers)
    names = converters.ORDER[request.converter][-1:] if because else converters.ORDER[request.converter]
    for name in names:
        try:
            model = converters.CONVERTERS[name](request, part, layers)
            tell("comparing with onnxruntime")
            errors = proof.errors(model)
            break
        except (InputError, MemoryError) as error:
            if name == names[-1]:
                if isinstance(error, verify.DifferenceError):
                    raise InputError(f"{error}: the conversion of this network cannot be trusted") from None
                raise
            because = str(error) or "it ran out of memory"
            tell("converting")
    described = []
    for layer, tensor in layers.items():
        place = places[tensor]
        shape = graphs.features_shape(place)
        described.append(Layer(layer, graphs.original(tensor), shape, place.stride, place.receptive_field, errors[layer]))
    tell("saving")
    model.save(folder)
    training = trainings.words(part) if request.weights != "random" else ""
    cache.describe_entry(folder, Converted(folder, tuple(described), part.size, request, training, name, because))
    tell("converted")


class _Proof:
    """The values of a network's layers by onnxruntime, for a batch of images, and how far a converted network is from them."""

    def __init__(self, request: Request, part: Graph, layers: dict[str, str]):
        self._request, self._part, self._layers = request, part, layers
        self._images = np.concatenate([images.load(name, part.size, "squash") for name in PHOTOGRAPHS])
        values = [verify.reference(part, request_graph.example_input(request, part, name)) for name in PHOTOGRAPHS]
        self._expected = {
            layer: np.concatenate([verify.channels_last(value[tensor]) for value in values]) for layer, tensor in layers.items()
        }
        verify.check_finite(part, self._expected)

    def errors(self, model: converters.Model) -> dict[str, float]:
        """Layer name -> its difference from onnxruntime.

        Raises:
          InputError: a layer is not right.
        """
        actual = model.features(self._images)
        try:
            return {name: verify.relative_error(name, actual[name], value) for name, value in self._expected.items()}
        except verify.DifferenceError as error:
            if not error.may_be_rounding:
                raise
            try:
                exact = self._exact
            except InputError:  # the builder cannot build it, so nothing is known of its rounding
                raise error from None
            return {
                name: verify.relative_error(name, actual[name], value, exact[name]) for name, value in self._expected.items()
            }

    @functools.cached_property
    def _exact(self) -> dict[str, np.ndarray]:
        prepare = parse(self._request.preprocessing)
        return verify.in_double(self._part, prepare, self._layers, self._images)


if __name__ == "__main__":
    main()
