"""Horama's Fourier image by its own code: a standardized spectrum in decorrelated colors, NAdam at a rate of 1."""

from tfinvert.experiments.benchmark.methods import TorchTask

SOURCE = (
    "https://github.com/serre-lab/Horama, 0.3.0: fourier, without its random crops and noise, because target features have a "
    "place; the objective is the mean squared distance of the features"
)
PACKAGES = ("horama==0.3.0", "onnx")
STEPS, DECAY = 1000, 1.5


def run(task: TorchTask) -> None:
    """Makes the package's image from its spectrum; the loop is the package's, without the crops."""
    import torch
    from horama import fourier_fv

    height, width = task.image.shape[2:]
    spectrum = fourier_fv.init_lucid_buffer(height, width).requires_grad_()
    scale = fourier_fv.get_fft_scale(width, height, DECAY)
    optimizer = torch.optim.NAdam([spectrum], lr=1.0)

    def image():
        return fourier_fv.fourier_preconditionner(spectrum, scale, (0, 1), spectrum.device)[None]

    def show():
        with torch.no_grad():
            return image().numpy().transpose(0, 2, 3, 1)

    with torch.no_grad():
        target = task.network(task.image)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(task.network(image()), target).backward()
        optimizer.step()
        task.clock.step(show)
    task.clock.take(show)
