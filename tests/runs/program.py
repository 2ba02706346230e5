"""Stands in for what a worker does: a run that ends at once, fails or waits, as the name of its image says."""

import os
import time
from pathlib import Path
from typing import Any

from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.flagfiles import HEADER
from tfinvert.system import signals

PLACEMENT = ("--output_dir", "--resume", "--overwrite")


def work(message: dict[str, Any]) -> dict[str, Any]:
    """Runs one image, or several into folders below the output folder."""
    flags = dict(argument.partition("=")[::2] for argument in message["flags"])
    folder, images = Path(flags["--output_dir"]), flags["--image"].split(",")
    runs = {image: folder / image / flags["--layers"] if len(images) > 1 else folder for image in images}
    results = [run(path, image, flags) for image, path in runs.items()]
    return {"results": results, "seconds": 0.1, "again": any("again" in image for image in images)}


def nothing(message: dict[str, Any]) -> dict[str, Any]:
    """A task of which nothing but its way to a worker and back takes time."""
    return {"results": [{"line": "done"}]}


def sleep(message: dict[str, Any]) -> dict[str, Any]:
    """A task that takes as many milliseconds as its --steps say, and no processor."""
    flags = dict(argument.partition("=")[::2] for argument in message["flags"])
    time.sleep(int(flags["--steps"]) / 1000)
    return {"results": [{"line": "done"}]}


def count(message: dict[str, Any]) -> dict[str, Any]:
    """A run of as many lines as its --steps say, which goes on after a kill with the line that comes next."""
    flags = dict(argument.partition("=")[::2] for argument in message["flags"])
    directory = RunDirectory(Path(flags["--output_dir"]))
    text = HEADER + "".join(f"{name}={value}\n" for name, value in flags.items() if name not in PLACEMENT)
    with directory.locked():
        if "result" not in directory.read_info():
            directory.create(text, {}, resume=directory.flags.exists())
            directory.checkpoints.mkdir(exist_ok=True)
            directory.rewind(len(directory.read_metrics()))
            for step in range(len(directory.read_metrics()), int(flags["--steps"])):
                time.sleep(0.02)
                directory.append_metrics({"step": step, "loss": step**0.5})
            directory.write_info({"result": {"psnr": 30.0}})
    return {"results": [{"line": "done"}]}


def run(path: Path, image: str, flags: dict[str, str]) -> dict[str, str]:
    """One run; returns the attributes of `executors.RunResult`."""
    text = HEADER + "".join(f"{name}={value}\n" for name, value in {**flags, "--image": image}.items() if name not in PLACEMENT)
    directory = RunDirectory(path)
    before = directory.read_info()
    if "result" in before and "--overwrite" not in flags:
        return {"line": "PSNR 30.00 dB"}
    directory.create(text, {}, resume=bool(before))
    info = {"begun": [*before.get("begun", []), os.getpid()]}
    directory.write_info(info)
    directory.append_metrics({"step": 5, "loss": 1.0})
    if image == "waits" and not before:
        with signals.held_back() as interruption:
            while not interruption:
                time.sleep(0.01)
        directory.write_info({**info, "stopped": "at step 5"})
        interruption.raise_if_any()
    if image == "dies" and len(info["begun"]) == 1:
        os.kill(os.getpid(), 9)
    if image == "fails" or (image == "again" and len(info["begun"]) == 1):
        return {"error": "the loss is nan"}
    directory.write_info({**info, "result": {"psnr": 30.0}})
    return {"line": "PSNR 30.00 dB"}
