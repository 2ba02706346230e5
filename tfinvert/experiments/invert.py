"""Invert an image: find another image with the same features, by gradient descent on its pixels.

Example:
  >>> import tfinvert
  >>> result = tfinvert.invert("astronaut", "resnet18", layers="res2", steps=200)
  >>> result.psnr, result.image.shape
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert import images as image_files
from tfinvert.runs.result import Result
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import HomeworkNetworkSettings, ImageSettings, ResumableSettings, is_array
from tfinvert.settings.inversion import InversionSettings
from tfinvert.system.errors import InputError
from tfinvert.system.signals import Interrupted

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory


@define
class Settings(InversionSettings, ResumableSettings, ImageSettings, HomeworkNetworkSettings):
    """The inversion"""

    positional: ClassVar[tuple[str, ...]] = ("image", "network", "layers")
    has_page: ClassVar[bool] = False  # `report`, `sweep` and `suite` make one of several
    tensorboard: bool = setting(default=False, doc="Also write scalars and images for TensorBoard.")

    def check(self) -> None:
        super().check()
        if self.optimizer == "lbfgs" and (count := self.images_at_once()) > 1:
            raise InputError(
                f"--optimizer=lbfgs makes one image at a time, not {count}; "
                "give one --image, or use --experiment=sweep without --batch"
            )

    def images_at_once(self) -> int:
        """The number of images that go through the network together."""
        return len(self.image)

    @property
    def weights_stay(self) -> bool:  # type: ignore[override]
        return self.parameterization != "deep_prior"  # which optimizes the weights of a network

    def files(self) -> dict[str, str]:
        """Name -> image file, folders expanded. Images that the library was given as arrays have a name only."""
        return {name: name for name in self.image} if is_array(self.image) else image_files.expand(self.image)

    def each(self) -> list[Settings]:  # type: ignore[override]
        """The settings for each image. In a folder that the user names, several images have <image>/<layers> each."""
        files = self.files()
        runs = [dataclasses.replace(self, image=(file,)) for file in files.values()]
        if len(files) == 1 or not self.output_dir:
            return runs
        folders = [self.run_folder() / name / self.layers_name() for name in files]
        return [dataclasses.replace(run, output_dir=str(folder)) for run, folder in zip(runs, folders, strict=True)]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InversionResult(Result):
    """Inverted images: of each restart and step, the image with the lowest loss.

    Attributes:
      targets: the images that were inverted, float32 [n, height, width, 3] in [0, 1]; None where features were given.
      per_image: for each image `psnr` (dB) and `ssim` against its target, `normalized_feature_error`
        ||phi(x) - phi0||^2 / ||phi0||^2 (mean over the layers), `mv2016_error` (its root, as in Mahendran & Vedaldi 2016) and
        `mv2015_error` (as in their 2015 paper, with the quadrants of the sample photographs for its 100 images).
      seconds: since the last start; for images that were inverted together, the share of one.
      steps_per_second: in that time.
      peak_memory_mb: of this process, or of the converting one if that needed more.
      restarts: with several `seeds`, the figures of each.
      error: what ended the run before its last step, or None.
    """

    targets: np.ndarray | None
    per_image: tuple[dict[str, float], ...]
    seconds: float
    steps_per_second: float
    peak_memory_mb: float
    restarts: tuple[dict[str, float], ...] = ()
    stopped: str = ""

    @property
    def target(self) -> np.ndarray:
        """The only image that was inverted, [height, width, 3]; raises InputError where there is not exactly one."""
        if self.targets is None or len(self.targets) != 1:
            raise InputError(f"this result has {0 if self.targets is None else len(self.targets)} targets; use .targets")
        return self.targets[0]

    @property
    def psnr(self) -> Any:
        """PSNR in dB: a number, or an array of one for each of several images; None where features were given."""
        return self._figure("psnr")

    @property
    def ssim(self) -> Any:
        """Structural similarity; otherwise as `psnr`."""
        return self._figure("ssim")

    @property
    def normalized_feature_error(self) -> Any:
        """||phi(x) - phi0||^2 / ||phi0||^2: a number, or an array of one for each of several images."""
        return self._figure("normalized_feature_error")

    def _figure(self, name: str) -> Any:
        values = [figures.get(name) for figures in self.per_image]
        return values[0] if len(values) == 1 else None if None in values else np.array(values)

    def figures(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("seconds", "steps_per_second", "peak_memory_mb")}
        own = self.per_image[0] if len(self.per_image) == 1 else {"images": list(self.per_image)}
        return {**own, **numbers, **({"restarts": list(self.restarts)} if len(self.restarts) > 1 else {})}

    @classmethod
    def joined(cls, results: Sequence[InversionResult]) -> InversionResult:
        """Results of single images that were inverted together, as one."""
        first = results[0]
        return dataclasses.replace(
            first,
            images=np.concatenate([result.images for result in results]),
            targets=None if first.targets is None else np.concatenate([result.targets for result in results]),
            per_image=tuple(figures for result in results for figures in result.per_image),
        )

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes final.png, sheet.png and curves.png."""
        from tfinvert.reports import charts, sheet

        image_files.save(directory.final, self.image)
        if self.stopped and "stopped" in info:
            info["stopped"] += self.stopped
        sheet.write(directory, info)
        charts.write_curves(directory)


