"""GPUs, as environment variables name them."""

import pytest

from tfinvert.system import gpus


@pytest.mark.parametrize(
    ("variable", "names"),
    [("0,2", ["0", "2"]), (" GPU-5 ,1", [" GPU-5 ", "1"]), ("", []), ("-1", []), ("1,-1", ["1"])],
)
def test_gpus_are_those_that_the_process_may_use(variable, names, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert gpus.of_nvidia() == names


def test_a_driver_says_that_a_gpu_may_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "DRIVERS", (str(tmp_path / "driver"),))
    assert not gpus.may_be_there()
    (tmp_path / "driver").touch()
    assert gpus.may_be_there()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not gpus.may_be_there()
