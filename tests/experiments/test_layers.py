from tests.conftest import tfinvert, tiny_graph, write_onnx


def test_the_table_of_layers(tmp_path):
    path = write_onnx(tiny_graph(), tmp_path / "net.onnx")
    done = tfinvert("--experiment=layers", f"--onnx={path}", "--preprocessing=none", "--pool=max")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[3:]]
    assert [row[:5] for row in rows[:3]] == [
        ["conv1_1", "relu1", "16x16x4", "1x1", "3x3"],
        ["pool1", "pool1", "8x8x4", "2x2", "4x4"],
        ["conv2_1", "relu2", "8x8x5", "2x2", "8x8"],
    ]
    assert rows[3][:6] == ["fc2", "fc", "6", "-", "whole", "picture"]
    assert all(float(row[-1]) <= 1e-4 for row in rows)
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_layers_that_are_asked_for(tmp_path):
    path = write_onnx(tiny_graph(), tmp_path / "net.onnx")
    done = tfinvert("--experiment=layers", f"--onnx={path}", "--layers=pool1", "--preprocessing=none")
    assert [line.split()[0] for line in done.stdout.splitlines()[3:]] == ["pool1"]
