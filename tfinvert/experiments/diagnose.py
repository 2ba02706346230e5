"""Find which line of a port of an inversion is wrong, from the numbers that it computes.

Example:
  >>> import tfinvert
  >>> result = tfinvert.diagnose("ref", "theirs.npz")
  >>> print(result.summary())
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import FolderSettings
from tfinvert.system.errors import InputError
from tfinvert.system.files import write_text
from tfinvert.system.functions import check_function, load_function

if TYPE_CHECKING:
    from tfinvert.comparison.diagnosis.search import Diagnosis

MOST_STEPS = 51  # losses of a port that are compared


@define
class Settings(FolderSettings):
    """The port and its reference"""

    positional: ClassVar[tuple[str, ...]] = ("reference", "port")
    has_folder = True
    is_continued = False
    reference: str | None = setting(default=None, doc="The folder that --experiment=reference has written.", file=True)
    port: str | None = setting(
        default=None,
        doc="What the port computed: an .npz file with some of the names of a reference; a function that yields losses and "
        "images, as my_port.py:run; or a run directory.",
        file=True,
    )
    tolerance: str = setting(
        default="auto",
        doc="Relative difference of losses that counts as equal, such as 0.001. auto takes a hundred times what our own run "
        "shows from a start that is moved by 1e-7, but at least 1e-4.",
    )

    def check(self) -> None:
        super().check()
        for name in ("reference", "port"):
            if not getattr(self, name):
                raise InputError(f"--{name} is missing; --experiment=diagnose needs --reference=FOLDER and --port=FILE")
        self.bound()
        assert self.port is not None
        if ":" in self.port and not Path(self.port).exists():
            check_function("--port", self.port)
        elif not Path(self.port).exists():
            raise InputError(f"--port is {self.port!r}; there is no such file or run directory")

    def bound(self) -> float | None:
        """`tolerance` as a number, or None where it is measured."""
        if self.tolerance == "auto":
            return None
        try:
            bound = float(self.tolerance)
        except ValueError:
            bound = 0.0
        if not 0 < bound < float("inf"):
            raise InputError(f"--tolerance is {self.tolerance}; expected auto or a number above 0, such as 0.001")
        return bound


@dataclasses.dataclass(frozen=True)
class DiagnosisResult:
    """What a port does differently.

    Attributes:
      diagnosis: the differences and the mistakes that explain them.
      about: the network, weights, image, reference and port, in words.
      losses: the losses of both, of the steps that both have; empty where the port has none.
      folder: where diagnose.json and report.html are.
    """

    diagnosis: Diagnosis
    about: dict[str, str]
    losses: dict[str, list[float]]
    folder: Path

    @property
    def exit_code(self) -> int:
        """0 where the port agrees, 3 where it differs."""
        return 0 if self.diagnosis.agrees else 3

    def figures(self) -> dict[str, Any]:
        """What diagnose.json says."""
        found = self.diagnosis
        return {
            **self.about,
            "answer": self.answer(),
            "agrees": found.agrees,
            "causes": [finding.cause for finding in found.findings],
            "explained": found.left is None,
            "findings": [
                {
                    **dataclasses.asdict(one),
                    "before": _finite(one.before),
                    "after": _finite(one.after),
                    "alternatives": " ".join(one.alternatives),
                }
                for one in found.findings
            ],
            "differences": [
                {**dataclasses.asdict(one), "size": _finite(one.size), "step": one.step, "differs": one.differs}
                for one in found.differences
            ],
            "tried": found.tried,
        }

    def answer(self) -> str:
        """The diagnosis in a few sentences."""
        found = self.diagnosis
        if found.agrees:
            return "The port agrees with the reference."
        first = next(one for one in found.differences if one.differs)
        sentences = [f"The port differs from the reference, first in {first.name}."]
        sentences += [finding.cause for finding in found.findings]
        if found.left is not None:
            sentences.append(
                f"Nothing in the catalog explains the rest: {found.left.name} differs by {_size(found.left.size)}."
            )
        return " ".join(sentences)

    def summary(self) -> str:
        """The differences as a table, and the mistakes in sentences."""
        found = self.diagnosis
        width = max(len(one.name) for one in found.differences)
        lines = []
        for one in found.differences:
            size = f"{one.size:.1e}" if np.isfinite(one.size) else "-"
            verdict = "differs" if one.differs else "agrees"
            lines.append(f"{one.name:{width}}  {verdict:7}  {size:>8} (right ports: {one.tolerance:.0e})  {one.note}".rstrip())
        if found.agrees:
            lines.append("The port agrees with the reference.")
        for number, finding in enumerate(found.findings, 1):
            how = f"{finding.where}: {_size(finding.before)} -> {finding.after:.1e}"
            fit = (
                "this gives the port's numbers" if finding.fits else "this comes nearest, but does not give the port's numbers"
            )
            lines.append(f"{number}. {finding.cause} ({how}; {fit})")
            lines += [f"   The same numbers come of another mistake: {cause}" for cause in finding.alternatives]
        if not found.agrees and found.left is not None:
            lines.append(
                f"Nothing in the catalog explains the rest: {found.left.name} still differs by {_size(found.left.size)}."
            )
        lines.append(f"figures: {self.folder / 'diagnose.json'}, as a page: {self.folder / 'report.html'}")
        return "\n".join(lines)

    def write(self) -> None:
        """Writes diagnose.json, losses.png where there are losses, and report.html.

        Raises:
          InputError: the folder cannot be written to.
        """
        from tfinvert.reports import charts, page

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / "diagnose.json", json.dumps(self.figures(), indent=1) + "\n")
            if self.losses and np.isfinite(list(self.losses.values())).all():
                charts.write_two_curves(self.folder / "losses.png", self.losses)
            page.write(self.folder, "The diagnosis of a port", [page.Entry(self.folder, Path(self.about["port"]).name)])
        except OSError as error:
            raise InputError(f"cannot write to {self.folder}: {error.strerror or error}") from None


def _finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    return value if np.isfinite(value) else None


def _size(value: float) -> str:
    return f"{value:.1e}" if np.isfinite(value) else "another shape"


def run(settings: Settings) -> DiagnosisResult:
    """Compares the port with the reference, looks for its mistakes, and writes diagnose.json."""
    from tfinvert.comparison.diagnosis import bundle

    assert settings.reference is not None
    assert settings.port is not None
    reference = Path(settings.reference)
    ours, about = bundle.read_reference(reference), bundle.read_description(reference)
    theirs = _port(settings.port, ours, about)
    recipe = _recipe(ours, about)
    from tfinvert.comparison.diagnosis import search

    about |= {"image": recipe.settings.image[0], "reference": settings.reference, "port": settings.port}
    diagnosis = search.diagnose(recipe, theirs, settings.bound(), ours)
    result = DiagnosisResult(diagnosis, _words(about), _losses(theirs, ours), settings.run_folder())
    result.write()
    return result


def _words(about: dict[str, Any]) -> dict[str, str]:
    """What a diagnosis is of."""
    network = about["network"] if isinstance(about.get("network"), dict) else {}
    own = {name: str(network.get(name, "")) for name in ("network", "weights")}
    return own | {name: str(about[name]) for name in ("image", "reference", "port")}


def _losses(theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """The losses of the port and of the reference, as far as both have them."""
    both = {"port": theirs.get("losses"), "reference": ours.get("losses")}
    lists = {name: losses.tolist() for name, losses in both.items() if losses is not None and losses.ndim == 1}
    count = min(map(len, lists.values())) if len(lists) == len(both) else 0
    return {name: losses[:count] for name, losses in lists.items() if count > 1}


def _recipe(ours: dict[str, np.ndarray], about: dict[str, Any]) -> Any:
    """The recipe of the run that a reference is of; raises InputError where it cannot be computed again."""
    from tfinvert.experiments.reference import Settings as ReferenceSettings
    from tfinvert.networks.load import from_settings
    from tfinvert.settings import flags
    from tfinvert.system.tensorflow import import_tensorflow

    values = flags.values(ReferenceSettings, about["flags"])
    settings = ReferenceSettings(**ReferenceSettings.complete(values))
    network = from_settings(settings)
    import_tensorflow()
    from tfinvert.comparison.diagnosis import recipe
    from tfinvert.optimization import presets

    layers = {name: network.layers[name] for name in settings.layers if name in network.layers}
    if len(layers) < len(settings.layers):
        raise InputError(
            f"the reference is of the layers {', '.join(settings.layers)}; expected layers that have a name in {network.name}"
        )
    resolved = presets.resolve(settings, layers, network.size)
    return recipe.from_settings(resolved, network, ours["target"], ours["start"], len(ours["losses"]) - 1)


def _port(port: str, ours: dict[str, np.ndarray], about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a port, from wherever they are."""
    from tfinvert.comparison.diagnosis import bundle
    from tfinvert.runs.directory import RunDirectory

    path = Path(port)
    if path.is_dir():
        lines = RunDirectory(path).read_metrics()
        if not lines or [line["step"] for line in lines] != list(range(len(lines))):
            raise InputError(f"{port} has no loss for each step; make the run with --save_every=1")
        count = min(len(lines), MOST_STEPS)
        return {"losses": np.array([line["loss"] for line in lines[:count]])}
    if path.exists():
        return bundle.read_arrays(path)
    function: Callable[..., Any] = load_function("--port", port)
    losses, images = [], {}
    for step, made in enumerate(
        function(ours["start"].copy(), ours["target"].copy(), {**about.get("settings", {}), "flags": about["flags"]})
    ):
        loss, image = made if isinstance(made, tuple) else (made, None)
        losses.append(float(loss))
        if image is not None and step and step % 10 == 0:
            images[f"images/{step}"] = bundle.as_float("images", image)
        if step + 1 == MOST_STEPS:
            break
    if not losses:
        raise InputError(f"{port} yields nothing; expected (loss, image) before each update")
    return {"losses": np.array(losses), **images}
