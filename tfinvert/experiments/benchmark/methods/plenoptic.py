"""plenoptic's Metamer by its own code: pixels from noise, Adam at a rate of 0.01, a penalty outside of [0, 1]."""

from tfinvert.experiments.benchmark.methods import TorchTask

SOURCE = "https://github.com/plenoptic-org/plenoptic, 2.1.1; 12,000 steps, without its early stop"
PACKAGES = ("plenoptic==2.1.1", "onnx")
STEPS = 12_000


def run(task: TorchTask) -> None:
    """Synthesizes a metamer of the layer; the package's own loop runs, and its optimizer tells the clock of each step."""
    import plenoptic
    import torch

    class Watched(torch.optim.Adam):
        def step(self, closure=None):
            loss = super().step(closure)
            task.clock.step(lambda: metamer.metamer.detach().numpy().transpose(0, 2, 3, 1))
            return loss

    metamer = plenoptic.Metamer(task.image, task.network)
    # What the package takes where no optimizer is named.
    metamer.setup(optimizer=Watched, optimizer_kwargs={"lr": 0.01, "amsgrad": True})
    metamer.synthesize(STEPS, stop_criterion=0)
    task.clock.take(lambda: metamer.metamer.detach().numpy().transpose(0, 2, 3, 1))
