"""What the converting process does: `python -m tfinvert.networks.conversion.work`, started by `process.Conversion`."""

from __future__ import annotations

import errno
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.networks import trainings
from tfinvert.networks.conversion import cache, onnx2tf, request_graph, verify
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.layer import Layer
from tfinvert.networks.onnx import geometry
from tfinvert.system import child
from tfinvert.system.files import reason

PHOTOGRAPH = "astronaut"  # that layers are compared on


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
        convert(Request(**cache.with_tuples(order["request"])), scratch / "entry", lambda event: parent.send(event=event))
    except InputError as error:
        parent.send(error=str(error))
    except MemoryError:
        parent.send(error="not enough memory to convert the network")
    except OSError as error:
        parent.send(error=f"the converted network cannot be written to {scratch}: {error.strerror or error}", disk=True)
    threading.Event().wait()  # until the parent has taken the entry, or is gone


def convert(request: Request, folder: Path, tell: Callable[[str], None]) -> None:
    """Converts a network, compares each layer with onnxruntime, and writes a whole cache entry.

    Args:
      request: the network.
      folder: the entry, which is not there yet.
      tell: is called with "accepted" when file and layers are known to be usable, with the name of each of `process.STAGES`
        when it begins, and with "converted" at the end.

    Raises:
      InputError: the file is no usable network, a layer is not in it, an operator could not be converted, or a layer differs
        from onnxruntime.
      OSError: the entry cannot be written.
    """
    part, layers = request_graph.cut_graph(request)
    places = geometry(part)
    tell("accepted")
    part = request_graph.with_weights(request, part)
    expected = verify.reference(part, request_graph.example_input(request, part, PHOTOGRAPH))
    tell("converting")
    module = onnx2tf.export(*request_graph.folded(request, part, pools=request.pools_as_convolutions), layers)
    tell("comparing with onnxruntime")
    features = module.features(images.load(PHOTOGRAPH, part.size))
    described = []
    for name, tensor in layers.items():
        value, place = features[name].numpy(), places[tensor]
        error = verify.relative_error(name, value, expected[tensor])
        described.append(Layer(name, tensor, value.shape[1:], place.stride, place.receptive_field, error))
    tell("saving")
    _save(module, folder)
    cache.describe_entry(folder, described, part.size, trainings.words(part) if request.weights != "random" else "")
    tell("converted")


def _save(module, folder: Path) -> None:
    import tensorflow as tf  # after onnx2tf, which must set its environment first

    try:
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.features})
    except tf.errors.OpError as error:  # TensorFlow's of a full disk
        raise OSError(errno.EIO, reason(error)) from None


if __name__ == "__main__":
    main()
