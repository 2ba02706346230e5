"""How a network takes its images: as its own first operations say, or who trained it, or else as torch's networks do."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from tfinvert.networks import normalization, trainings, zoo
from tfinvert.networks import onnx as graphs

DEFAULT = "torch"


class Recognized(NamedTuple):
    """How a network takes its images.

    Attributes:
      preprocessing: what `preprocessing.parse` takes.
      reason: how that is known, in words.
    """

    preprocessing: str
    reason: str


def given(preprocessing: str) -> Recognized:
    """What the user says."""
    return Recognized(preprocessing, "as given")


def of_zoo_model(model: zoo.ZooModel) -> Recognized:
    """How a network of the zoo takes its images."""
    return Recognized(model.preprocessing, f"known of the model zoo's {model.name}")


def inside(preprocessing: str) -> Recognized:
    """How a network takes its images that begins with a normalization."""
    return Recognized(preprocessing, "the network normalizes its images itself")


def of_bytes() -> Recognized:
    """How a network takes its images whose input has whole numbers."""
    return Recognized("0..255", "its input has whole numbers")


def of_training(training: trainings.Training) -> Recognized:
    """How a network takes its images whose first kernel is known."""
    return Recognized(training.preprocessing, f"its first kernel is that of {training.words}")


def assumed() -> Recognized:
    """How a network takes its images of which nothing is known."""
    return Recognized(DEFAULT, "assumed: nothing in the network says more; --preprocessing=... does")


@functools.lru_cache(32)
def of_file(path: Path, sha256: str) -> Recognized:
    """How an .onnx file of this checksum takes its images.

    Raises:
      InputError: the file is no usable network.
    """
    for model in zoo.MODELS.values():
        if model.sha256 == sha256:
            return of_zoo_model(model)
    graph = graphs.read(path)
    if (preprocessing := normalization.range_in_graph(graph)) is not None:
        return inside(preprocessing)
    if graph.takes_bytes:
        return of_bytes()
    training = trainings.recognize(trainings.first_kernel(graph))
    return of_training(training) if training else assumed()
