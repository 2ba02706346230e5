"""The table of a network's layers."""

import pytest

import tfinvert
from tests.conftest import run_program, tiny_graph, write_onnx


@pytest.fixture
def path(tmp_path):
    return write_onnx(tiny_graph(), tmp_path / "net.onnx")


def test_the_table_of_layers(path):
    done = run_program("layers", f"--onnx={path}", "--preprocessing=none", "--pool=max")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert lines[1] == "images of 16x16, max pooling, preprocessing none"
    rows = [line.split() for line in lines[3:]]
    assert [row[:5] for row in rows[:3]] == [
        ["conv1_1", "relu1", "16x16x4", "1x1", "3x3"],
        ["pool1", "pool1", "8x8x4", "2x2", "4x4"],
        ["conv2_1", "relu2", "8x8x5", "2x2", "8x8"],
    ]
    assert rows[3][:6] == ["fc2", "fc", "6", "-", "whole", "image"]
    assert all(float(row[-1]) <= 1e-4 for row in rows)
    assert list(path.parent.iterdir()) == [path]


def test_only_the_layers_that_are_named(path):
    result = tfinvert.layers(str(path), "pool1", preprocessing="none")
    (row,) = result.rows
    assert (row.name, row.shape, row.stride, row.receptive_field) == ("pool1", (8, 8, 4), (2, 2), (4, 4))
    assert row.error <= 1e-4
    assert [line.split()[0] for line in result.summary().splitlines()[3:]] == ["pool1"]
