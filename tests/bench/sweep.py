"""What an image of a whole sweep costs, processes and all, for more images in a batch."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import ROOT
from tfinvert import images

BATCHES = (1, 4, 8)  # of the eight images of a sweep
REPEATS = 3
FLAGS = ("--model=resnet18", "--weights=random", "--layers=res2", "--pool=max", "--steps=100")


def measure() -> list[dict[str, float]]:
    """A row for each size of a batch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for sample in images.SAMPLES:
            whole = images.load(sample, (448, 448), "squash")
            for number, part in enumerate((whole[0, :224, :224], whole[0, 224:, 224:])):
                images.save(folder / "images" / f"{sample}-{number}.png", part)
        _sweep(folder, BATCHES[-1])  # converts the network
        turns = [{batch: _sweep(folder, batch) for batch in BATCHES} for _ in range(REPEATS)]
    rows = []
    for batch in BATCHES:
        whole, steps, memory = (statistics.median(values) for values in zip(*(turn[batch] for turn in turns), strict=True))
        rows.append({"images in a batch": batch, "s per image": whole, "its steps (s)": steps, "memory (MB)": memory})
    return rows


def _sweep(folder: Path, batch: int) -> tuple[float, float, float]:
    """Seconds per image, seconds of its steps, and peak memory in MB of a sweep over the folder's images."""
    out = folder / f"batch-{batch}"
    flags = ("--experiment=sweep", *FLAGS, f"--image={folder / 'images'}", f"--batch={batch}", "--overwrite")
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "run_experiments.py"), *flags, f"--output_dir={out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    results = [json.loads(path.read_text())["result"] for path in out.glob("*/res2/run.json")]
    return (
        seconds / len(results),
        statistics.median(result["seconds"] for result in results),
        max(result["peak_memory_mb"] for result in results),
    )
