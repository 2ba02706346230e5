"""torch-lucent by its own code: a Fourier spectrum in decorrelated colors, Adam at a rate of 0.05, its standard transforms."""

from tfinvert.experiments.benchmark.methods import TorchTask

SOURCE = "https://github.com/greentfrapp/lucent, 0.1.8; the objective is the mean squared distance of the features"
PACKAGES = ("torch-lucent==0.1.8", "onnx")
STEPS = 5000


def run(task: TorchTask) -> None:
    """Renders the objective; the package's own loop runs, and its optimizer tells the clock of each step."""
    import torch
    from lucent.optvis import param, render

    height, width = task.image.shape[2:]
    parameters, image_of = param.image(width, h=height)

    class Watched(torch.optim.Adam):
        def step(self, closure=None):
            loss = super().step(closure)
            task.clock.step(show)
            return loss

    def show():
        with torch.no_grad():
            return image_of().numpy().transpose(0, 2, 3, 1)

    class Model(torch.nn.Module):
        """The package reads features by hooks, so that the layer is a module of its own."""

        def __init__(self):
            super().__init__()
            self.layer = task.network

        def forward(self, image):
            return self.layer(torch.nn.functional.interpolate(image, (height, width), mode="bilinear"))

    with torch.no_grad():
        target = task.network(task.image)
    render.render_vis(
        Model().eval(),
        lambda features: torch.nn.functional.mse_loss(features("layer"), target),
        lambda: (parameters, image_of),
        optimizer=lambda values: Watched(values, lr=5e-2),
        thresholds=(STEPS,),
        preprocess=False,  # it is in the network
        show_image=False,
        progress=False,
    )
    task.clock.take(show)
