"""The benchmark: cells, tables, intervals and tests, methods of one's own and rivals in processes of their own."""

import json
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, run_program
from tfinvert import cli, runner
from tfinvert.experiments.benchmark import Settings, comparison, methods, photographs, rivals, summary, tables
from tfinvert.experiments.benchmark.cells import Cell
from tfinvert.experiments.benchmark.clock import Clock, TimeUpError
from tfinvert.system import child
from tfinvert.system.errors import InputError

# A method as docs/benchmark.md shows it.
MINE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "benchmark.md").read_text(), re.DOTALL)[1]
RIVAL = '''
"""Plain gradient descent in PyTorch."""

SOURCE = "a test"
PACKAGES = ("torch",)


def run(task):
    import torch

    target = task.network(task.image).detach()
    image = torch.full_like(task.image, 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([image], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.mean((task.network(image) - target) ** 2).backward()
        optimizer.step()
        task.clock.step(lambda: image.detach().numpy().transpose(0, 2, 3, 1))
    task.clock.take(lambda: image.detach().numpy().transpose(0, 2, 3, 1))
'''


@pytest.fixture(scope="module")
def measured(small_file, tmp_path_factory):
    """A benchmark of a tiny network: its folder, its flags, and what the program printed."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "mine.py").write_text(MINE)
    flags = (
        "benchmark",
        f"--networks={small_file}",
        "--layers=conv1_1",
        "--image=astronaut,chelsea",
        f"--methods=homework,{folder / 'mine.py'}",
        "--batch=2",
        f"--output_dir={folder / 'out'}",
    )
    done = run_program(*flags)
    assert done.returncode == 0, done.stderr
    return folder, flags, done.stdout


def test_a_benchmark_has_a_cell_for_each_image_and_method(measured):
    folder, flags, printed = measured
    data = json.loads((folder / "out" / "benchmark.json").read_text())
    found = {(cell["layer"], cell["image"], cell["method"]) for cell in data["cells"]}
    names = ("homework", "mine", "grey", "mean")
    assert found == {("conv1_1", image, name) for image in ("astronaut", "chelsea") for name in names}
    assert [method["name"] for method in data["methods"]] == list(names)
    homework = next(cell for cell in data["cells"] if cell["method"] == "homework")
    assert [point["step"] for point in homework["curve"]] == [2, 4, 8, 16, 32, 64, 128, 256, 450]
    assert homework["curve"][-1]["normalized_feature_error"] < 0.1 * homework["curve"][0]["normalized_feature_error"]
    assert {"psnr", "ssim", "image_error", "feature_cosine", "top_1", "kl_divergence"} <= set(homework["curve"][-1])
    assert "PSNR" in printed
    for name in ("benchmark.md", "benchmark.tex", "benchmark.html"):
        assert "homework" in (folder / "out" / name).read_text()
    assert (folder / "out" / "cells" / "net" / "conv1_1" / "chelsea" / "mine-at-equal-time.png").exists()
    # What is there is not computed again.
    cells = {path: path.stat().st_mtime_ns for path in (folder / "out" / "cells").rglob("*.json")}
    assert run_program(*flags).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "out" / "cells").rglob("*.json")} == cells


@pytest.mark.slow
def test_a_rival_runs_the_same_network_in_a_process_of_its_own_and_is_added_to_what_is_there(measured):
    folder, flags, _ = measured
    (folder / "rival.py").write_text(RIVAL)
    python = folder / "environments" / "rival" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    cells = {path: path.stat().st_mtime_ns for path in (folder / "out" / "cells").rglob("*.json")}
    # A longer time computes again only what was cut by the shorter one, which nothing was.
    more = (f"--methods=homework,{folder / 'rival.py'}", "--image=chelsea", "--longest=1000")
    more += (f"--rivals={folder / 'environments'}",)
    done = run_program(*flags, *more)
    assert done.returncode == 0, done.stderr
    after = {path: path.stat().st_mtime_ns for path in (folder / "out" / "cells").rglob("*.json")}
    assert {path: after[path] for path in cells} == cells
    assert [path.stem for path in after.keys() - cells.keys()] == ["rival"]
    data = json.loads((folder / "out" / "benchmark.json").read_text())
    curve = next(cell["curve"] for cell in data["cells"] if cell["method"] == "rival")
    # It descends from an even grey to the target of its own process, and is measured with TensorFlow. It ends where the
    # network's ReLUs are at 0 and pass no gradient. When its first point is taken depends on the speed of the machine.
    grey = next(cell["curve"] for cell in data["cells"] if (cell["image"], cell["method"]) == ("chelsea", "grey"))
    assert curve[-1]["normalized_feature_error"] < 0.1 * grey[-1]["normalized_feature_error"]
    assert curve[-1]["step"] <= 60


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--methods=mv2017",), "unknown --methods 'mv2017'"),
        (("--layers=conv9",), "no network has the layer conv9"),
        (("--methods=plenoptic",), "the method plenoptic needs --rivals"),
        (("--methods=plenoptic", "--rivals=nowhere"), "is no Python environment; make it: python -m venv"),
        (("--compare=a.json",), "--compare expects two files"),
        (("--image=nowhere.png",), "there is no image 'nowhere.png'"),
    ],
)
def test_a_benchmark_says_what_is_wrong_before_it_begins(flags, message, small_file, tmp_path):
    arguments = ["benchmark", f"--networks={small_file}", "--layers=conv1_1", f"--output_dir={tmp_path / 'out'}", *flags]
    with pytest.raises(InputError, match=message):
        runner.execute(*cli.parse(arguments))


def test_two_benchmarks_are_compared(measured, tmp_path):
    folder, _, _ = measured
    first = folder / "out" / "benchmark.json"
    data = json.loads(first.read_text())
    for cell in data["cells"]:
        cell["curve"][-1]["psnr"] += 1.0
    second = tmp_path / "second.json"
    second.write_text(json.dumps(data))
    (run,) = runner.execute(*cli.parse(["benchmark", "--compare", str(first), str(second)]))
    row = next(line for line in run.result.text.splitlines() if line.startswith("| homework | PSNR"))
    before, after = (float(text) for text in row.split("|")[4:6])
    assert after - before == pytest.approx(1, abs=0.11)
    with pytest.raises(InputError, match=r"is no benchmark\.json"):
        comparison.compare(first, folder / "mine.py")


def test_a_cell_that_was_cut_is_computed_again_for_a_longer_time_alone(tmp_path):
    cut, ended = (Cell("net", "res2", "a", name) for name in ("cut", "ended"))
    cut.write(tmp_path, {"key": "k", "cut": 2.0, "curve": []})
    ended.write(tmp_path, {"key": "k", "curve": []})
    assert [cut.is_there(tmp_path, "k", longest) for longest in (1.0, 2.0, 10.0)] == [True, True, False]
    assert ended.is_there(tmp_path, "k", 10.0)
    assert not ended.is_there(tmp_path, "another key", 1.0)
    assert not Cell("net", "res2", "b", "cut").is_there(tmp_path, "k", 1.0)


# ------------------------------------------------------------------------------------------------------------------ the clock


def clock_of(seconds, **options):
    """A clock whose processor time goes through `seconds`, one at each look at it."""
    looks = iter(seconds)
    return Clock(now=lambda: (next(looks),) * 2, **options)


def test_a_clock_leaves_out_what_comes_before_the_first_step_and_what_is_done_within_a_step():
    # Made at 0; the first step ends at 100, tracing included; within each step, 7 s go by that do not count.
    clock = clock_of([0, 100, 107, 109, 116, 119, 126], times=(2.0, 6.5))
    for number in range(3):
        clock.step(lambda number=number: np.full((1, 1, 1, 3), number))
    assert [(one.step, one.seconds) for one in clock.snapshots] == [(2, 4.0), (3, 7.0)]  # the first counts as the second's 2 s
    assert clock.snapshots[0].images[0, 0, 0, 0] == 1


def test_a_clock_ends_a_method_whose_time_is_up():
    clock = clock_of([0, 1, 1, 3, 3, 5, 5], times=(100.0,), limit=3.0, images=1)
    clock.step(lambda: np.zeros((1, 1, 1, 3)))
    with pytest.raises(TimeUpError):
        clock.step(lambda: np.ones((1, 1, 1, 3)))
    assert [(one.step, one.seconds) for one in clock.snapshots] == [(2, 4.0)]


def test_a_clock_shares_the_time_of_a_batch():
    clock = clock_of([0, 1, 1, 3, 3], images=2)
    clock.step(lambda: np.zeros((2, 1, 1, 3)))
    clock.step(lambda: np.zeros((2, 1, 1, 3)))
    assert clock.snapshots[-1].seconds == 2.0


# ------------------------------------------------------------------------------------------------------- means, shares, tables


def cell(image, method, *points, layer="res2"):
    """A cell with the points (seconds, PSNR, error)."""
    curve = [
        {"step": 10 * n, "seconds": s, "wall_seconds": s, "psnr": psnr, "normalized_feature_error": error}
        for n, (s, psnr, error) in enumerate(points, 1)
    ]
    return {"network": "net", "layer": layer, "image": image, "method": method, "curve": curve}


CELLS = [
    cell("a", "auto", (1.0, 10.0, 0.5), (2.0, 20.0, 0.1)),
    cell("b", "auto", (1.0, 10.0, 0.5), (4.0, 24.0, 0.2)),
    cell("a", "other", (1.5, 15.0, 0.4), (3.0, 18.0, 0.3), (20.0, 30.0, 0.01)),
    cell("b", "other", (1.5, 15.0, 0.4), (3.0, 26.0, 0.1)),
]


def test_rows_have_means_at_equal_time_and_at_the_end():
    auto, other = summary.rows(CELLS, ["auto", "other"])
    assert auto["last step"]["psnr"]["mean"] == 22.0
    assert (auto["last step"]["psnr"]["low"], auto["last step"]["psnr"]["high"]) == (20.0, 24.0)
    # Equal time is the median of auto's 2 and 4 s.
    assert other["equal time"]["psnr"]["mean"] == (18.0 + 26.0) / 2
    assert other["last step"]["psnr"]["mean"] == (30.0 + 26.0) / 2


def test_pairs_have_the_share_of_cells_in_which_the_first_is_better():
    equal, end = summary.pairs(CELLS, ["auto", "other"])
    assert (equal["cells"], equal["at"], end["at"]) == (2, "equal time", "last step")
    assert equal["figures"]["psnr"]["share"] == 0.5  # 20 beside 18, 24 beside 26
    assert equal["figures"]["normalized_feature_error"]["share"] == 0.5
    assert end["figures"]["psnr"]["share"] == 0.0
    mean = (math.log(0.01 / 0.1) + math.log(0.1 / 0.2)) / 2
    assert end["figures"]["normalized_feature_error"]["mean"] == pytest.approx(mean)


def test_the_tables_say_how_many_were_ended_before_their_last_step():
    cells = [CELLS[0], CELLS[1], {**CELLS[2], "cut": 10.0}, CELLS[3]]
    equal, end = summary.pairs(cells, ["auto", "other"])
    assert (equal["cut"], end["cut"]) == (0, 1)
    data = {"pairs": [equal, end], "rows": summary.rows(cells, ["auto", "other"])}
    assert [row[0] for row in tables.shares(data)[1]] == [
        "other, at equal time",
        "other, at its last step (1 of 2 ended by --longest)",
    ]
    assert "other, to its last step (1 of 2 ended by --longest)" in [row[1] for row in tables.means(data)[1]]


def test_the_test_between_methods_has_one_value_for_each_image():
    cells = [
        cell(image, method, (1.0, psnr + layer, 0.1), layer=f"res{layer}")
        for image in "abcdef"
        for layer in (1, 2)
        for method, psnr in (("auto", 21.0 + ord(image) / 100), ("other", 20.0))
    ]
    (equal,) = summary.pairs(cells, ["auto", "other"])  # they end at the same time
    assert equal["cells"] == 12
    assert equal["figures"]["psnr"]["p"] == pytest.approx(2 / 2**6)  # all of six images: the smallest that Wilcoxon's test has


def test_the_best_mean_is_bold_in_markdown_and_latex():
    data = {
        "images": [{"name": "a"}, {"name": "b"}],
        "time": "seconds",
        "machine": {"processor": "", "system": "Linux"},
        "rows": summary.rows(CELLS, ["auto", "other"]),
        "pairs": summary.pairs(CELLS, ["auto", "other"]),
    }
    text = tables.markdown(data)
    assert "| net res2 | other, to its last step | **0.055**" in text
    assert r"50 \%" in tables.latex(data)
    assert r"\textbf{0.055}" in tables.latex(data)


# ------------------------------------------------------------------------------------------------------- methods, photographs


@pytest.mark.parametrize("name", methods.names())
def test_every_method_says_what_it_is_and_where_it_comes_from(name):
    described = methods.find(name).describe()
    assert described["what"].endswith(".")
    assert len(described["source"]) > 10
    assert methods.is_rival(name) == bool(described["packages"])


def test_own_stands_for_the_methods_that_need_no_other_package():
    assert methods.expand(("own",))[0] == "auto"
    assert "plenoptic" not in methods.expand(("own",))
    assert "plenoptic" in methods.expand(("all",))
    assert methods.expand(("mv2015", "own"))[0] == "mv2015"


def test_the_photographs_were_divided_once():
    tuning, reporting = (photographs.SETS[name] for name in ("tuning", "reporting"))
    assert (len(tuning), len(reporting)) == (8, 12)
    assert not {one.name for one in tuning} & {one.name for one in reporting}
    files = photographs.expand(("reporting",))
    assert len(files) == 12  # those that come with packages that tfinvert needs anyway
    for file in files.values():
        with Image.open(file) as image:
            assert min(image.size) >= 190
    with pytest.raises(InputError, match="for tuning and for reporting"):
        photographs.check_sets(photographs.expand(("astronaut", "chelsea")) | {"x": str(tuning[0].path())} | files)


def test_a_suite_says_how_many_photographs_there_are_where_no_flag_names_them():
    assert [len(Settings(**given).files()) for given in ({}, {"image": ("reporting",)}, {"suite": "full"})] == [4, 12, 12]


def test_the_small_suite_has_small_images_of_its_own_networks():
    sizes = [Settings(**given).suite_of().size for given in ({}, {"networks": ("a",)}, {"size": (64, 64)}, {"suite": "full"})]
    assert sizes == [(112, 112), None, (64, 64), None]


def test_a_rival_ends_with_the_process_that_started_it(tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'torch'")  # without it, a rival ends by itself
    done = subprocess.run(
        [sys.executable, "-m", rivals.MODULE, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, child.STARTED_BY_CHILD: "1"},
        stdin=subprocess.DEVNULL,  # at its end, as when the other process is gone
        check=False,
    )
    assert done.returncode == -signal.SIGTERM
