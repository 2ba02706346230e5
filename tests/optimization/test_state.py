import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimization.problems import START, adam, alone, doubled, finished
from tfinvert.optimization import state as states
from tfinvert.optimization.optimizers import Adam, Lbfgs
from tfinvert.optimization.solver import Solver

OTHER = np.random.default_rng(2).uniform(0, 1, START.shape).astype(np.float32)


def test_a_new_state_is_at_its_start():
    problem = doubled(pixels="sigmoid_pyramid", backoff=True)
    state = states.init(problem, np.concatenate([START, OTHER]))
    np.testing.assert_allclose(states.current_image(problem, state), [START[0], OTHER[0]], atol=1e-5)
    np.testing.assert_array_equal(states.best_image(problem, state), states.current_image(problem, state))
    np.testing.assert_array_equal(states.best_losses(state), [np.inf, np.inf])
    np.testing.assert_array_equal(state.scale, [1, 1])
    assert int(state.step) == 0


def test_a_state_has_an_optimizer_of_its_own():
    problem = doubled()
    one, other = states.init(problem, START), states.init(problem, START)
    assert one.optimizer is not other.optimizer
    assert states.init(doubled(optimizer=Lbfgs()), START).optimizer is None


@pytest.mark.parametrize(
    "optimizer",
    [adam(), functools.partial(keras.optimizers.Adagrad, 0.1, initial_accumulator_value=0.3), Lbfgs()],
    ids=["adam", "adagrad", "lbfgs"],
)
def test_a_state_that_is_reset_goes_the_same_way_again(optimizer):
    solver = alone(doubled(pixels="clip", optimizer=optimizer, backoff=not isinstance(optimizer, Lbfgs)))
    (problem,), (state,) = solver.problems, solver.states
    first = [snapshot.loss for (snapshot,) in solver.run(6)]
    image, best = states.current_image(problem, state), states.best_image(problem, state)
    states.reset(problem, state, OTHER)
    np.testing.assert_array_equal(states.current_image(problem, state), OTHER)
    np.testing.assert_array_equal(states.best_losses(state), [np.inf])
    assert [snapshot.loss for (snapshot,) in solver.run(6)] != first
    states.reset(problem, state, START)
    assert [snapshot.loss for (snapshot,) in solver.run(6)] == first
    np.testing.assert_array_equal(states.current_image(problem, state), image)
    np.testing.assert_array_equal(states.best_image(problem, state), best)


def test_where_losses_are_no_longer_comparable_the_next_image_is_the_best():
    solver = finished(alone(doubled()), 3)
    (state,) = solver.states
    lowest = states.best_losses(state)
    states.forget_best(state)
    np.testing.assert_array_equal(states.best_losses(state), [np.inf])
    finished(solver, 4)
    assert states.best_losses(state) < lowest


def test_a_restored_state_continues_to_the_same_bytes(tmp_path):
    cosine = keras.optimizers.schedules.CosineDecay(0.05, 20)
    problem = doubled(optimizer=adam(cosine))
    whole, half, resumed = alone(problem), alone(problem), alone(problem)
    finished(whole, 20)
    for (snapshot,) in half.run(20):
        if snapshot.step == 8:
            break
    assert half.step == 9  # the update after the snapshot has been made
    path = states.checkpoint(half.states[0]).save(str(tmp_path / "state"))
    states.checkpoint(resumed.states[0]).restore(path).assert_consumed()
    assert [snapshot.step for (snapshot,) in resumed.run(20)] == list(range(9, 21))
    for image in (states.current_image, states.best_image):
        np.testing.assert_array_equal(image(problem, resumed.states[0]), image(problem, whole.states[0]))


def test_the_keys_of_a_checkpoint_are_those_of_version_0_1(tmp_path):
    problem = doubled(pixels="sigmoid_pyramid", optimizer=functools.partial(Adam, 0.1), backoff=True)
    path = states.checkpoint(states.init(problem, START)).save(str(tmp_path / "state"))
    keys = {name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for name, _ in tf.train.list_variables(path)}
    slots = {f"optimizer/_variables/{number}" for number in range(2, 6)}
    assert keys == {
        *("variables/0", "variables/1", "best/0", "best/1", "best_losses", "step", "scale"),
        *("optimizer/_iterations", "optimizer/_learning_rate", *slots, "save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH"),
    }
    without = states.checkpoint(states.init(doubled(optimizer=Lbfgs()), START)).save(str(tmp_path / "other"))
    assert not [name for name, _ in tf.train.list_variables(without) if name.startswith(("optimizer", "scale"))]


def test_a_state_that_is_reset_to_an_image_of_another_shape_says_so():
    problem = doubled()
    state = states.init(problem, START)
    with pytest.raises(ValueError, match="shape"):
        states.reset(problem, state, np.concatenate([START, OTHER]))
    assert Solver([problem], [state]).step == 0
