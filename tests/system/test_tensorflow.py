"""What is made of TensorFlow's errors."""

import contextlib
import gc
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT, messages, run_program
from tfinvert.system.errors import InputError
from tfinvert.system.tensorflow import explain_errors, without_collection


def fail_with(message):
    raise tf.errors.InvalidArgumentError(None, None, message)


def test_missing_gradients_of_grouped_convolutions_are_explained():
    with pytest.raises(InputError, match="set the environment variable TF_ENABLE_ONEDNN_OPTS=1"), explain_errors():
        fail_with("Gradients for grouped convolutions are not supported on CPU. Please file a feature request")


def test_other_errors_stay_as_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError, match="another"), explain_errors():
        fail_with("another error")


@pytest.mark.skipif(os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "1", reason="oneDNN is off here")
def test_convolutions_in_groups_have_gradients_on_every_processor():
    image, kernel = tf.ones([1, 4, 4, 4]), tf.ones([1, 1, 2, 4])
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = tf.reduce_sum(tf.function(lambda value: tf.nn.conv2d(value, kernel, 1, "SAME"))(image))
    np.testing.assert_array_equal(tape.gradient(loss, image), np.full((1, 4, 4, 4), 2))


@pytest.mark.parametrize("own", ["0", "1"])
def test_what_the_user_says_about_onednn_holds(own):
    code = "import os, tfinvert; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": own}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == own


@pytest.mark.slow
def test_a_run_without_them_ends_with_one_line(tmp_path):
    flags = ("--model=alexnet", "--weights=random", "--layers=conv2", "--size=64", "--steps=2", f"--output_dir={tmp_path}")
    done = run_program(*flags, TF_ENABLE_ONEDNN_OPTS="0")
    assert (done.returncode, len(messages(done))) == (2, 1), done.stderr
    assert "TF_ENABLE_ONEDNN_OPTS=1" in done.stderr


@pytest.mark.slow
def test_without_drawing_keras_does_without_the_packages_that_it_draws_with():
    code = """
import sys
from tfinvert.system.tensorflow import import_tensorflow
import_tensorflow(drawing=False)
assert "keras" in sys.modules and not {"matplotlib", "cv2"} & set(sys.modules)
import matplotlib.pyplot
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_again_after_an_import(collects):
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        with contextlib.suppress(ImportError), without_collection():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()
