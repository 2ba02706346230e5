import dataclasses
import gc

import numpy as np
import pytest
import tensorflow as tf

from tests.optimization.problems import SIZE, START, TARGET, adam, alone, doubled, finished, sgd
from tfinvert.images.parameterizations import Parameterization, parameterization
from tfinvert.objectives import regularizers, terms
from tfinvert.optimization.solver import Solver
from tfinvert.optimization.state import Problem, best_losses, current_image, init
from tfinvert.system.tensorflow import autographed


def test_adam_step_by_step_against_numpy():
    """Kingma & Ba 2015, algorithm 1, with the bias correction folded into the step size as in their section 2."""
    pixels, first, second = START.astype(np.float64), 0.0, 0.0
    for (snapshot,) in alone(doubled(optimizer=adam(0.05))).run(5):
        np.testing.assert_allclose(snapshot.image, pixels, atol=1e-5)
        loss = np.mean((2 * pixels - 2 * TARGET) ** 2)
        assert snapshot.loss == pytest.approx(loss, rel=1e-4)
        gradient = 2 * 2 * (2 * pixels - 2 * TARGET) / TARGET.size
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        step = snapshot.step + 1
        rate = 0.05 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        pixels = pixels - rate * first / (np.sqrt(second) + 1e-8)


def test_the_loss_is_the_weighted_sum_of_the_terms():
    ((snapshot,), *_) = alone(doubled(extra=[terms.total_variation(0.5, "l2", "sum")])).run(1)
    assert snapshot.loss == pytest.approx(snapshot.terms["double"] + 0.5 * snapshot.terms["tv"])


def network(image, training=False):
    return {"waves": tf.sin(3 * image), "squares": image[..., :2] ** 2}


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(
    ("weights", "loss", "extra"),
    [
        ((1.0,), "mse", ()),
        ((0.7,), "normalized", ("tv",)),
        ((0.3, 2.0), "normalized", ("tv", "falling")),
        ((0.0, 2.0), "mse", ("falling",)),
        ((2.0, 0.0), "mse", ()),
        ((), "mse", ("tv",)),
        ((1.0, 1.0), "mse", ("annealed",)),
    ],
)
def test_the_gradient_is_that_of_the_loss(images, weights, loss, extra):
    """The difference of features takes the place of differentiating, and its factor is applied at the end."""
    rng = np.random.default_rng(0)
    start = rng.uniform(0.2, 0.8, (images, *SIZE, 3)).astype(np.float32)
    targets = network(tf.constant(TARGET))
    made = [
        term
        for name, weight in zip(("waves", "squares"), weights, strict=False)
        for term in terms.match({name: targets[name]}, weight, loss)
    ]
    others = {
        "tv": terms.total_variation(0.1, "l2"),
        "falling": terms.annealed(terms.alpha_norm(3.0, reduction="sum"), 10, 0.01),
    }
    made = [terms.annealed(term, 8, 0.1) for term in made] if "annealed" in extra else made
    made += [others[name] for name in extra if name in others]
    problem = Problem(network, tuple(made), parameterization("free", SIZE), adam(0.01))
    solver = alone(problem, start)
    *_, (snapshot,) = solver.run(4)
    here = tf.constant(current_image(problem, solver.states[0]))
    with tf.GradientTape() as tape:
        tape.watch(here)
        features = network(here)
        weighted = [
            (term.weight(tf.constant(4, tf.int64)) if callable(term.weight) else term.weight) * term.value(here, features)
            for term in made
        ]
        total = tf.reduce_sum(tf.add_n(weighted))
    (point,) = solver.differentiate()
    np.testing.assert_allclose(point.gradients[0], tape.gradient(total, here), rtol=1e-4, atol=1e-7)
    assert snapshot.loss == pytest.approx(float(total), rel=1e-5)
    other = alone(problem, 1 - start)
    together = Solver([problem, problem], [*solver.states, *other.states]).differentiate()
    for point, expected in zip(together, (*solver.differentiate(), *other.differentiate()), strict=True):
        np.testing.assert_allclose(point.gradients[0], expected.gradients[0], rtol=1e-4, atol=1e-7)


def test_a_weight_that_is_zero_in_some_step_disturbs_nothing():
    """The factor of the first term divides the gradients of the others."""
    (matched,) = terms.match({"waves": network(TARGET)["waves"]}, loss="mse")
    warmed = terms.Term("warm", lambda step: 0.1 * tf.cast(step, tf.float32), matched.value, squares=matched.squares)
    problem = Problem(network, (warmed, terms.total_variation(1.0, "l2")), parameterization("free", SIZE), adam())
    (point,) = alone(problem, TARGET).differentiate()
    with tf.GradientTape() as tape:
        tape.watch(image := tf.constant(TARGET))
        loss = regularizers.total_variation(image, "l2", "mean")
    np.testing.assert_allclose(point.gradients[0], tape.gradient(loss, image), atol=1e-6)


