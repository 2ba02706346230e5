import functools
import gc

import numpy as np
import pytest
import tensorflow as tf

from tfinvert.objectives import terms
from tfinvert.objectives.own_terms import as_term, as_terms
from tfinvert.system.errors import InputError

SHAPES = {"conv": (4, 4, 3), "fc": (10,)}
IMAGE = (2, 8, 8, 3)


def sharpness(image, features):
    return -tf.math.reduce_std(image, axis=[1, 2, 3])


def mean_of(image, features, layer):
    return tf.reduce_mean(features[layer], axis=list(range(1, features[layer].shape.rank)))


class Channel:
    def __call__(self, image, features):
        if tf.reduce_max(features["conv"]) > 0:  # by the value: AutoGraph, as in the step
            return features["conv"][:, 0, 0, 0]
        return features["fc"][:, 0]


def test_functions_terms_and_lists_become_terms():
    made = as_terms([terms.match({"fc": np.ones((1, 10))}), terms.total_variation(0.1), (sharpness, Channel())], SHAPES, IMAGE)
    assert [(term.name, term.weight, term.layers) for term in made] == [
        ("fc", 1.0, ("fc",)),
        ("tv", 0.1, ()),
        ("sharpness", 1.0, ()),
        ("Channel", 1.0, ("conv", "fc")),
    ]
    image = np.random.default_rng(0).uniform(size=IMAGE).astype(np.float32)
    np.testing.assert_allclose(made[2].value(image, {}), -image.std(axis=(1, 2, 3)), rtol=1e-5)
    assert [term.name for term in as_terms(sharpness, SHAPES, IMAGE)] == ["sharpness"]


def test_names_are_unique_and_none_is_that_of_another_column():
    def loss(image, features):
        return mean_of(image, features, "fc")

    nameless = [lambda image, features: mean_of(image, features, "fc"), functools.partial(mean_of, layer="conv")]
    made = as_terms([loss, loss, *nameless, terms.total_variation(1), terms.total_variation(2, "l2")], SHAPES, IMAGE)
    assert [term.name for term in made] == ["loss_2", "loss_3", "term", "partial", "tv", "tv_2"]


def test_a_function_may_use_tensors_and_variables_of_its_own():
    weights, offset = tf.constant(np.ones(1000, np.float32)), tf.Variable(np.ones(10, np.float32))
    term = as_term(lambda i, f: tf.reduce_sum(f["fc"] * offset, axis=1) + tf.reduce_sum(weights), SHAPES, IMAGE)
    np.testing.assert_allclose(term.value(None, {"fc": tf.ones([2, 10])}), [1010, 1010])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda i, f: f["convolution"], "unknown layer in term 'term': 'convolution'; expected one of: conv, fc"),
        (lambda i, f: tf.reduce_mean(f["fc"]), r"gives float32 \[\]; expected float32 \[2\]"),
        (lambda i, f: f["fc"], r"gives float32 \[2, 10\]; expected"),
        (lambda i, f: tf.cast(f["fc"][:, 0], tf.int32), r"gives int32 \[2\]; expected"),
        (lambda i, f: 1.0, "gives 1.0; expected a tensor"),
        (lambda i, f: None, "gives None; expected a tensor"),
        (lambda i, f: f["fc"] - f["conv"], "term 'term' cannot be computed: .*shape"),
        (lambda i, f: i.nothing, "cannot be computed: .*nothing"),
        (lambda i: i, "cannot be computed: .*argument"),
        (terms.Term("mine", 2.0, lambda i, f: f["fc"]), "term 'mine' gives"),
        (terms.match({"fc": np.ones((1, 11))})[0], "term 'fc' cannot be computed: .*expected the same"),
        (terms.score("fc", 10), "term 'score' cannot be computed: .*beyond 'fc'"),
        ("tv", "'tv' is neither a Term nor a function"),
        ([], "there are no terms"),
    ],
)
def test_what_gives_no_number_for_each_image_is_refused(function, message):
    with pytest.raises(InputError, match=message) as caught:
        as_terms(function, SHAPES, IMAGE)
    assert "\n" not in str(caught.value)


def test_a_check_leaves_no_graph_behind():
    def graphs():
        as_terms([sharpness, Channel(), terms.total_variation(1.0)], SHAPES, IMAGE)
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    assert graphs() == graphs()
