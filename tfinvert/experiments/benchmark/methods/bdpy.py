"""bdpy's feature inversion by its own code: pixels behind a sigmoid from noise, the target-normalized error, Adam."""

from tfinvert.experiments.benchmark.methods import TorchTask

SOURCE = "https://github.com/KamitaniLab/bdpy, 0.26: FeatureInversionTask; Adam at a rate of 0.1, which its docs leave open"
PACKAGES = ("bdpy==0.26", "onnx")
STEPS = 2000


def run(task: TorchTask) -> None:
    """Runs the package's task, whose callbacks tell the clock of each step."""
    from functools import partial

    import torch
    from bdpy.recon.torch import modules
    from bdpy.recon.torch.modules import generator, latent
    from bdpy.recon.torch.modules.encoder import BaseEncoder
    from bdpy.recon.torch.task import inversion

    class Encoder(BaseEncoder):
        def encode(self, images):
            return {"layer": task.network(images)}

    class Watcher(inversion.FeatureInversionCallback):
        def on_image_generated(self, *, step, image):
            self.image = image

        def on_iteration_end(self, *, step):
            task.clock.step(lambda: self.image.numpy().transpose(0, 2, 3, 1))

    start = partial(torch.nn.init.normal_, mean=0, std=1)
    run_task = inversion.FeatureInversionTask(
        Encoder(),
        generator.BareGenerator(activation=torch.sigmoid),
        latent.ArbitraryLatent(tuple(task.image.shape), start),
        modules.TargetNormalizedMSE(),
        modules.build_optimizer_factory(torch.optim.Adam, lr=0.1),
        num_iterations=STEPS,
        callbacks=Watcher(),
    )
    with torch.no_grad():
        target = {"layer": task.network(task.image)}
    image = run_task(target)
    task.clock.take(lambda: image.detach().numpy().transpose(0, 2, 3, 1))
