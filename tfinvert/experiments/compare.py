"""Run the same inversion in TensorFlow and in PyTorch: do they compute the same thing, and how fast?"""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tfinvert import images as image_files
from tfinvert.comparison import known, process
from tfinvert.comparison.result import CompareResult, compare_sides
from tfinvert.comparison.settings import CompareSettings
from tfinvert.comparison.sides import Side, Task
from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.networks import onnx as graphs
from tfinvert.runs.directory import check_writable
from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.networks.network import Network

SPEED_STEPS = 30  # that a variant of PyTorch makes that only shows its speed


@define
class Settings(CompareSettings):
    """The comparison"""

    positional: ClassVar[tuple[str, ...]] = ("image", "network", "layers")
    ignores: ClassVar[tuple[type[AnySettings], ...]] = (InvertSettings,)
    needs_tensorflow = False
    has_folder = True
    is_continued = False


def prepare(settings: Settings, network: Network) -> None:
    """Checks what can be checked, and starts the conversion."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("--experiment=compare needs PyTorch: pip install torch, or pip install -e '.[torch]' in a checkout")
    check_writable(settings.run_folder())
    network.prepare(settings.layers)


def run(settings: Settings, network: Network) -> CompareResult:
    """Runs both sides from the same file and the same bytes; writes compare.json, compare.png and curves.png."""
    return compare(settings, network, process.measure)


def compare(settings: CompareSettings, network: Network, measure: Callable[[Task], Side]) -> CompareResult:
    """`run` with a function that runs one side.

    Raises:
      InputError: the port does not know a term or an operator of the network.
      NonFiniteLossError: the loss became NaN or infinite.
    """
    from tfinvert.networks.conversion.request_graph import cut_graph, folded, with_weights
    from tfinvert.optimization import presets

    layers = {name: network.layer(name) for name in settings.layers}
    resolved = presets.resolve(settings, layers, network.size)
    request = dataclasses.replace(network.request, layers=settings.layers)
    part, tensors = cut_graph(request)
    graph, preparation = folded(request, with_weights(request, part))
    known.check_operators(graph)
    main, *others = settings.torch_variants
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "port.onnx")
        graphs.write(graph, file)
        ours = measure(Task("tensorflow", resolved, resolved.steps))
        task = Task(
            "pytorch",
            resolved,
            resolved.steps,
            variant=main,
            graph=str(file),
            preparation=dataclasses.asdict(preparation),
            layers=tensors,
            initial=ours.initial,
            offsets=ours.offsets,
        )
        theirs = measure(task)
        speeds = {main: theirs.speed()}
        # The other variants only show their speed; their order has nothing to win or to lose by it.
        for variant in others:
            short = dataclasses.replace(task, steps=min(resolved.steps, SPEED_STEPS), variant=variant)
            speeds[variant] = measure(short).speed()
    result = CompareResult(
        network=network.name,
        weights=network.weights,
        layers=list(tensors),
        steps=resolved.steps,
        precision=resolved.precision,
        gflop_per_step=2 * graphs.operations(part) / 1e9,
        folder=settings.run_folder(),
        **compare_sides(ours, theirs, speeds, image_files.load(settings.image[0], network.size, settings.resize)),
    )
    result.write()
    return result
