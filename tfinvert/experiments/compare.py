"""Run the same inversion in TensorFlow and in PyTorch: do they compute the same thing, and how fast?"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tfinvert import images as image_files
from tfinvert.comparison import known, process
from tfinvert.comparison.result import FIGURES, CompareResult, compare_sides
from tfinvert.comparison.settings import CompareSettings
from tfinvert.comparison.sides import Side, Task
from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.experiments.suite.questions import as_flags, flagfiles_of
from tfinvert.networks import onnx as graphs
from tfinvert.runs.flags import same_flags
from tfinvert.runs.places import SHARED_FLAGS
from tfinvert.settings import flagfiles, flags
from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import WorkerSettings
from tfinvert.system.errors import InputError
from tfinvert.system.files import read_text, write_text

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.runs.executors import Connect
    from tfinvert.runs.tasks import Outcome, TasksResult

SPEED_STEPS = 30  # that a variant of PyTorch makes that only shows its speed


@define
class Settings(WorkerSettings, CompareSettings):
    """The comparison"""

    positional: ClassVar[tuple[str, ...]] = ("image", "network", "layers")
    ignores: ClassVar[tuple[type[AnySettings], ...]] = (InvertSettings,)
    needs_tensorflow = False
    has_folder = True
    questions: tuple[str, ...] = setting(
        default=(),
        doc="Flagfiles that are compared one by one, each in a folder of its own: all, a group such as q2, names, or files.",
        placement=True,
    )
    changes: tuple[str, ...] = setting(default=(), doc="", placement=True)  # made by `complete` from what the user gave

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {"changes": as_flags(CompareSettings, values)} if values.get("questions") else {}
        return {**given, **super().complete(values)}

    @property
    def is_continued(self) -> bool:  # type: ignore[override]
        return bool(self.questions)

    def layers_needed(self) -> tuple[str, ...]:
        return () if self.questions else self.layers

    def each_question(self) -> dict[str, Settings]:
        """The settings of the comparison of each flagfile, by its name."""
        settings = {}
        for name, path in flagfiles_of(self.questions).items():
            values = flags.values(Settings, flagfiles.expand([f"--flagfile={path}", *self.changes]))
            settings[name] = Settings(**{**values, "output_dir": str(self.run_folder() / name)})
        return settings


def prepare(settings: Settings, network: Network) -> None:
    """Checks what can be checked, and starts the conversion."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("--experiment=compare needs PyTorch: pip install torch, or pip install -e '.[torch]' in a checkout")
    if settings.questions:
        settings.each_question()
    else:
        network.prepare(settings.layers)


def run(settings: Settings, network: Network, executor: Connect) -> CompareResult | TasksResult:
    """Runs both sides from the same file and the same bytes; writes compare.json, compare.png and curves.png.

    With `questions`, it does so for each of these flagfiles, and writes all of their figures into comparisons.json.
    """
    if settings.questions:
        return _compare_each(settings, executor)
    return compare(settings, network, process.measure)


def _compare_each(settings: Settings, executor: Connect) -> TasksResult:
    from tfinvert.runs import tasks

    each = settings.each_question()
    left = {name: one for name, one in each.items() if settings.overwrite or not _is_finished(one)}
    todo = [tasks.Task({name: dataclasses.replace(one, overwrite=True)}) for name, one in left.items()]

    def write_figures(outcomes: dict[str, Outcome]) -> Path:
        figures = {name: json.loads(read_text(one.run_folder() / FIGURES)) for name, one in each.items() if _is_finished(one)}
        path = settings.run_folder() / "comparisons.json"
        write_text(path, json.dumps(figures, indent=2) + "\n")
        return path

    return tasks.run_with_report(todo, executor, write_figures)


def _is_finished(settings: Settings) -> bool:
    """Whether the folder holds this comparison. Its figures are written last."""
    folder = settings.run_folder()
    if not (folder / FIGURES).is_file() or not (folder / SHARED_FLAGS).is_file():
        return False
    return same_flags(read_text(folder / SHARED_FLAGS), flagfiles.text(settings))


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
