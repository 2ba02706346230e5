"""The update rules of the benchmark's methods that are written here, against their formulas in NumPy and their sources."""

import numpy as np
import pytest
import tensorflow as tf

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.clock import Clock
from tfinvert.experiments.benchmark.methods import (
    Task,
    auto_long,
    auto_short,
    crowsonkb,
    deep_image_prior,
    direct_ascent,
    find,
    gatys,
    maco,
)
from tfinvert.images.files import COLOR_CORRELATION
from tfinvert.networks.load import load

SIZE = (32, 32)


@pytest.fixture(scope="module")
def network(small_file):
    return load(small_file, converter="keras")


def task_of(network, limit=None, times=()):
    """The task of inverting noise, whose features are spread over all of the image."""
    image = np.random.default_rng(1).uniform(0, 1, (1, *SIZE, 3)).astype(np.float32)
    features = network.cut(("conv1_1",))(tf.constant(image), training=False)
    return Task(network, "conv1_1", [{"conv1_1": features["conv1_1"]}], 12345, Clock(times, limit))


def error_of(network, task, images):
    reached = network.cut(("conv1_1",))(tf.constant(images), training=False)["conv1_1"].numpy()
    target = task.features[0]["conv1_1"].numpy()
    return np.sum((reached - target) ** 2) / np.sum(target**2)


@pytest.mark.parametrize("module", [gatys, maco, direct_ascent, crowsonkb])
def test_a_method_lowers_the_feature_error(module, network, monkeypatch):
    monkeypatch.setattr(module, "STEPS", 40)
    if module is crowsonkb:
        monkeypatch.setattr(module, "FIRST_STEPS", 40)
    task = task_of(network)
    module.run(task)
    first, last = (error_of(network, task, task.clock.snapshots[at].images) for at in (0, -1))
    assert last < first
    assert task.clock.snapshots[-1].images.shape == (1, *SIZE, 3)


def test_a_short_and_a_long_run_differ_in_their_steps_alone(network, monkeypatch):
    made = []
    monkeypatch.setattr(inversions, "run", lambda task, **settings: made.append(settings))
    for module in (auto_short, auto_long):
        module.run(task_of(network))
    assert made == [{"steps": 100}, {"steps": 1600}]


def test_gatys_starts_from_white_noise_and_stays_in_its_bounds(network, monkeypatch):
    monkeypatch.setattr(gatys, "STEPS", 30)
    task = task_of(network)
    gatys.run(task)
    image = task.clock.snapshots[-1].images
    assert (image.min(), image.max()) == (0.0, 1.0)


def test_the_image_of_maco_keeps_the_amplitudes_of_photographs():
    made = maco.phases(SIZE, seed=3)
    (phase,) = made.start(np.zeros((1, *SIZE, 3), np.float32))
    image = made.image([tf.constant(phase)]).numpy()[0]
    amplitude = maco.amplitudes(SIZE)
    standardized = (phase[0] - phase[0].mean()) / (phase[0].std() + 1e-4)
    colors = np.fft.irfft2(amplitude * np.exp(1j * standardized), s=SIZE)
    colors = (colors - colors.mean()) / (colors.std() + 1e-4)
    logits = np.einsum("chw,dc->hwd", colors, np.array(COLOR_CORRELATION))
    np.testing.assert_allclose(image, 1 / (1 + np.exp(-logits)), atol=2e-5)
    # A step along the gradient of the phases changes no amplitude: there are no variables for them.
    assert [variable.shape for variable in made.start(np.zeros((2, *SIZE, 3), np.float32))] == [(2, 3, 32, 17)]


def test_the_image_of_direct_ascent_is_the_hyperbolic_tangent_of_a_sum_of_resolutions():
    made = direct_ascent.resolutions(SIZE)
    start = np.random.default_rng(0).uniform(0.2, 0.8, (1, *SIZE, 3)).astype(np.float32)
    variables = made.start(start)
    assert [variable.shape[1] for variable in variables] == [1, 2, 4, 8, 16, 32]
    np.testing.assert_allclose(made.image([tf.constant(v) for v in variables]).numpy(), start, atol=1e-5)
    variables[0] += 0.3  # one pixel is all of the image
    moved = np.tanh(np.arctanh(2 * start - 1) + 0.3) / 2 + 0.5
    np.testing.assert_allclose(made.image([tf.constant(v) for v in variables]).numpy(), moved, atol=1e-5)


def test_a_step_of_crowsonkb_is_that_of_pytorchs_adam_with_clipping():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 1, (1, 4, 4, 3)).astype(np.float32)
    theirs = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Adam([theirs], lr=crowsonkb.RATE)
    ours, moments = tf.constant(start), (tf.zeros_like(start), tf.zeros_like(start))
    for count in range(1, 6):
        gradient = rng.standard_normal(start.shape).astype(np.float32)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        with torch.no_grad():
            theirs.clamp_(0, 1)
        ours, moments = crowsonkb.step(ours, gradient, moments, count)
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), atol=1e-6)


def test_the_scales_of_crowsonkb_are_those_of_its_source():
    # gen_scales(128, 512) there gives these.
    assert crowsonkb.scales(512) == [128, 181, 256, 362, 512]


def test_the_deep_image_prior_optimizes_a_generator(network, monkeypatch):
    monkeypatch.setattr(deep_image_prior, "STEPS", 15)
    monkeypatch.delenv("TF_ONEDNN_ASSUME_FROZEN_WEIGHTS", raising=False)
    task = task_of(network)
    deep_image_prior.run(task)
    images = [snapshot.images for snapshot in task.clock.snapshots]
    assert error_of(network, task, images[-1]) < error_of(network, task, images[0])
    assert find("deep_image_prior").module.WEIGHTS_CHANGE
