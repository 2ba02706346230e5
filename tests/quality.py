"""How good the pictures are: the measurements of docs/quality.md. Not a test; needs real networks.

    python -m tests.quality peers FOLDER RESULTS   # --preset=auto beside the papers' and the homework's settings
    python -m tests.quality grid FOLDER RESULTS    # parameterisations, optimisers, schedules and regularisers
    python -m tests.quality tables RESULTS         # Markdown of what RESULTS holds: medians over the photographs

FOLDER has the networks' files in models/, as in `NETWORKS`, and the photographs that do not come with tfinvert in images/.
RESULTS is a file of JSON lines; what it holds is not run again. The pictures are written into a folder beside it.
"""

import contextlib
import json
import math
import os
import statistics
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NETWORKS = {
    "resnet18": "resnet18-torchvision-trunk.onnx",
    "squeezenet": "squeezenet1_1-torchvision.onnx",
    "alexnet": "alexnet-torchvision-trunk.onnx",
    "vgg16-bn": None,  # the zoo's, with random weights and average pools
}
LAYERS = [
    *(("resnet18", f"res{number}") for number in range(1, 7)),
    *(("squeezenet", f"fire{number}") for number in range(2, 10)),
    *(("alexnet", layer) for layer in ("conv1", "conv2", "conv3", "conv4", "conv5", "pool5")),
    *(("vgg16-bn", layer) for layer in ("conv1_1", "conv3_1", "pool5", "fc6", "fc8")),
]
REPORTED = ("astronaut", "rocket", "tubingen.jpg")  # photographs that nothing was tuned on
TUNED = ("chelsea", "coffee")
# More steps than auto's 300, which are dearer by the pyramid, so that the homework has as much time.
HOMEWORK = {
    "optimizer": "adam",
    "learning_rate": 0.05,
    "schedule": "cosine",
    "feature_loss": "mse",
    "tv_weight": 0.0,
    "parameterization": "free",
    "init": "noise",
    "steps": 450,
}
WAYS = {"auto": {}, "mv2015": {"preset": "mv2015"}, "mv2016": {"preset": "mv2016"}, "homework": HOMEWORK}
RATES = {"clip": 0.1, "sigmoid": 0.2, "fourier": 0.1, "pyramid": 0.0, "sigmoid_pyramid": 0.0, "deep_prior": 0.02}


def grid() -> dict[str, dict]:
    """One change at a time from Adam with a falling rate and a little total variation."""
    ways: dict[str, dict] = {}
    for name, rate in RATES.items():
        ways[f"{name}, adam, cosine"] = {"parameterization": name, "learning_rate": rate}
        if name != "deep_prior":
            ways[f"{name}, lbfgs"] = {"parameterization": name, "optimizer": "lbfgs", "steps": 150}
    pyramid = {"parameterization": "auto"}
    ways["pyramid, adam, constant"] = {**pyramid, "schedule": "constant"}
    ways["pyramid, adam, warmup_cosine"] = {**pyramid, "schedule": "warmup_cosine", "warmup_steps": 20}
    ways["pyramid, mv2016's rule"] = {**pyramid, "optimizer": "mv2016", "learning_rate": 41.0, "schedule": "constant"}
    ways["pyramid, no total variation"] = {**pyramid, "tv_weight": 0.0}
    ways["pyramid, ten times the total variation"] = {**pyramid, "tv_weight": 1.0}
    ways["pyramid, that annealed to a hundredth"] = {**pyramid, "tv_weight": 1.0, "regularizer_final": 0.01}
    ways["pyramid, squared total variation"] = {**pyramid, "tv_weight": 1.0, "tv_kind": "l2"}
    ways["pyramid, alpha norm"] = {**pyramid, "alpha_weight": 1.0}
    ways["pyramid, jitter of 3"] = {**pyramid, "jitter": 3}
    return ways


