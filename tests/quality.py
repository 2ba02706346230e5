"""How good the images are: the measurements of docs/quality.md. This is no test, and needs real networks.

    python -m tests.quality peers FOLDER RESULTS   # --preset=auto beside the papers' and the homework's settings
    python -m tests.quality grid FOLDER RESULTS    # parameterizations, optimizers, schedules and regularizers
    python -m tests.quality time FOLDER            # to the quality of the homework's baseline; on a quiet machine
    python -m tests.quality tables RESULTS         # Markdown of what RESULTS holds: medians over the photographs

FOLDER has the networks' files in models/, as in `NETWORKS`, and the photographs that do not come with tfinvert in images/.
RESULTS is a file of JSON lines; what it holds is not run again. The images are written into a folder beside it.
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
    ("squeezenet", "pool10"),
    *(("alexnet", layer) for layer in ("conv1", "conv2", "conv3", "conv4", "conv5", "pool5")),
    *(("vgg16-bn", layer) for layer in ("conv1_1", "conv3_1", "pool5", "fc6", "fc8")),
]
REPORTED = ("astronaut", "rocket", "tubingen.jpg")  # photographs that nothing was tuned on
TUNED = ("chelsea", "coffee", "flower.jpg")  # the last comes with scikit-learn
PLACES = {
    4: ("resnet18", "res2"),
    8: ("squeezenet", "fire4"),
    16: ("squeezenet", "fire9"),
    32: ("alexnet", "pool5"),
}  # by stride
# More steps than auto's 200 to 400, which are dearer by the pyramid, so that the homework has as much time.
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


def grid(stride: int) -> dict[str, dict]:
    """Every parameterization with Adam and L-BFGS; then one change at a time from what auto chooses at a stride."""
    from tfinvert.optimization.presets import AUTO

    auto = AUTO[stride]
    regularized = {"tv_weight": auto.tv_weight, "alpha_weight": auto.alpha_weight}  # a rate of one's own would leave these
    descents: dict[str, dict] = {
        "Adam, cosine": {"schedule": "cosine"},
        "Adam, constant": {"schedule": "constant"},
        "L-BFGS": {"optimizer": "lbfgs", "steps": auto.steps // 2},  # about as many gradients as Adam's steps
    }
    ways = {
        f"{name}, {descent}": {"parameterization": name, "learning_rate": rate, **regularized, **settings}
        for name, rate in RATES.items()
        for descent, settings in descents.items()
        if (name, descent) != ("deep_prior", "L-BFGS")  # its weights have no box
        and (descent != "Adam, constant" or "pyramid" in name)
    }
    changes: dict[str, dict] = {
        "nothing changed": {},
        "warmup": {"schedule": "warmup_cosine", "warmup_steps": 20},
        "mv2016's rule": {"optimizer": "mv2016", "learning_rate": 41.0, "schedule": "constant", "backoff": True, **regularized},
        "no total variation": {"tv_weight": 0.0},
        "ten times the total variation": {"tv_weight": 10 * auto.tv_weight},
        "that annealed to a hundredth": {"tv_weight": 10 * auto.tv_weight, "regularizer_final": 0.01},
        "ten times total variation, squared": {"tv_weight": 10 * auto.tv_weight, "tv_kind": "l2"},
        "ten times the alpha norm, or one of 1": {"alpha_weight": 10 * auto.alpha_weight or 1.0},
        "jitter of 3": {"jitter": 3},
    }
    return ways | {f"auto, {name}": settings for name, settings in changes.items()}


BASELINE = {**HOMEWORK, "learning_rate": 1e-3, "schedule": "constant", "steps": 2000}
REPEATS, SHORT, LONG = 5, 20, 120  # steps: the difference of two runs has no building of graphs in it


def time_to_quality(folder: Path) -> None:
    """Prints, for each photograph and then as medians, when auto has what the homework's baseline ends with, and more."""
    shallow, deep = ("vgg16-bn", "conv3_1"), ("resnet18", "res2")
    runs = {"baseline": (shallow, BASELINE), "auto": (shallow, {}), "res2": (deep, {})}
    timed: dict[tuple[str, int], list[float]] = {(name, steps): [] for name in runs for steps in (SHORT, LONG)}
    for _ in range(REPEATS):
        for name, steps in timed:
            place, settings = runs[name]
            timed[name, steps].append(inverted(folder, *place, REPORTED[0], {**settings, "steps": steps}).seconds)
    medians = {key: statistics.median(values) for key, values in timed.items()}
    step = {name: (medians[name, LONG] - medians[name, SHORT]) / (LONG - SHORT) for name in runs}
    begin = {name: medians[name, SHORT] - SHORT * step[name] for name in runs}
    print({name: f"{begin[name]:.2f} s, then {1 / step[name]:.1f} steps/s" for name in runs}, flush=True)

    def seconds(name: str, steps: float) -> float:
        return begin[name] + steps * step[name]

    rows = []
    for image in REPORTED:
        baseline, auto, res2 = (inverted(folder, *place, image, settings, 1) for place, settings in runs.values())
        good = {"psnr": baseline.psnr, "conv3_1": baseline.normalized_feature_error}
        rows.append(
            {
                "baseline's PSNR (dB)": baseline.psnr,
                "baseline's error": baseline.normalized_feature_error,
                "baseline (s)": seconds("baseline", baseline.history[-1]["step"]),
                "auto as good (s)": seconds("auto", reached(auto.history, **good)),
                "36 dB (s)": seconds("auto", reached(auto.history, psnr=36.0)),
                "auto's PSNR at its end (dB)": auto.psnr,
                "res2: 24 dB (s)": seconds("res2", reached(res2.history, psnr=24.0)),
                "res2: PSNR at its end (dB)": res2.psnr,
                "res2: its end (s)": seconds("res2", res2.history[-1]["step"]),
            }
        )
        print(image, {name: round(value, 4) for name, value in rows[-1].items()}, flush=True)
    print("median", {name: round(statistics.median(row[name] for row in rows), 4) for name in rows[0]})


