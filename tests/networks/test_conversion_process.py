"""Conversion in its own process: the caller is left as it was, what was converted is kept, and what dies leaves nothing."""

import dataclasses
import io
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tf_config

from tests.conftest import ROOT, tiny_graph, wait_until, write_onnx
from tests.networks.conversions import request, tiny_network
from tfinvert.networks.conversion import cache
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.network import Network
from tfinvert.system.errors import InputError


def test_the_caller_is_left_as_it_was(tiny_file, tmp_path, monkeypatch):
    """onnx2tf changes all of this in the process that it runs in."""
    file = tmp_path / "net.onnx"
    file.write_bytes(Path(tiny_file).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must not change
    tf.random.set_seed(1)

    def state():
        return {
            "environment": dict(os.environ),
            "python's generator": random.getstate(),
            "numpy's generator": np.random.get_state()[1].tolist(),  # noqa: NPY002
            "determinism": tf_config.is_op_determinism_enabled(),
            "devices": [d.name for d in tf.config.list_physical_devices()],
            "warnings": list(warnings.filters),
            "logging": (logging.root.level, list(logging.root.handlers), logging.getLogger("absl").level),
            "file": (file.read_bytes(), file.stat().st_mtime_ns),
            "folder": sorted(p.name for p in tmp_path.iterdir()),
            "keras": keras.__version__,
            "threads": threading.active_count(),
        }

    before = state()
    drawn = float(tf.random.uniform([]))
    tf.random.set_seed(1)
    Network.of(tiny_network(str(file), ["pool1"], size=(32, 32)), "net")
    after = state()
    assert {k: v for k, v in after.items() if v != before[k]} == {}
    assert float(tf.random.uniform([])) == drawn


def flip(path):
    """One bit of a file is another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "a part of the model is missing": lambda folder: (folder / "saved_model.pb").write_bytes(b"cut"),
    "the description is no JSON": lambda folder: (folder / "layers.json").write_text("{"),
    "there is no description": lambda folder: (folder / "layers.json").unlink(),
    "a bit of the description": lambda folder: flip(folder / "layers.json"),
    "a bit of the model": lambda folder: flip(folder / "saved_model.pb"),
    "a bit of the weights": lambda folder: flip(next(folder.glob("variables/*.data-*"))),
}


def test_a_second_run_takes_the_cache_and_a_damaged_entry_is_made_again(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    first = tiny_network(tiny_file, ["conv1_1"])
    with Conversion(first.request) as again:
        assert again.cached
        assert again.result().layers == first.layers
    for name, damage in DAMAGES.items():
        copy = shutil.copytree(first.folder, tmp_path / name)
        assert cache.read_entry(copy, first.request) is not None
        damage(copy)
        assert cache.read_entry(copy, first.request) is None, name
    flip(first.folder / "saved_model.pb")
    with Conversion(first.request) as again:
        assert not again.cached
        assert again.result().layers == first.layers
    assert [p for p in first.folder.parent.iterdir() if p.name.startswith(".making-")] == []


CALLER = """
import json, sys, time
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import request
conversion = Conversion(request(**json.loads(sys.argv[1])))
print("accepted", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("finished", [False, True])
def test_a_conversion_ends_when_the_one_that_waits_for_it_is_gone(tiny_file, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    settings = {
        "model": "vgg16-bn",
        "onnx": str(tiny_file),
        "weights": "auto",
        "layers": ["pool1"],
        "size": None,
        "pool": "max",
    }
    command = [sys.executable, "-c", CALLER, json.dumps(settings)]
    caller = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert caller.stdout is not None
    with caller:
        assert caller.stdout.readline() == "accepted\n"
        (scratch,) = (tmp_path / "converted").glob(".making-*")
        if finished:  # and nobody has taken it yet
            wait_until((scratch / "entry" / cache.DESCRIPTION).exists)
        caller.kill()
    wait_until(lambda: not scratch.exists())
    assert list((tmp_path / "converted").iterdir()) == []


def test_a_conversion_whose_caller_died_before_asking_makes_nothing(tmp_path):
    command = [sys.executable, "-m", "tfinvert.networks.conversion.work"]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_what_makes_a_network_another_makes_another_key(tiny_file):
    base = request(model="resnet18", layers=("res2",))
    assert cache.entry_folder(base) == cache.entry_folder(request(model="resnet18", layers=("res2",)))
    others = [
        dataclasses.replace(base, model="vgg16-bn"),
        dataclasses.replace(base, layers=("res3",)),
        dataclasses.replace(base, size=(64, 64)),
        dataclasses.replace(base, pool="avg"),
        dataclasses.replace(base, weights="pretrained"),
        dataclasses.replace(base, sha256="0" * 64),
        dataclasses.replace(base, preprocessing="tf"),
        dataclasses.replace(base, converter="keras"),
        dataclasses.replace(base, plain=True),
        dataclasses.replace(base, winograd=not base.winograd),
    ]
    assert len({cache.entry_folder(request) for request in (base, *others)}) == 11


def test_the_same_file_elsewhere_is_the_same_network(tiny_file, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(Path(tiny_file).read_bytes())
    first, second = request(onnx=str(copy), weights="auto"), request(onnx=str(tiny_file), weights="auto")
    assert cache.entry_folder(first) == cache.entry_folder(second)


def test_a_changed_file_is_another_network(tmp_path):
    path = tmp_path / "net.onnx"
    write_onnx(tiny_graph(seed=1), path)
    first = cache.entry_folder(request(onnx=str(path), weights="auto"))
    write_onnx(tiny_graph(seed=2), path)
    assert cache.entry_folder(request(onnx=str(path), weights="auto")) != first


def test_two_conversions_of_the_same_network_at_once(tmp_path):
    file = str(write_onnx(tiny_graph(seed=7), tmp_path / "net.onnx"))
    wanted = request(onnx=file, weights="auto", layers=("pool1",), preprocessing="none")
    with Conversion(wanted) as one, Conversion(wanted) as two:
        first, second = one.result(), two.result()
    assert first == second
    assert cache.read_entry(first.folder, wanted) == first


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_shown_on_a_terminal(tiny_file, tmp_path, monkeypatch, progress):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    tiny_request = request(onnx=str(tiny_file), weights="auto", layers=("pool1",))
    for shown in (progress, False):  # the second time the network comes from the cache
        screen.truncate(0)
        with Conversion(tiny_request, progress=progress) as conversion:
            conversion.result()
        assert ("comparing with onnxruntime" in screen.getvalue()) == shown


def test_a_conversion_that_dies_is_told_with_its_last_line(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    (tmp_path / "numpy.py").write_text("raise SystemError('no room')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match=r"converting .*tiny\.onnx failed \(exit code 1\): SystemError: no room"):
        Conversion(request(onnx=str(tiny_file), weights="auto", layers=("pool1",)))
