"""Run directories as finished runs leave them."""

import numpy as np
import pytest

from tfinvert.images import files as images
from tfinvert.reports.entries import Entry
from tfinvert.runs.directory import RunDirectory


def made(
    folder,
    *,
    psnr,
    loss,
    network="vgg16-bn",
    layers=("conv3_1",),
    steps=2000,
    rate=0.001,
    speed=18.0,
    tv=None,
    weight=0,
    **more,
):
    """A run directory with given figures, as a finished run leaves it. An even grey has 10.8 dB against its target."""
    run = RunDirectory(folder)
    flags = {"learning_rate": rate, "schedule": "constant", "tv_weight": weight, "tv_reduction": "sum", "feature_loss": "mse"}
    fields = {"conv1_1": [3, 3], "conv3_1": [24, 24], "pool5": [212, 212]}
    info = {
        "network": network,
        "weights": "random",
        "pool": "avg",
        "image": "<img src=x onerror=alert(1)>",
        "layers": {layer: {"receptive_field": fields.get(layer)} for layer in layers},
    }
    result = {"psnr": psnr, "ssim": 0.5, "normalized_feature_error": loss[-1] / 10}
    result |= {"seconds": steps / speed, "steps_per_second": speed, "peak_memory_mb": 700.0}
    run.create("".join(f"--{k}={v}\n" for k, v in flags.items()), {**info, **more, "result": result}, resume=False)
    for index, value in enumerate(loss):
        step = index * steps // (len(loss) - 1)
        line = {"step": step, "loss": value, "learning_rate": rate, **dict.fromkeys(layers, value)}
        run.append_metrics({**line, **({"tv": tv[index]} if tv else {}), "psnr": 7 + index})
        images.save(run.image_path(step), np.full((32, 32, 3), index / len(loss)))
    for path in (run.target, run.final):
        images.save(path, np.random.default_rng(0).uniform(0, 1, (32, 32, 3)))
    return Entry(folder, folder.name, f"What is {folder.name}?", "--- a\n+++ b\n-old\n+<b>new</b>\n")


@pytest.fixture
def entries(tmp_path):
    return [
        made(tmp_path / "baseline", psnr=12.0, loss=[8.0, 4.0, 2.0]),
        made(tmp_path / "q1", psnr=30.0, loss=[8.0, 1.0, 0.1], rate=0.01),
        made(tmp_path / "q2.1", psnr=10.0, loss=[8.0, 5.0, 3.0], tv=[1000.0, 50.0, 1.0], weight=1.0),
        made(tmp_path / "q3.1", psnr=40.0, loss=[8.0, 1.0, 0.5], layers=("conv1_1",)),
        made(tmp_path / "q3.2", psnr=9.0, loss=[8.0, 6.0, 5.0], layers=("pool5",)),
        made(tmp_path / "q3.3", psnr=11.0, loss=[8.0, 6.0, 5.0], layers=("conv3_1", "fc6")),
        made(tmp_path / "q4", psnr=11.5, loss=[8.0, 4.0, 1.0], network="resnet18", layers=("res2",), speed=72.0),
    ]
