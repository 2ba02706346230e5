import gc
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.errors import NonFiniteLossError
from tfinvert.images.parameterizations import parameterization
from tfinvert.objectives import terms
from tfinvert.optimization.optimizers import Lbfgs
from tfinvert.optimization.step import Group, Optimization

TARGET = np.random.default_rng(0).uniform(0.2, 0.8, (1, 6, 6, 3)).astype(np.float32)
START = np.full((1, 6, 6, 3), 0.5, np.float32)


def doubling():
    """A network whose one layer is twice the image."""
    image = keras.Input((6, 6, 3))
    return keras.Model(image, {"double": keras.layers.Rescaling(2.0)(image)})


def optimization(rate=0.05, pixels="free", start=START, optimizer=None, extra=(), **options):
    wanted = [terms.feature_term("double", tf.constant(2 * TARGET)), *extra]
    chosen = optimizer or keras.optimizers.Adam(rate, epsilon=1e-8)
    return Optimization(doubling(), wanted, parameterization(pixels, (6, 6)), start, chosen, **options)


def test_adam_step_by_step_against_numpy():
    """Kingma & Ba 2015, algorithm 1, with the bias correction folded into the step size as in their section 2."""
    found = optimization(rate=0.05)
    pixels, first, second = START.astype(np.float64), 0.0, 0.0
    for snapshot in found.run(5):
        np.testing.assert_allclose(snapshot.image, pixels, atol=1e-5)
        loss = np.mean((2 * pixels - 2 * TARGET) ** 2)
        assert snapshot.loss == pytest.approx(loss, rel=1e-4)
        gradient = 2 * 2 * (2 * pixels - 2 * TARGET) / TARGET.size
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        step = snapshot.step + 1
        rate = 0.05 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        pixels = pixels - rate * first / (np.sqrt(second) + 1e-8)


def test_the_image_converges_to_the_target():
    found = optimization(rate=0.02)
    snapshots = list(found.run(300, image_every=100))
    assert [s.step for s in snapshots if s.image is not None] == [0, 100, 200, 300]
    assert snapshots[-1].loss < 1e-4 < snapshots[0].loss
    np.testing.assert_allclose(found.best_image(), TARGET, atol=0.02)


def test_a_snapshot_is_the_state_before_its_update():
    snapshots = list(optimization().run(3))
    assert [s.step for s in snapshots] == [0, 1, 2, 3]
    np.testing.assert_array_equal(snapshots[0].image, START)
    for snapshot in snapshots:
        assert snapshot.loss == pytest.approx(np.mean((2 * snapshot.image - 2 * TARGET) ** 2), rel=1e-5)
        assert snapshot.terms == {"double": pytest.approx(snapshot.loss)}
        assert snapshot.learning_rate == pytest.approx(0.05)


def test_the_loss_is_the_weighted_sum_of_the_terms():
    snapshot = next(iter(optimization(extra=[terms.total_variation_term(0.5, "l2", "sum")]).run(1)))
    assert snapshot.loss == pytest.approx(snapshot.terms["double"] + 0.5 * snapshot.terms["tv"])