def run(folder: Path, results: Path, jobs: list[tuple[str, str, str, str, dict]]) -> None:
    """Runs each (network, layer, picture, way, settings) that `results` does not hold, and adds a line for it."""
    from tfinvert import images
    from tfinvert.config import Config, with_preset
    from tfinvert.errors import NonFiniteLossError
    from tfinvert.experiments import invert
    from tfinvert.networks import convert

    results.with_suffix("").mkdir(parents=True, exist_ok=True)
    known = {tuple(line[name] for name in ("network", "layer", "picture", "way")) for line in read(results)}
    for network, layer, picture, way, settings in jobs:
        if (network, layer, picture, way) in known:
            continue
        file = NETWORKS[network]
        onnx = str(folder / "models" / file) if file else None
        source = {"onnx": onnx, "pool": "max"} if onnx else {"model": network, "weights": "random", "pool": "avg"}
        image = str(folder / "images" / picture) if Path(picture).suffix else picture
        config = Config(**with_preset({**source, "layers": (layer,), "image": image, "save_every": 10**6, **settings}))
        found: dict[str, Any] = {"psnr": None, "normalized_feature_error": None}  # where it diverges
        with (
            contextlib.suppress(NonFiniteLossError),
            convert.Conversion(convert.request_for(config, config.layers)) as conversion,
        ):
            result = invert.run(config, conversion)
            found = result.figures()
            name = f"{network}-{layer}-{picture}-{way}.png".replace(" ", "_")
            images.save(results.with_suffix("") / name, result.image)
        line = {"network": network, "layer": layer, "picture": picture, "way": way, "steps": config.steps, **found}
        with open(results, "a") as out:
            out.write(json.dumps(line) + "\n")
        print(f"{network} {layer} {picture} {way}: {found['psnr']} dB, {found['normalized_feature_error']}", flush=True)


def read(results: Path) -> list[dict]:
    """The lines of a file of results."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def tables(results: Path) -> str:
    """A row for each layer, a column for each way (of the grid the other way round): medians of PSNR and feature error."""
    lines = read(results)
    ways = list(dict.fromkeys(line["way"] for line in lines))
    places = list(dict.fromkeys((line["network"], line["layer"]) for line in lines))

    def cell(way: str, place: tuple[str, str]) -> str:
        found = [line for line in lines if line["way"] == way and (line["network"], line["layer"]) == place]
        if not found:
            return ""
        diverged = {"psnr": -math.inf, "normalized_feature_error": math.inf}
        psnr, error = (
            statistics.median(worst if line[name] is None else line[name] for line in found) for name, worst in diverged.items()
        )
        shown = f"{psnr:.1f} dB, {error:.2g}" if math.isfinite(psnr) else "diverges"
        return shown + (f" ({len(found)})" if len(found) < len(pictures) else "")

    pictures = list(dict.fromkeys(line["picture"] for line in lines))
    names = {place: " ".join(place) for place in places}
    if len(ways) > len(places):
        rows = [["", *names.values()], *([way, *(cell(way, place) for place in places)] for way in ways)]
    else:
        rows = [["", *ways], *([name, *(cell(way, place) for way in ways)] for place, name in names.items())]
    text = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(
        [
            f"medians of {', '.join(pictures)}; where some are missing, their number",
            "",
            text[0],
            "|---" * len(rows[0]) + "|",
            *text[1:],
        ]
    )


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    if what == "tables":
        print(tables(Path(paths[0])))
    elif what == "peers":
        asked = [(*place, picture, way, settings) for picture in REPORTED for place in LAYERS for way, settings in WAYS.items()]
        run(Path(paths[0]), Path(paths[1]), asked)
    else:
        places = (("resnet18", "res2"), ("squeezenet", "fire4"), ("squeezenet", "fire9"))
        asked = [(*place, picture, way, one) for picture in TUNED for place in places for way, one in grid().items()]
        run(Path(paths[0]), Path(paths[1]), asked)