def test_what_nothing_draws_stays():
    problem = Problem(network, tuple(terms.match({"waves": TARGET}, weight=0.0)), parameterization("free", SIZE), adam())
    solver = finished(alone(problem), 2)
    np.testing.assert_array_equal(current_image(problem, solver.states[0]), START)


def test_annealed_weights_fall_and_the_best_image_is_chosen_by_the_last_ones():
    solver = alone(doubled(extra=[terms.annealed(terms.total_variation(1.0, "l2"), 10, 0.01)]))
    snapshots = [snapshot for (snapshot,) in solver.run(10)]
    for s in snapshots:
        assert s.loss == pytest.approx(s.terms["double"] + 0.01 ** (s.step / 10) * s.terms["tv"], rel=1e-4)
    lowest = min(s.terms["double"] + 0.01 * s.terms["tv"] for s in snapshots)
    assert best_losses(solver.states[0])[0] == pytest.approx(lowest, rel=1e-4)


def test_a_weight_by_step_without_a_last_one_counts_as_it_is():
    growing = terms.Term("tv", lambda step: tf.cast(step, tf.float32), terms.total_variation(1.0, "l2").value)
    solver = alone(doubled(extra=[growing]))
    snapshots = [snapshot for (snapshot,) in solver.run(6)]
    for s in snapshots:
        assert s.loss == pytest.approx(s.terms["double"] + s.step * s.terms["tv"], rel=1e-4)
    assert best_losses(solver.states[0])[0] == pytest.approx(min(s.loss for s in snapshots), rel=1e-4)


def test_the_network_sees_the_transformed_image_and_the_terms_the_image_itself():
    def brighter(image, step):
        return image + 0.1 * tf.cast(step, tf.float32)

    for (snapshot,) in alone(doubled(transform=brighter, extra=[terms.total_variation(1.0, reduction="sum")])).run(4):
        seen = 2 * (snapshot.image + 0.1 * snapshot.step)
        assert snapshot.terms["double"] == pytest.approx(np.mean((seen - 2 * TARGET) ** 2), rel=1e-4)
        variation = float(regularizers.total_variation(tf.constant(snapshot.image))[0])
        assert snapshot.terms["tv"] == pytest.approx(variation, rel=1e-5)


def test_functions_of_a_users_may_have_an_if_about_tensors():
    def brighter_from_the_second_step_on(image, step):
        if step > 0:
            image = image + 0.25
        return image

    made = Parameterization(lambda image: [image], _negative_where_dark)
    problem = doubled(transform=autographed(brighter_from_the_second_step_on), optimizer=sgd(0.0))
    problem = dataclasses.replace(problem, parameterization=made.autographed())
    first, second, *_ = (snapshot.loss for (snapshot,) in alone(problem, np.full_like(START, 0.125)).run(2))
    assert first == pytest.approx(np.mean((-0.25 - 2 * TARGET) ** 2), rel=1e-4)
    assert second == pytest.approx(np.mean((0.25 - 2 * TARGET) ** 2), rel=1e-4)


def _negative_where_dark(variables):
    if tf.reduce_mean(variables[0]) < 0.5:
        return -variables[0]
    return variables[0]


def test_clip_stays_in_range_and_free_does_not():
    images = {
        pixels: np.stack([s.image for (s,) in alone(doubled(pixels=pixels, optimizer=adam(0.4))).run(3)])
        for pixels in ("free", "clip")
    }
    assert images["clip"].min() >= 0
    assert images["clip"].max() <= 1
    assert images["free"].min() < 0


@pytest.mark.parametrize(
    "pixels", ["clip", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pyramid", "sigmoid_pyramid"))]
)
def test_many_optimizations_in_one_process_leave_no_graphs_behind(pixels):
    """Keras' Optimizer.apply and TensorFlow's custom gradients both keep the graph that they are traced in."""

    def graphs_after_one():
        finished(alone(doubled(pixels=pixels, extra=[terms.total_variation(0.1)], backoff=True)), 2)
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    first, second, third = (graphs_after_one() for _ in range(3))
    assert first == second == third


def test_images_of_a_batch_do_not_disturb_each_other():
    other = np.random.default_rng(2).uniform(0, 1, START.shape).astype(np.float32)
    problem = doubled()
    together = finished(alone(problem, np.concatenate([START, other])), 10)
    image = current_image(problem, together.states[0])
    for index, start in enumerate((START, other)):
        single = finished(alone(problem, start), 10)
        np.testing.assert_allclose(image[index], current_image(problem, single.states[0])[0], atol=1e-5)
        np.testing.assert_allclose(
            best_losses(together.states[0])[index], best_losses(single.states[0])[0], rtol=1e-4, atol=1e-7
        )


def test_a_new_state_has_no_losses_yet():
    problem = doubled()
    (point,) = Solver([problem], [init(problem, START)]).differentiate()
    assert float(point.losses[0]) == pytest.approx(np.mean((2 * START - 2 * TARGET) ** 2), rel=1e-5)
