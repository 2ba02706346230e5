import gc
import logging

import numpy as np
import pytest
import tensorflow as tf

from tests.optimization.problems import EXACT_RATE, START, TARGET, adam, alone, doubled, doubling, finished, sgd
from tfinvert.objectives import terms
from tfinvert.optimization.optimizers import Lbfgs
from tfinvert.optimization.solver import Solver, run_alone
from tfinvert.optimization.state import best_image, current_image, init, reset
from tfinvert.system.errors import NonFiniteLossError

OTHER = np.random.default_rng(2).uniform(0, 1, START.shape).astype(np.float32)


def images(solver):
    return [current_image(*pair) for pair in zip(solver.problems, solver.states, strict=True)]


def best_images(solver):
    return [best_image(*pair) for pair in zip(solver.problems, solver.states, strict=True)]


def test_the_image_converges_to_the_target():
    solver = alone(doubled(optimizer=adam(0.02)))
    snapshots = [snapshot for (snapshot,) in solver.run(300, image_every=100)]
    assert [s.step for s in snapshots if s.image is not None] == [0, 100, 200, 300]
    assert snapshots[-1].loss < 1e-4 < snapshots[0].loss
    np.testing.assert_allclose(best_images(solver)[0], TARGET, atol=0.02)


def test_a_snapshot_is_the_state_before_its_update():
    snapshots = [snapshot for (snapshot,) in alone(doubled()).run(3)]
    assert [s.step for s in snapshots] == [0, 1, 2, 3]
    np.testing.assert_array_equal(snapshots[0].image, START)
    for snapshot in snapshots:
        assert snapshot.loss == pytest.approx(np.mean((2 * snapshot.image - 2 * TARGET) ** 2), rel=1e-5)
        assert snapshot.terms == {"double": pytest.approx(snapshot.loss)}
        assert snapshot.learning_rate == pytest.approx(0.05)


@pytest.mark.parametrize("pixels", ["clip", "sigmoid_pyramid", pytest.param("deep_prior", marks=pytest.mark.slow)])
def test_problems_that_step_together_are_what_they_are_alone(pixels):
    starts, rates, targets = (START, np.concatenate([OTHER, START])), (0.05, 0.02), (TARGET, 1 - TARGET)
    if pixels == "deep_prior":
        starts = (START, OTHER)  # it makes one image at a time
    network = doubling()
    problems = [
        doubled(targets[number], pixels, adam(rates[number]), model=network, seed=number, backoff=True) for number in range(2)
    ]
    group = Solver(problems, [init(*pair) for pair in zip(problems, starts, strict=True)])
    together = list(group.run(8, image_every=4))
    assert group.step == 8
    assert len(together) == 9
    for number, problem in enumerate(problems):
        single = alone(problem, starts[number])
        for snapshots, (snapshot,) in zip(together, single.run(8, image_every=4), strict=True):
            assert snapshots[number].step == snapshot.step
            assert snapshots[number].loss == pytest.approx(snapshot.loss, rel=1e-5)
            assert snapshots[number].learning_rate == snapshot.learning_rate
            assert (snapshots[number].image is None) == (snapshot.image is None)
        np.testing.assert_allclose(images(group)[number], images(single)[0], atol=1e-5)
        np.testing.assert_allclose(best_images(group)[number], best_images(single)[0], atol=1e-5)
    assert np.abs(images(group)[0] - images(group)[1][:1]).max() > 0.01


def test_where_the_loss_of_one_is_not_finite_the_others_continue():
    problems = [doubled(), doubled(optimizer=sgd(1e30)), doubled(optimizer=adam(0.01))]
    group = Solver(problems, [init(problem, START) for problem in problems])
    reached = list(group.run(12))
    assert len(reached) == 13
    first = next(step for step, (_, wild, _) in enumerate(reached) if isinstance(wild, NonFiniteLossError))
    assert 0 < first < 12
    assert all(step == wild.step for step, (_, wild, _) in enumerate(reached[:first]))
    assert all(wild.step == first for _, wild, _ in reached[first:])  # the error of that step, from there on
    for number in (0, 2):
        expected = [snapshot.loss for (snapshot,) in alone(problems[number]).run(12)]
        assert [snapshots[number].loss for snapshots in reached] == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(best_images(group)[1]).all()


