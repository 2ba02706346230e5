import numpy as np
import pytest

from tests.optimization.problems import TARGET, alone, doubled, finished
from tfinvert.objectives import terms
from tfinvert.optimization.optimizers import Lbfgs
from tfinvert.optimization.state import best_image, checkpoint, current_image


@pytest.mark.parametrize("pixels", ["free", "clip", "sigmoid", "fourier"])
def test_it_converges_faster_than_adam(pixels):
    smooth = [terms.total_variation(1e-4, "l2", "sum")]
    snapshots = [s for (s,) in alone(doubled(pixels=pixels, optimizer=Lbfgs(), extra=smooth)).run(40, image_every=10)]
    adam = [s for (s,) in alone(doubled(pixels=pixels, extra=smooth)).run(40)]
    assert [s.step for s in snapshots][:3] == [0, 1, 2]
    assert [s.step for s in snapshots if s.image is not None][:2] == [0, 10]
    assert snapshots[3].loss < snapshots[2].loss < snapshots[1].loss < snapshots[0].loss
    assert snapshots[-1].loss < adam[-1].loss


def test_it_keeps_to_the_box():
    problem = doubled(np.full_like(TARGET, 2.0), "clip", Lbfgs())
    solver = alone(problem)
    for (snapshot,) in solver.run(5):
        assert snapshot.image is None or snapshot.image.max() <= 1
    np.testing.assert_allclose(best_image(problem, solver.states[0]), 1.0, atol=1e-5)


def test_restored_at_a_restart_it_continues_to_the_same_bytes(tmp_path):
    problem = doubled(optimizer=Lbfgs(restart=5), extra=[terms.total_variation(0.01)])  # it never quite converges
    whole, half, resumed = (alone(problem) for _ in range(3))
    finished(whole, 12)
    for (snapshot,) in half.run(12):
        if half.step == snapshot.step + 1:
            break
    assert half.step == 5
    path = checkpoint(half.states[0]).save(str(tmp_path / "state"))
    checkpoint(resumed.states[0]).restore(path).assert_consumed()
    assert next(iter(resumed.run(12)))[0].step == 5
    finished(resumed, 12)
    np.testing.assert_array_equal(*(current_image(problem, solver.states[0]) for solver in (resumed, whole)))
