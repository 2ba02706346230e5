"""A few of the soak's hostile files and bad days of a server; and that the watch sees what it is there for."""

import importlib.util
import random

import pytest

from tests.soak import checkpoints, downloads, draws, flag_files, hostile, image_files, onnx_files, run_directories, wrong
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.conversion.request_graph import cut_graph
from tfinvert.networks.onnx import shapes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris, for Linux on x86_64"),
]


def test_onnx_files():
    hostile.tried("onnx_files", 100).row("")


def test_whole_onnx_files_are_read(tmp_path):
    """What mutations start from, or refusing all of them would pass."""
    for number, data in enumerate(dict.fromkeys(onnx_files.sources())):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(data)
        request = Request(None, str(path), "0" * 64, "pretrained", (), None, "avg", "torch")
        part, layers = cut_graph(request)
        assert shapes(part).keys() >= set(layers.values())


def test_runs_of_onnx_files():
    onnx_files.whole(1)


def test_image_files():
    assert image_files.soak(200 / image_files.CASES)


def test_flag_files():
    assert flag_files.soak(60 / flag_files.CASES)


def test_run_directories():
    assert run_directories.soak(8 / run_directories.CASES)


def test_checkpoints():
    assert checkpoints.soak(30 / checkpoints.CASES)


def test_downloads():
    assert downloads.soak(0.01)


def test_draws_are_the_bytes_that_are_given_and_then_random():
    data = random.Random(1).randbytes(20)
    whole, changed = draws.Drawn(data), draws.Drawn(bytes(2) + data[2:])
    assert whole.random() == int.from_bytes(data[:2], "little") / 2**16
    assert changed.random() == 0.0
    assert [whole.getrandbits(8) for _ in range(18)] == [changed.getrandbits(8) for _ in range(18)] == list(data[2:])
    assert whole.randbytes(100) == draws.Drawn(data).randbytes(100) != changed.randbytes(100)


def test_changed_draws_begin_to_differ_where_the_case_was_made():
    data, rng = random.Random(1).randbytes(128), random.Random(0)
    firsts = []
    for _ in range(200):
        other = draws.changed(data, 10, rng)
        assert len(other) == 128
        firsts += [place for place in range(128) if other[place] != data[place]][:1]
    assert set(firsts) == set(range(10))


@pytest.mark.parametrize("name", wrong.WRONG | wrong.RIGHT)
def test_the_watch_sees_what_must_not_happen(name, monkeypatch):
    monkeypatch.setenv("TFINVERT_WRONG", name)
    tally = hostile.tried("wrong", 1)
    assert bool(tally.failures) == (name in wrong.WRONG), tally
