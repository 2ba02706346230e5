"""Xplique's MACO by its own code: the phases of a spectrum with ImageNet's amplitudes, Nadam at a rate of 1."""

from tfinvert.experiments.benchmark.methods import KerasTask
from tfinvert.experiments.benchmark.methods.xplique import objective

SOURCE = (
    "https://github.com/deel-ai/xplique, 2.0.2: maco, without its random crops and noise, because target features have a "
    "place; the objective is the mean squared distance of the features"
)
PACKAGES = ("xplique==2.0.2", "onnx")
KERAS = True
STEPS = 2000


def run(task: KerasTask) -> None:
    """Optimizes the objective; the package's own loop runs, and its optimizer tells the clock of each step."""
    import keras
    from xplique.features_visualizations import init_maco_buffer, maco, maco_image_parametrization

    size = tuple(task.image.shape[1:3])
    amplitudes, _ = init_maco_buffer(size)

    class Watched(keras.optimizers.Nadam):
        def apply_gradients(self, grads_and_vars):
            ((_, phase),) = pairs = list(grads_and_vars)
            super().apply_gradients(pairs)
            task.clock.step(lambda: maco_image_parametrization(amplitudes, phase, (0, 1))[None])

    image, _ = maco(
        objective(task), Watched(1.0), nb_steps=STEPS, noise_intensity=0.0, nb_crops=0, values_range=(0, 1), custom_shape=size
    )
    task.clock.take(lambda: image[None])