def reached(history: tuple[dict[str, Any], ...], psnr: float, conv3_1: float = math.inf) -> float:
    """The first step at which a run is as good; infinite where there is none."""
    return next((line["step"] for line in history if line["psnr"] >= psnr and line.get("conv3_1", 0) <= conv3_1), math.inf)


def inverted(folder: Path, network: str, layer: str, image: str, settings: dict, save_every: int = 10**6) -> Any:
    """The result of one inversion. Raises NonFiniteLossError where it diverges."""
    import tfinvert

    file = NETWORKS[network]
    source = folder / "models" / file if file else network
    loaded = tfinvert.load(source, **({} if file else {"weights": "random", "pool": "avg"}))
    image = str(folder / "images" / image) if Path(image).suffix else image
    return tfinvert.invert(image, loaded, layers=layer, save_every=save_every, **settings)


def run(folder: Path, results: Path, jobs: list[tuple[str, str, str, str, dict]]) -> None:
    """Runs each (network, layer, image, way, settings) that `results` does not hold, and adds a line for it."""
    from tfinvert import images
    from tfinvert.system.errors import NonFiniteLossError

    results.with_suffix("").mkdir(parents=True, exist_ok=True)
    known = {tuple(line[name] for name in ("network", "layer", "image", "way")) for line in read(results)}
    for network, layer, image, way, settings in jobs:
        if (network, layer, image, way) in known:
            continue
        figures: dict[str, Any] = {"psnr": None, "normalized_feature_error": None}  # where it diverges
        with contextlib.suppress(NonFiniteLossError):
            result = inverted(folder, network, layer, image, settings)
            figures = result.figures()
            name = f"{network}-{layer}-{image}-{way}.png".replace(" ", "_")
            images.save(results.with_suffix("") / name, result.image)
        line = {"network": network, "layer": layer, "image": image, "way": way, **figures}
        with open(results, "a") as out:
            out.write(json.dumps(line) + "\n")
        print(f"{network} {layer} {image} {way}: {figures['psnr']} dB, {figures['normalized_feature_error']}", flush=True)


def read(results: Path) -> list[dict]:
    """The lines of a file of results."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def tables(results: Path) -> str:
    """A row for each layer, a column for each way (of the grid the other way round): medians of PSNR and feature error."""
    lines = read(results)
    ways = list(dict.fromkeys(line["way"] for line in lines))
    places = [place for place in LAYERS if any(place == (line["network"], line["layer"]) for line in lines)]
    images = list(dict.fromkeys(line["image"] for line in lines))

    def cell(way: str, place: tuple[str, str]) -> str:
        group = [line for line in lines if line["way"] == way and (line["network"], line["layer"]) == place]
        if not group:
            return ""
        diverged = {"psnr": -math.inf, "normalized_feature_error": math.inf}
        psnr, error = (
            statistics.median(worst if line[name] is None else line[name] for line in group) for name, worst in diverged.items()
        )
        shown = f"{psnr:.1f} dB, {error:.2g}" if math.isfinite(psnr) else "diverges"
        return shown + (f" ({len(group)})" if len(group) < len(images) else "")

    names = {place: " ".join(place) for place in places}
    if len(ways) > len(places):
        rows = [["", *names.values()], *([way, *(cell(way, place) for place in places)] for way in ways)]
    else:
        rows = [["", *ways], *([name, *(cell(way, place) for way in ways)] for place, name in names.items())]
    text = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(
        [
            f"medians of {', '.join(images)}; where some are missing, their number",
            "",
            text[0],
            "|---" * len(rows[0]) + "|",
            *text[1:],
        ]
    )


def main(what: str, *paths: str) -> None:
    """Measures what the first argument names; see the top of this file."""
    if what == "time":
        time_to_quality(Path(paths[0]))
    elif what == "tables":
        print(tables(Path(paths[0])))
    elif what == "peers":
        jobs = [(*place, image, way, settings) for image in REPORTED for place in LAYERS for way, settings in WAYS.items()]
        run(Path(paths[0]), Path(paths[1]), jobs)
    elif what == "grid":
        jobs = [
            (*place, image, way, settings)
            for image in TUNED
            for stride, place in PLACES.items()
            for way, settings in grid(stride).items()
        ]
        run(Path(paths[0]), Path(paths[1]), jobs)
    else:
        sys.exit(f"unknown measurement {what!r}; expected peers, grid, time or tables")


if __name__ == "__main__":
    main(*sys.argv[1:])
