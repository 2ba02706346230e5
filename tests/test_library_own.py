"""Experiments and terms of the user's own, in files of their own."""

import numpy as np
import pytest

import tfinvert
from tests.conftest import run_program
from tfinvert.system.errors import InputError

EXPERIMENT = '''"""Average an image's features over its width."""

import dataclasses
from typing import ClassVar

from tfinvert.runs.result import Result
from tfinvert.settings import ImageSettings, NetworkSettings, RunSettings, define, setting


@define
class Settings(RunSettings, ImageSettings, NetworkSettings):
    """The average"""

    positional: ClassVar[tuple[str, ...]] = ("image", "network")
    layers: tuple[str, ...] = setting(default=("pool1",), doc="The layer.")
    factor: float = setting(default=1.0, doc="A factor.", above=0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MeanResult(Result):
    mean: float


def run(settings, network, images):
    features = network.features(images, settings.layers)[settings.layers[0]]
    return MeanResult(images=images, mean=settings.factor * float(features.numpy().mean()))
'''
TERMS = """import tensorflow as tf


def darkness(image, features):
    return tf.reduce_mean(image, axis=[1, 2, 3])


def wrong(image, features):
    return tf.reduce_mean(image)
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(EXPERIMENT)
    return tmp_path / "mine.py"


@pytest.fixture
def my_terms(tmp_path):
    (tmp_path / "my_terms.py").write_text(TERMS)
    return tmp_path / "my_terms.py"


def test_an_own_experiment_is_a_function(mine, small_file):
    average = tfinvert.experiment(str(mine))
    assert average.__name__ == "mine"
    assert "factor: A factor. (default: 1.0)" in average.__doc__
    result = average("astronaut", small_file, factor=2, preprocessing="none")
    assert result.mean == pytest.approx(2 * average("astronaut", small_file, preprocessing="none").mean)
    assert repr(result) == "MeanResult(32x32)"
    with pytest.raises(InputError, match=r"--factor is 0\.0; expected a finite number above 0"):
        average("astronaut", small_file, factor=0)


def test_an_own_experiment_is_a_command(mine, small_file, tmp_path):
    flags = (f"--experiment={mine}", f"--onnx={small_file}", "--preprocessing=none", f"--output_dir={tmp_path / 'run'}")
    done = run_program(*flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mean 0.")
    assert (tmp_path / "run" / "final.png").exists()
    assert f"--experiment={mine}\n" in (tmp_path / "run" / "run.flags").read_text()
    assert "  --factor  A factor." in run_program(f"--experiment={mine}", "--help").stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "is no experiment; expected a class Settings and a function run"),
        ("import nonsense\n", "cannot be imported: ModuleNotFoundError"),
        (None, "there is no Python file"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(text, message, tmp_path):
    if text is not None:
        (tmp_path / "wrong.py").write_text(text)
    with pytest.raises(InputError, match=message):
        tfinvert.experiment(str(tmp_path / "wrong.py"))


def test_an_own_term_is_named_by_its_file(my_terms, small_file):
    values = {"preprocessing": "none", "steps": 20, "progress": False}
    plain = tfinvert.invert("astronaut", small_file, "conv2_1", **values)
    dark = tfinvert.invert("astronaut", small_file, "conv2_1", term=f"{my_terms}:darkness", term_weights=10, **values)
    assert np.mean(dark.image) < np.mean(plain.image)
    assert dark.history[-1]["darkness"] == pytest.approx(np.mean(dark.image), abs=0.02)
    with pytest.raises(InputError, match=r"term 'wrong' gives float32 \[\]; expected float32 \[1\]"):
        tfinvert.invert("astronaut", small_file, "conv2_1", term=f"{my_terms}:wrong", **values)