@pytest.mark.parametrize("pictures", [1, 3])
@pytest.mark.parametrize(
    ("weights", "loss", "extra"),
    [
        ((1.0,), "mse", ()),
        ((0.7,), "normalized", ("tv",)),
        ((0.3, 2.0), "normalized", ("tv", "falling")),
        ((0.0, 2.0), "mse", ("falling",)),
        ((2.0, 0.0), "mse", ()),
        ((), "mse", ("tv",)),
    ],
)
def test_the_gradient_is_that_of_the_loss(pictures, weights, loss, extra):
    """The difference of features takes the place of differentiating, and its factor is applied at the end."""

    def network(image, training=False):
        return {"waves": tf.sin(3 * image), "squares": image[..., :2] ** 2}

    rng = np.random.default_rng(0)
    start = rng.uniform(0.2, 0.8, (pictures, 6, 6, 3)).astype(np.float32)
    targets = network(tf.constant(TARGET))
    made = [terms.feature_term(name, targets[name], w, loss) for name, w in zip(("waves", "squares"), weights, strict=False)]
    others = {
        "tv": terms.total_variation_term(0.1, "l2", "mean"),
        "falling": terms.annealed(terms.Term("alpha", 3.0, lambda image, features: terms.alpha_norm(image)), 10, 0.01),
    }
    made += [others[name] for name in extra]
    adam = keras.optimizers.Adam(0.01, epsilon=1e-8)
    found = Optimization(network, made, parameterization("free", (6, 6)), start, adam)
    *_, snapshot = found.run(4)
    here = tf.constant(found.image())
    with tf.GradientTape() as tape:
        tape.watch(here)
        features = network(here)
        weighted = [
            (term.weight(tf.constant(4, tf.int64)) if callable(term.weight) else term.weight) * term.value(here, features)
            for term in made
        ]
        total = tf.reduce_sum(tf.add_n(weighted))
    np.testing.assert_allclose(found.gradient()[0], tape.gradient(total, here), rtol=1e-4, atol=1e-7)
    assert snapshot.loss == pytest.approx(float(total), rel=1e-5)
    other = Optimization(network, made, parameterization("free", (6, 6)), 1 - start, keras.optimizers.Adam(0.01))
    for one, point in zip((found, other), Group([found, other]).gradients(), strict=True):
        np.testing.assert_allclose(point.gradients[0], one.gradient()[0], rtol=1e-4, atol=1e-7)


def test_clip_stays_in_range_and_free_does_not():
    images = {}
    for pixels in ("free", "clip"):
        found = optimization(rate=0.4, pixels=pixels)
        images[pixels] = np.stack([s.image for s in found.run(3)])
    assert images["clip"].min() >= 0
    assert images["clip"].max() <= 1
    assert images["free"].min() < 0


def test_pictures_of_a_batch_do_not_disturb_each_other():
    other = np.random.default_rng(2).uniform(0, 1, START.shape).astype(np.float32)
    together = optimization(start=np.concatenate([START, other]))
    for _ in together.run(10):
        pass
    for index, start in enumerate((START, other)):
        alone = optimization(start=start)
        for _ in alone.run(10):
            pass
        np.testing.assert_allclose(together.image()[index], alone.image()[0], atol=1e-5)
        np.testing.assert_allclose(together.best_image()[index], alone.best_image()[0], atol=1e-5)


@pytest.mark.parametrize("pixels", ["clip", "sigmoid_pyramid", "deep_prior"])
def test_optimisations_that_step_together_are_what_they_are_alone(pixels):
    other = np.random.default_rng(2).uniform(0, 1, START.shape).astype(np.float32)
    starts, rates, targets = (START, np.concatenate([other, START])), (0.05, 0.02), (TARGET, 1 - TARGET)
    if pixels == "deep_prior":
        starts = (START, other)  # which makes one picture at a time

    def member(number):
        term = terms.feature_term("double", tf.constant(2 * targets[number]))
        adam = keras.optimizers.Adam(rates[number], epsilon=1e-8)
        made = parameterization(pixels, (6, 6), seed=number, levels=1)
        return Optimization(network, [term], made, starts[number], adam, backoff=True)

    network = doubling()
    group = Group([member(0), member(1)])
    together = list(group.run(8, image_every=4))
    assert group.step == 8
    assert len(together) == 9
    for number, one in enumerate(group.members):
        alone = member(number)
        for snapshots, snapshot in zip(together, alone.run(8, image_every=4), strict=True):
            assert snapshots[number].step == snapshot.step
            assert snapshots[number].loss == pytest.approx(snapshot.loss, rel=1e-5)
            assert snapshots[number].learning_rate == snapshot.learning_rate
            assert (snapshots[number].image is None) == (snapshot.image is None)
        np.testing.assert_allclose(one.image(), alone.image(), atol=1e-5)
        np.testing.assert_allclose(one.best_image(), alone.best_image(), atol=1e-5)
    assert np.abs(group.members[0].image() - group.members[1].image()[:1]).max() > 0.01


