"""Xplique's Fourier image by its own code: a spectrum in decorrelated colors behind a sigmoid, Adam at a rate of 0.05."""

from tfinvert.experiments.benchmark.methods import KerasTask

SOURCE = (
    "https://github.com/deel-ai/xplique, 2.0.2: optimize, without its random transformations, because target features have a "
    "place; the objective is the mean squared distance of the features"
)
PACKAGES = ("xplique==2.0.2", "onnx")
KERAS = True
STEPS, SPREAD, DECAY = 2000, 0.01, 0.85  # the last two are what the package takes where nothing is said


def run(task: KerasTask) -> None:
    """Optimizes the objective; the package's own loop runs, and its optimizer tells the clock of each step."""
    import keras
    from xplique.features_visualizations import optim

    shape = tuple(task.image.shape)
    scale = optim.get_fft_scale(*shape[1:3], decay_power=DECAY)

    class Watched(keras.optimizers.Adam):
        def apply_gradients(self, grads_and_vars):
            ((_, spectrum),) = pairs = list(grads_and_vars)
            super().apply_gradients(pairs)
            task.clock.step(lambda: optim.to_valid_rgb(optim.fft_to_rgb(shape, spectrum, scale), "sigmoid", (0, 1)))

    images, _ = optim.optimize(
        objective(task),
        Watched(0.05),
        nb_steps=STEPS,
        fft_decay=DECAY,
        std=SPREAD,
        transformations=None,
        custom_shape=None,
    )
    task.clock.take(lambda: images[-1])


def objective(task: KerasTask):
    """The package's objective: the negative mean squared distance of the features to the target's."""
    import keras
    import tensorflow as tf
    from xplique.features_visualizations import Objective

    target = task.network(task.image)

    def nearness(features, mask):
        return -tf.reduce_mean((features - target) ** 2)

    model: keras.Model = task.network
    return Objective(model, [model.outputs[0]], [[[1.0]]], [nearness], [1.0], ["features"])
