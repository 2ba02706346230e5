"""What the server of forks imports (`tests.forked`): what a run imports before it computes, in the same way."""

import importlib

from tfinvert.system.tensorflow import import_tensorflow

import_tensorflow(drawing=False)
for module in (
    "networks.load",
    "optimization.inversion",
    "reports.charts",
    "reports.page",
    "runner",
    "runs.provenance",
    "runs.recording",
):
    importlib.import_module(f"tfinvert.{module}")
