"""Conversions for tests: of the zoo's networks with random weights, and of the tiny network."""

from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import request as make_request


def request(**changes):
    """What is converted: VGG16-BN with random weights, but for the changes."""
    settings = {"model": "vgg16-bn", "onnx": None, "weights": "random", "layers": (), "size": None, "pool": "max"}
    return make_request(**{**settings, **changes})


def converted(**changes):
    """The finished conversion of a `request`."""
    with Conversion(request(**changes)) as conversion:
        return conversion.result()


def tiny_network(file, layers=(), **changes):
    """The finished conversion of the tiny network, which needs no preprocessing."""
    return converted(onnx=str(file), weights="auto", layers=tuple(layers), preprocessing="none", **changes)