def run(
    settings: Settings,
    network: Network,
    images: np.ndarray | None,
    targets: Mapping[str, Any] | None,
    initial: np.ndarray | None,
    directories: Sequence[RunDirectory | None],
    on_step: Callable[..., Any] | None,
    progress: bool,
) -> list[InversionResult]:
    """Inverts images, or target features, that go through the network as one batch; each is a run of its own."""
    from tfinvert.optimization import inversion, precision, presets, state
    from tfinvert.runs import figures, provenance, recording, tensorboard

    if settings.parameterization == "deep_prior":
        precision.let_weights_change()
    layers = {name: network.layer(name) for name in settings.layers}
    resolved = presets.resolve(settings, layers, network.size)
    model = network.cut(settings.layers)
    features = inversion.target_features(model, layers, images, targets)
    if initial is None:
        initial = inversion.initial_images(resolved, network.size, settings.resize)
    solver = inversion.build_solver(resolved, network, features, initial)
    chosen = presets.chosen(settings, resolved)
    names = [directory.read_info()["image"] for directory in directories if directory is not None]
    with contextlib.ExitStack() as stack:
        recordings = []
        for number, directory in enumerate(directories):
            target = None if images is None else images[number]
            if directory is not None:
                info = directory.read_info()
                others = [name for name in names if name != info["image"]]
                directory.write_info({**info, "settings": chosen, **({"together_with": others} if others else {})})
                if target is not None:
                    image_files.save(directory.target, target)
            log = stack.enter_context(tensorboard.writer(directory if settings.tensorboard else None))
            measure = functools.partial(figures.snapshot_psnr, target=target)
            recordings.append(recording.Recording(directory, measure, log, on_step or (lambda snapshot: None)))
        outcomes = recording.record(
            solver,
            recordings,
            resolved.steps,
            resolved.save_every,
            resume=settings.resume,
            change_precision=stack.enter_context(precision.arithmetic(resolved.precision, resolved.reduced_steps())),
            label="+".join(settings.layers),
            progress=progress,
        )
    distances = figures.mean_distances(network, settings.layers)
    results = []
    for number, (problem, ended, outcome) in enumerate(zip(solver.problems, solver.states, outcomes, strict=True)):
        found = np.clip(state.best_image(problem, ended), 0, 1)
        target = None if images is None else images[number]
        restarts = [figures.inversion(model, image, target, features[number], distances) for image in found]
        best = min(range(len(restarts)), key=lambda n: restarts[n]["normalized_feature_error"])
        directory, seconds = directories[number], outcome.seconds / len(directories)
        results.append(
            InversionResult(
                images=found[best : best + 1],
                targets=None if target is None else target[None],
                per_image=(restarts[best],),
                seconds=seconds,
                steps_per_second=outcome.steps / max(seconds, 1e-9),
                peak_memory_mb=provenance.peak_memory_mb(),
                history=tuple(outcome.lines if directory is None else directory.read_metrics()),
                weights=network.weights,
                settings=dataclasses.asdict(resolved),
                restarts=tuple(restarts),
                error=outcome.error,
                stopped=f" of {resolved.steps}" if isinstance(outcome.error, Interrupted) else "",
            )
        )
    return results


def summarize(info: dict[str, Any], directory: RunDirectory) -> str:
    """The figures in words."""
    from tfinvert.runs.summary import describe_inversion

    return describe_inversion(info)
