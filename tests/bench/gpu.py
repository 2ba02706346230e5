"""The table of a machine with a GPU: TensorFlow with and without XLA, PyTorch eager, compiled and with CUDA graphs."""

from __future__ import annotations

import contextlib

from tests.bench.cases import CASES, PLAIN
from tests.bench.steps import Figures, measured, orders_of
from tests.bench.workers import Worker

BATCHES = (1, 16, 256)
PRECISIONS = ("float32", "tf32")
VARIANTS = ("eager", "channels_last", "compile", "cuda graphs")


def missing() -> str:
    """Why nothing can be measured here, in one line, or an empty text."""
    from tfinvert.system.tensorflow import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return "tests.bench gpu needs a GPU, and TensorFlow sees none; run it on a machine that has one"
    return ""


def measure() -> dict[str, Figures]:
    """The figures of each case, with plain pixels also for more images in a step.

    A side that does not fit into the memory of the GPU is left out, and said.
    """
    found = {}
    for case in (case for case in CASES if not case.missing()):
        for batch in BATCHES if case.settings == PLAIN else BATCHES[:1]:
            orders = {}
            for name, order in orders_of(case, PRECISIONS, VARIANTS, 0, stems=(True,)).items():
                if order["side"] == "tensorflow":
                    precision = order["settings"]["precision"]
                    orders[name] = {**order, "batch": batch}
                    orders[f"TensorFlow with XLA {precision}"] = {**order, "batch": batch, "xla": True}
                elif order["side"] == "pytorch":
                    orders[name] = {**order, "batch": batch, "device": "cuda"}
            workers = {name: Worker(**order) for name, order in orders.items()}
            found[f"{case.name}, batch {batch}"] = measured(workers, contextlib.nullcontext, case)
    return found