def test_where_the_loss_of_one_is_not_finite_the_others_go_on():
    group = Group([optimization(), optimization(optimizer=keras.optimizers.SGD(1e30)), optimization(rate=0.01)])
    found = list(group.run(12))
    assert len(found) == 13
    first = next(step for step, (_, one, _) in enumerate(found) if isinstance(one, NonFiniteLossError))
    assert 0 < first < 12
    assert all(step == one.step for step, (_, one, _) in enumerate(found[:first]))
    assert all(one.step == first for _, one, _ in found[first:])  # the error of that step, from there on
    for number, rate in ((0, 0.05), (2, 0.01)):
        alone = optimization(rate=rate)
        assert [one[number].loss for one in found] == pytest.approx([one.loss for one in alone.run(12)], rel=1e-5)
    assert np.isfinite(group.members[1].best_image()).all()


def test_a_group_ends_when_no_loss_is_finite_any_more():
    group = Group([optimization(optimizer=keras.optimizers.SGD(1e30)) for _ in range(2)])
    found = list(group.run(50))
    assert all(isinstance(one, NonFiniteLossError) for one in found[-1])
    assert len(found) == found[-1][0].step + 1 < 50


def test_lbfgs_steps_alone():
    with pytest.raises(ValueError, match="L-BFGS"):
        Group([optimization(optimizer=Lbfgs()), optimization()])