def test_it_ends_when_no_loss_is_finite_any_more():
    problem = doubled(optimizer=sgd(1e30))
    reached = list(Solver([problem] * 2, [init(problem, START) for _ in range(2)]).run(50))
    assert all(isinstance(result, NonFiniteLossError) for result in reached[-1])
    assert len(reached) == reached[-1][0].step + 1 < 50


def test_lbfgs_steps_alone():
    problems = [doubled(optimizer=Lbfgs()), doubled()]
    with pytest.raises(ValueError, match="L-BFGS"):
        Solver(problems, [init(problem, START) for problem in problems])


def test_the_best_image_is_kept_when_the_loss_rises_again():
    solver = alone(doubled(optimizer=sgd(2.0 * EXACT_RATE)))
    losses = {s.step: s.loss for (s,) in solver.run(6)}
    loss = np.mean((2 * best_images(solver)[0] - 2 * TARGET) ** 2)
    assert loss == pytest.approx(min(losses.values()), rel=1e-4)


@pytest.mark.parametrize(
    ("step", "advice"), [(0, "look for NaN in the weights of the network"), (3, "a smaller --learning_rate")]
)
def test_a_loss_that_is_not_finite_at_first_is_no_matter_of_the_learning_rate(step, advice):
    assert advice in str(NonFiniteLossError(step, float("nan")))
    assert ("learning_rate" in str(NonFiniteLossError(step, float("nan")))) == (step > 0)


def test_a_loss_that_is_not_finite_stops_and_names_the_step():
    problem = doubled(optimizer=sgd(1e30))
    state, seen = init(problem, START), []
    with pytest.raises(NonFiniteLossError) as caught:
        seen.extend(s.step for s in run_alone(problem, state, 50))
    assert caught.value.step == len(seen)
    assert f"at step {len(seen)}" in str(caught.value)
    assert np.isfinite(best_image(problem, state)).all()


@pytest.mark.parametrize("optimizer", [adam(), Lbfgs()], ids=["adam", "lbfgs"])
def test_a_solver_is_used_again_for_other_targets_and_starts_without_tracing(optimizer):
    traced = []

    def model(image, training=False):
        if tf.inside_function():
            traced.append(image.shape)
        return {"double": 2 * image}

    problem = doubled(optimizer=optimizer, model=model, extra=[terms.total_variation(0.01)])
    solver = finished(alone(problem), 5)
    once = len(traced)
    for target, start in ((1 - TARGET, OTHER), (TARGET, START)):
        terms.retarget(problem.terms, {"double": 2 * target})
        reset(problem, solver.states[0], start)
        finished(solver, 5)
        fresh = finished(alone(doubled(target, optimizer=optimizer, extra=[terms.total_variation(0.01)]), start), 5)
        np.testing.assert_array_equal(images(solver)[0], images(fresh)[0])
        np.testing.assert_array_equal(best_images(solver)[0], best_images(fresh)[0])
    assert len(traced) == once > 0


def test_a_solver_that_is_used_again_holds_no_more_than_before():
    problem = doubled(pixels="sigmoid_pyramid", backoff=True)
    solver = alone(problem)

    def held():
        terms.retarget(problem.terms, {"double": TARGET})
        reset(problem, solver.states[0], START)
        finished(solver, 2)
        gc.collect()
        names = [type(thing).__name__ for thing in gc.get_objects()]
        return {name: names.count(name) for name in ("FuncGraph", "ResourceVariable", "EagerTensor", "ConcreteFunction")}

    held()
    first, second, third = (held() for _ in range(3))
    assert first == second == third


def test_many_solvers_in_one_process_are_no_reason_to_warn(caplog, monkeypatch):
    """TensorFlow warns of functions that it traces often; it counts those with the same code as one."""
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    for _ in range(6):
        finished(alone(doubled(backoff=True)), 2)
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]
