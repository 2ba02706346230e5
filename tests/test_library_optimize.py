"""What `tfinvert.optimize` is given: everything that does not fit is refused in one line, before anything is converted."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfinvert
from tfinvert import terms
from tfinvert.images import transforms
from tfinvert.system.errors import InputError

FAST = {"steps": 2, "save_every": 1, "progress": False}
DECAY = keras.optimizers.schedules.CosineDecay(0.1, 5)


@pytest.fixture(scope="module")
def network():
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image))
    return tfinvert.load(model, preprocessing="none")


def dark(image, features):
    return tf.reduce_mean(image, axis=[1, 2, 3])


WRONG = {
    "steps": ({"steps": 2.5}, "--steps is 2.5; expected a whole number"),
    "seed": ({"seed": "a"}, "--seed is 'a'; expected a whole number"),
    "save_every": ({"save_every": 0}, "--save_every is 0; expected a finite number at least 1"),
    "on_step": ({"on_step": 3}, "on_step is 3; expected a function of a Snapshot"),
    "init": ({"init": "gray"}, "--init is 'gray'; did you mean grey"),
    "transform": ({"transform": 3}, r"the transform is 3; expected a function \(image, step\)"),
    "parameterization": ({"parameterization": len}, "the parameterization is <built-in .*; expected a name, or a Param"),
    "two rates": (
        {"optimizer": keras.optimizers.SGD(0.1), "learning_rate": 5.0},
        "the optimizer is an object, which has its own",
    ),
    "a rate and a schedule": ({"schedule": DECAY, "learning_rate": 5.0}, "the schedule is an object, which has its own"),
    "two schedules": ({"optimizer": keras.optimizers.SGD(0.1), "schedule": DECAY}, "give the schedule to it"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_said_before_the_network_is_loaded(name):
    values, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        tfinvert.optimize("no network", dark, **values)


def test_what_is_no_term_is_shown_in_one_line(network):
    features = {"conv": np.zeros((1, 14, 14, 4))}
    with pytest.raises(InputError, match="is neither a Term nor a function") as caught:
        tfinvert.optimize(network, features, **FAST)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"the features to match are .*; expected a dictionary") as caught:
        terms.match(features["conv"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image, step: image[:, :8], r"gives float32 \[1, 8, 16, 3\]; expected float32 \[1, 16, 16, 3\]"),
        (lambda image, step: None, "gives None; expected"),
        (lambda image: image, "cannot be computed"),
        (lambda image, step: np.asarray(image), "cannot be computed: "),
    ],
    ids=["shape", "nothing", "arguments", "NumPy"],
)
def test_a_transform_that_gives_no_such_image_is_refused(transform, message):
    with pytest.raises(InputError, match=f"the transform {message}"):
        tf.function(transforms.own(transform), autograph=False).get_concrete_function(
            tf.TensorSpec((1, 16, 16, 3)), tf.TensorSpec((), tf.int64)
        )


def test_threads_run_one_after_the_other(network):
    results = []
    target = terms.match(network.features("chelsea", "conv"))
    threads = [
        threading.Thread(target=lambda: results.append(tfinvert.optimize(network, target, **FAST).losses[0])) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len(set(results)) == 1
