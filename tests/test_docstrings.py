"""The examples in docstrings run, and give what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfinvert

PACKAGES = ("images", "metrics", "objectives", "optimization", "settings")
OTHERS = ("runs.result", "runs.summary", "runs.time_left")


def modules():
    for package in PACKAGES:
        found = importlib.import_module(f"tfinvert.{package}")
        yield from (f"{package}.{part.name}" for part in pkgutil.iter_modules(found.__path__))
    yield from OTHERS


@pytest.mark.parametrize("name", list(modules()))
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"tfinvert.{name}")
    names = {**vars(module), "tf": tf, "np": np, "keras": keras, "tfinvert": tfinvert}
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    runner = doctest.DocTestRunner(optionflags=options)
    for example in doctest.DocTestFinder().find(module, extraglobs=names):
        runner.run(example)
    assert runner.failures == 0
