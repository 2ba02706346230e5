"""What a benchmark computes: a process for each layer of each network, several of them at once."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from tfinvert import images
from tfinvert.experiments.benchmark import methods, rivals, suites
from tfinvert.experiments.benchmark.cells import Cell
from tfinvert.networks.load import load
from tfinvert.networks.network import Network
from tfinvert.system.child import Child
from tfinvert.system.errors import InputError
from tfinvert.system.notebook import is_watched

if TYPE_CHECKING:
    from tfinvert.experiments.benchmark import Settings

MODULE = "tfinvert.experiments.benchmark.work"
IDENTITY = ("weights", "onnx_sha256", "preprocessing", "pool", "size")  # of a network


@dataclasses.dataclass(frozen=True)
class Plan:
    """A benchmark that is to be computed.

    Attributes:
      settings: its settings.
      networks: name -> network.
      layers: name of a network -> its layers.
      files: name of an image -> its file.
      methods: the methods; the others are compared with the first.
      keys: name of a network -> name of an image -> what identifies network, target image and settings of a cell.
    """

    settings: Settings
    networks: dict[str, Network]
    layers: dict[str, tuple[str, ...]]
    files: dict[str, str]
    methods: tuple[methods.Method, ...]
    keys: dict[str, dict[str, str]]

    def cells(self) -> Iterator[tuple[Cell, str]]:
        """Every cell and its key, those of the references too."""
        names = [*(method.name for method in self.methods), *methods.REFERENCES]
        for network, layers in self.layers.items():
            for layer in layers:
                for image, key in self.keys[network].items():
                    for name in names:
                        yield Cell(network, layer, image, name), key


def make_plan(settings: Settings) -> Plan:
    """What the settings ask for; raises InputError for what is not there, before anything is computed."""
    suite = settings.suite_of()
    options = _options(settings)
    networks: dict[str, Network] = {}
    for source in suite.networks:
        network = load(source, **options)
        if "onnx" not in network.settings():
            raise InputError(f"--networks has {source}, a Keras model; expected names of the zoo or .onnx files")
        if network.name in networks:
            raise InputError(f"--networks has two networks of the name {network.name}; rename a file")
        networks[network.name] = network
    layers = {name: suites.choose_layers(network, suite.layers) for name, network in networks.items()}
    unknown = [name for name in suite.layers if name not in (suites.ALL, suites.STRIDES) and not _has(layers, name)]
    if unknown or not any(layers.values()):
        raise InputError(f"no network has the layer {', '.join(unknown) or suite.layers[0]}; --experiment=layers lists them")
    chosen = tuple(methods.find(name) for name in settings.method_names())
    for method in chosen:
        if method.packages:
            rivals.interpreter(settings.rivals, method)
    files = settings.files()
    keys = {name: {image: _key(settings, network, file) for image, file in files.items()} for name, network in networks.items()}
    return Plan(settings, networks, layers, files, chosen, keys)


def run_all(plan: Plan, folder: Path, count: int, *, progress: bool) -> None:
    """Computes the cells that are missing, in up to `count` processes, each bound to a processor of its own."""
    missing = {cell for cell, key in plan.cells() if not cell.is_there(folder, key, plan.settings.longest)}
    with tqdm(total=len(missing), desc="benchmark", unit="cell", disable=not (progress and is_watched())) as bar:
        for names in _rounds(plan):
            wanted = {(cell.network, cell.layer) for cell in missing if cell.method in names}
            messages = _messages(plan, folder, names)
            for answer in _run([one for one in messages if (one["network"], one["layer"]) in wanted], count):
                if "cell" in answer:
                    bar.update()
                    with tqdm.external_write_mode():
                        print(describe(answer), flush=True)


def _rounds(plan: Plan) -> list[list[str]]:
    """The names of the methods that share processes, the first of all methods in front.

    Methods that change weights have processes of their own, because the others run faster where weights stay.
    """
    first, *others = plan.methods
    changing = [method.name for method in others if method.changes_weights]
    staying = [method.name for method in others if method.name not in changing]
    rounds = [[first.name, *staying, *methods.REFERENCES]]
    return rounds + ([[first.name, *changing]] if changing else [])


def describe(answer: dict[str, Any]) -> str:
    """A finished cell in a line."""
    name = " ".join(answer["cell"])
    if "error" in answer:
        return f"{name}: {answer['error']}"
    end = answer["curve"][-1]
    time = f"{end['step']} steps, {end['seconds']:.1f} s" if end["step"] else "no steps"
    stopped = f"; {answer['stopped']}" if "stopped" in answer else ""
    return f"{name}: PSNR {end['psnr']:.1f} dB, feature error {end['normalized_feature_error']:.3g}, {time}{stopped}"


def _messages(plan: Plan, folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    settings = plan.settings
    sources = dict(zip(plan.networks, settings.suite_of().networks, strict=True))
    judges = [settings.judge] if settings.judge else list(sources.values())
    keys = {method.name: method.key for method in plan.methods}
    return [
        {
            "folder": str(folder.absolute()),
            "network": network,
            "source": sources[network],
            "options": _options(settings),
            "layer": layer,
            "images": plan.files,
            "keys": plan.keys[network],
            "methods": [keys[name] for name in names if name in keys],
            "rivals": settings.rivals,
            "judges": judges,
            **{name: getattr(settings, name) for name in ("resize", "seed", "batch", "longest")},
        }
        for network, layers in plan.layers.items()
        for layer in layers
    ]


def _run(messages: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Sends each message to a process, up to `count` at a time, and gives what they answer; raises their InputError."""
    processors: list[int | None] = sorted(getattr(os, "sched_getaffinity", lambda pid: [])(0))[:count] or [None] * count
    answers: queue.Queue[tuple[Child, dict[str, Any] | None]] = queue.Queue()
    left, running = list(messages), dict[Child, int | None]()

    def listen(process: Child) -> None:
        while (answer := process.receive()) is not None:
            answers.put((process, answer))
        answers.put((process, None))

    with contextlib.ExitStack() as stack:
        while left or running:
            while left and processors:
                process = stack.enter_context(Child(MODULE, environment={"TF_CPP_MIN_LOG_LEVEL": "3"}))
                running[process] = processors.pop()
                process.send(**left.pop(0), processor=running[process])
                threading.Thread(target=listen, args=(process,), daemon=True).start()
            process, answer = answers.get()
            if answer is not None:
                if "input_error" in answer:
                    raise InputError(answer["input_error"])
                yield answer
                continue
            if process.wait() != 0:
                raise InputError(f"a process of the benchmark failed: {process.last_line()[:300] or 'no message'}")
            processors.append(running.pop(process))


def _options(settings: Settings) -> dict[str, Any]:
    return {"weights": settings.weights, "pool": settings.pool, "size": settings.suite_of().size}


def _has(layers: dict[str, tuple[str, ...]], name: str) -> bool:
    return any(name in names for names in layers.values())


def _key(settings: Settings, network: Network, file: str) -> str:
    """What identifies network, target image and settings of a cell."""
    target = images.load(file, network.size, settings.resize)
    values = {name: getattr(settings, name) for name in ("batch", "seed")}
    origin = {name: value for name, value in network.provenance().items() if name in IDENTITY}
    text = json.dumps([origin, values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode() + target.tobytes()).hexdigest()[:16]