def test_the_best_image_is_kept_when_the_loss_rises_again():
    found = optimization(optimizer=keras.optimizers.SGD(2.0 * TARGET.size / 8))  # overshoots: twice the exact step
    losses = {s.step: s.loss for s in found.run(6)}
    best = min(losses, key=losses.get)
    found_loss = np.mean((2 * found.best_image() - 2 * TARGET) ** 2)
    assert found_loss == pytest.approx(losses[best], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_and_names_the_step():
    found = optimization(optimizer=keras.optimizers.SGD(1e30))
    seen = []
    with pytest.raises(NonFiniteLossError) as caught:
        seen.extend(s.step for s in found.run(50))
    assert caught.value.step == len(seen)
    assert f"at step {len(seen)}" in str(caught.value)
    assert np.isfinite(found.best_image()).all()


def test_a_restored_optimisation_goes_on_to_the_same_bytes(tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 20)
    whole = optimization(optimizer=keras.optimizers.Adam(schedule))
    for _ in whole.run(20):
        pass
    half = optimization(optimizer=keras.optimizers.Adam(schedule))
    for snapshot in half.run(20):
        if snapshot.step == 8:
            break
    assert half.step == 9  # the update after the snapshot has been made
    path = half.checkpoint.save(str(tmp_path / "state"))
    resumed = optimization(optimizer=keras.optimizers.Adam(schedule))
    resumed.checkpoint.restore(path).assert_consumed()
    steps = [s.step for s in resumed.run(20)]
    assert steps == list(range(9, 21))
    np.testing.assert_array_equal(resumed.image(), whole.image())
    np.testing.assert_array_equal(resumed.best_image(), whole.best_image())


@pytest.mark.parametrize("pixels", ["free", "clip", "sigmoid", "fourier"])
def test_lbfgs_converges_faster_than_adam(pixels):
    found = optimization(pixels=pixels, optimizer=Lbfgs(), extra=[terms.total_variation_term(1e-4, "l2", "sum")])
    snapshots = list(found.run(40, image_every=10))
    adam = list(optimization(pixels=pixels, extra=[terms.total_variation_term(1e-4, "l2", "sum")]).run(40))
    assert [s.step for s in snapshots][:3] == [0, 1, 2]
    assert [s.step for s in snapshots if s.image is not None][:2] == [0, 10]
    assert snapshots[3].loss < snapshots[2].loss < snapshots[1].loss < snapshots[0].loss
    assert snapshots[-1].loss < adam[-1].loss


def test_lbfgs_keeps_to_the_box():
    target = np.full_like(TARGET, 2.0)
    wanted = [terms.feature_term("double", tf.constant(target))]
    found = Optimization(doubling(), wanted, parameterization("clip", (6, 6)), START, Lbfgs())
    for snapshot in found.run(5):
        assert snapshot.image is None or snapshot.image.max() <= 1
    np.testing.assert_allclose(found.best_image(), 1.0, atol=1e-5)


def test_lbfgs_restored_at_a_restart_goes_on_to_the_same_bytes(tmp_path):
    rough = [terms.total_variation_term(0.01, "l1", "mean")]  # never quite converges
    whole, half, resumed = (optimization(optimizer=Lbfgs(restart=5), extra=rough) for _ in range(3))
    for _ in whole.run(12):
        pass
    for snapshot in half.run(12):
        if half.step == snapshot.step + 1:
            break
    assert half.step == 5
    resumed.checkpoint.restore(half.checkpoint.save(str(tmp_path / "state"))).assert_consumed()
    assert next(iter(resumed.run(12))).step == 5
    for _ in resumed.run(12):
        pass
    np.testing.assert_array_equal(resumed.image(), whole.image())


def test_backing_off_survives_a_rate_that_is_far_too_large():
    diverging = keras.optimizers.SGD(3.0 * TARGET.size / 8)
    with pytest.raises(NonFiniteLossError):
        list(optimization(optimizer=diverging).run(200))
    found = optimization(optimizer=keras.optimizers.SGD(3.0 * TARGET.size / 8), backoff=True)
    losses = [s.loss for s in found.run(200)]
    assert losses[1] > losses[0]
    assert losses[-1] < 1e-6
    np.testing.assert_allclose(found.best_image(), TARGET, atol=1e-3)


def test_backing_off_changes_nothing_where_the_loss_falls():
    plain, careful = optimization(rate=0.01), optimization(rate=0.01, backoff=True)
    for found in (plain, careful):
        for _ in found.run(20):
            pass
    np.testing.assert_array_equal(plain.image(), careful.image())


def test_annealed_weights_fall_and_the_best_image_is_chosen_by_the_last_ones():
    smooth = terms.annealed(terms.total_variation_term(1.0, "l2", "mean"), 10, 0.01)
    found = optimization(extra=[smooth])
    snapshots = list(found.run(10))
    for s in snapshots:
        assert s.loss == pytest.approx(s.terms["double"] + 0.01 ** (s.step / 10) * s.terms["tv"], rel=1e-4)
    lowest = min(s.terms["double"] + 0.01 * s.terms["tv"] for s in snapshots)
    assert found.best_losses()[0] == pytest.approx(lowest, rel=1e-4)


def test_the_network_sees_the_transformed_image_and_the_terms_the_image_itself():
    def brighter(image, step):
        return image + 0.1 * tf.cast(step, tf.float32)

    found = optimization(transform=brighter, extra=[terms.total_variation_term(1.0)])
    for snapshot in found.run(4):
        seen = 2 * (snapshot.image + 0.1 * snapshot.step)
        assert snapshot.terms["double"] == pytest.approx(np.mean((seen - 2 * TARGET) ** 2), rel=1e-4)
        assert snapshot.terms["tv"] == pytest.approx(float(terms.total_variation(tf.constant(snapshot.image))[0]), rel=1e-5)


@pytest.mark.parametrize("pixels", ["clip", "pyramid", "sigmoid_pyramid"])
def test_many_optimisations_in_one_process_leave_no_graphs_behind(pixels):
    """Keras' Optimizer.apply and TensorFlow's custom gradients both keep the graph that they are traced in."""

    def graphs_after_one():
        variation = terms.total_variation_term(0.1)
        list(optimization(pixels=pixels, extra=[variation], backoff=True).run(2))
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    first, second, third = (graphs_after_one() for _ in range(3))
    assert first == second == third


def test_many_optimisations_in_one_process_are_no_reason_to_warn(caplog, monkeypatch):
    """TensorFlow warns of functions that it traces often; it counts those with the same code as one."""
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    for _ in range(6):
        list(optimization(backoff=True).run(2))
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]
