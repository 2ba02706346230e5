"""Compare methods over networks, layers and photographs: which inverts best, how fast, and which layer keeps what.

Example:
  >>> import tfinvert
  >>> result = tfinvert.benchmark(networks=["resnet18"], methods=["auto", "mv2015"], output_dir="out/mine")  # doctest: +SKIP
  >>> print(result.summary())  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tfinvert.experiments.benchmark import methods, photographs
from tfinvert.experiments.benchmark.suites import SUITES, Suite
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import FIXED_SIZE, POOLS, WEIGHTS, FolderSettings
from tfinvert.system.errors import InputError


@define
class Settings(FolderSettings):
    """The benchmark"""

    positional: ClassVar[tuple[str, ...]] = ("networks", "methods", "image")
    arguments: ClassVar[tuple[str, ...]] = ("others",)
    # What a benchmark holds may grow: networks, layers, images and methods are not what tells one from another.
    suite: str = setting(
        default="small",
        doc="Networks, layers, methods, number and pixels of photographs, where no flag names them: small or full.",
        choices=tuple(SUITES),
        placement=True,
    )
    networks: tuple[str, ...] = setting(
        default=(), doc="Networks of the zoo, and .onnx files. Default: those of --suite.", file=True, placement=True
    )
    layers: tuple[str, ...] = setting(
        default=(),
        doc="Layers by name, of each network that has them; strides for the last layer of each stride from 4 on; or all. "
        "Default: as --suite says.",
        placement=True,
    )
    image: tuple[str, ...] = setting(
        default=(),
        doc="Image files, a folder of images, or a set of photographs that come with packages: reporting, or tuning for what "
        "is to be chosen. Default: the first of those for reporting, as many as --suite says.",
        file=True,
        aliases=("images", "pictures"),
        placement=True,
    )
    methods: tuple[str, ...] = setting(
        default=(),
        doc="Methods, or .py files with one of your own; the others are compared with the first. own means all that come with "
        "tfinvert and need no other package; all adds the rivals. Default: as --suite says.",
        placement=True,
    )
    rivals: str | None = setting(
        default=None,
        doc="A folder with a Python environment for each rival, or with one for all of them. Rivals are methods that run by "
        "the code of another package.",
        file=True,
        placement=True,
    )
    longest: float = setting(
        default=10.0, doc="A method is ended after this many times the time of the first one.", at_least=1, placement=True
    )
    jobs: int = setting(
        default=1, doc="Number of layers that are measured at once, each on a processor of its own.", at_least=1, placement=True
    )
    batch: int = setting(
        default=1, doc="Number of images that go through a network together. Their time is shared out.", at_least=1
    )
    judge: str | None = setting(
        default=None,
        doc="torchvision's trained AlexNet or SqueezeNet 1.1 as an .onnx file, for LPIPS. Default: the first of the networks "
        "that is one; without it there is no LPIPS.",
        file=True,
        placement=True,
    )
    weights: str = setting(default="auto", doc="As for --experiment=invert: auto, pretrained or random.", choices=WEIGHTS)
    pool: str = setting(default="max", doc="max keeps the networks' pooling, avg averages instead.", choices=POOLS)
    size: tuple[int, int] | None = setting(
        default=None,
        doc="Pixels of the images. Default: each network's own size, but 112 for the networks of --suite=small.",
        size=True,
    )
    resize: str = setting(
        default="crop",
        doc="crop cuts off what does not fit the network's proportions. squash changes the image's.",
        choices=FIXED_SIZE,
    )
    seed: int = setting(default=12345, doc="Seed of the methods' random numbers.", at_least=0)
    compare: str | None = setting(
        default=None,
        doc="Measure nothing, and compare this benchmark.json with another one.",
        file=True,
        placement=True,
    )
    others: str | None = setting(
        default=None,
        doc="The other benchmark.json for --compare. It may stand on the command line without a flag.",
        file=True,
        placement=True,
    )

    @property
    def has_folder(self) -> bool:  # type: ignore[override]
        return self.compare is None

    def check(self) -> None:
        super().check()
        if (self.compare is None) != (self.others is None):
            raise InputError("--compare expects two files: --compare A.json B.json")
        for name in self.method_names():
            methods.find(name)

    def name_parts(self) -> list[str]:
        return [self.suite, *(Path(name).stem for name in self.networks)]

    def how_to_go_on(self) -> str:
        return "the same command goes on"

    def suite_of(self) -> Suite:
        """The suite, with what the flags name instead."""
        suite = SUITES[self.suite]
        return dataclasses.replace(
            suite,
            networks=self.networks or suite.networks,
            layers=self.layers or suite.layers,
            methods=self.methods or suite.methods,
            size=self.size or (None if self.networks else suite.size),
        )

    def method_names(self) -> tuple[str, ...]:
        """The methods, the one that the others are compared with first."""
        return methods.expand(self.suite_of().methods)

    def files(self) -> dict[str, str]:
        """Name -> image file."""
        chosen, count = self.image or (photographs.REPORTING,), None if self.image else self.suite_of().photographs
        files = photographs.expand(chosen, count)
        photographs.check_sets(files)
        return files


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """A benchmark, or a comparison of two.

    Attributes:
      text: the tables in Markdown.
      path: the page, or None for a comparison.
      data: what benchmark.json holds; empty for a comparison.
      failed: the cells that failed, with their errors.
    """

    text: str
    path: Path | None
    data: Mapping[str, Any]
    failed: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """1 where a cell failed, else 0."""
        return 1 if self.failed else 0

    def summary(self) -> str:
        """The tables, what failed, and where the page is."""
        errors = [f"{name}: {error}" for name, error in self.failed.items()]
        return "\n\n".join([self.text.rstrip(), *errors, *([f"page: {self.path}"] if self.path else [])])


def run(settings: Settings, progress: bool) -> BenchmarkResult:
    """Computes the cells that are missing, and then writes benchmark.json, benchmark.html, benchmark.md and benchmark.tex."""
    from tfinvert.experiments.benchmark import comparison, jobs, page, summary, tables
    from tfinvert.system.files import write_text

    if settings.compare is not None:
        assert settings.others is not None
        return BenchmarkResult(comparison.compare(Path(settings.compare), Path(settings.others)), None, {}, {})
    plan = jobs.make_plan(settings)
    folder = settings.run_folder()
    jobs.run_all(plan, folder, settings.jobs, progress=progress)
    data, failed = summary.collect(plan, folder)
    write_text(folder / "benchmark.json", summary.as_json(data))
    text = tables.markdown(data)
    write_text(folder / "benchmark.md", text)
    write_text(folder / "benchmark.tex", tables.latex(data))
    return BenchmarkResult(text, page.write(folder, data), data, failed)
