"""The runs that the viewer finds, how they stand, and how many it bears."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.reports.viewer import writing
from tfinvert.images import files as images
from tfinvert.reports.viewer.catalog import Catalog


def test_runs_are_found_wherever_they_lie(tmp_path, viewer):
    for name in ("a", "b/c", "b/d/e"):
        writing.whole(viewer.folder / name)
    (viewer.folder / "b" / "notes.txt").write_text("no run")
    runs = viewer.json("/api/runs")["runs"]
    assert [run["name"] for run in runs] == ["b/d/e", "b/c", "a"]  # the one that began last first
    assert (runs[0]["network"], runs[0]["layers"], runs[0]["state"]) == ("resnet18", ["res2"], "finished")
    assert runs[0]["latest"]["path"] == "final.png"
    assert runs[0]["figures"]["psnr"] == 30


def test_a_folder_that_is_a_run_itself_is_shown(tmp_path):
    writing.whole(tmp_path)
    catalog = Catalog(tmp_path)
    assert catalog.names() == ["."]
    assert catalog.card(".")["finished"]


def test_runs_are_searched_by_what_they_are_of(viewer):
    writing.whole(viewer.folder / "a", layer="conv1", network="alexnet")
    writing.whole(viewer.folder / "b", layer="res3")
    writing.whole(viewer.folder / "c", experiment="saliency", tv_weight=0.25)
    for query, names in (
        ("alexnet", "a"),
        ("RES3 resnet", "b"),
        ("saliency", "c"),
        ("chelsea", "cba"),
        ("tv_weight=0.25", "c"),
        ("no", ""),
    ):
        found = viewer.json(f"/api/runs?query={query.replace(' ', '%20')}")
        assert "".join(run["name"] for run in found["runs"]) == names
        assert found["total"] == len(names)
    assert [run["name"] for run in viewer.json("/api/runs?offset=1&count=1")["runs"]] == ["b"]
    assert len(viewer.json("/api/runs?offset=x&count=-1")["runs"]) == 3  # what is no number counts as missing


def test_a_run_is_shown_as_it_stands(viewer, monkeypatch):
    run = writing.begin(viewer.folder / "run")
    assert viewer.run("run")["state"] == "running"
    writing.step(run, 10)
    time.sleep(0.5)
    now = viewer.run("run")
    assert (now["step"], now["steps"], now["latest"]["path"]) == (10, 100, "images/000010.png")
    assert now["metrics"][-1]["psnr"] == 12
    assert now["stepImages"][0]["step"] == 10
    long_ago = time.time() - 3600
    for path in (run.path, *run.path.rglob("*")):
        os.utime(path, (long_ago, long_ago))
    time.sleep(0.5)
    assert viewer.run("run")["state"] == "unfinished"
    run.write_info({**run.read_info(), "stopped": "at step 10"})
    time.sleep(0.5)
    assert viewer.run("run")["state"] == "stopped"
    assert viewer.run("run")["stopped"] == "at step 10"


def test_images_that_belong_together_are_in_one_row(viewer):
    run = writing.begin(viewer.folder / "run", experiment="saliency")
    run.target.unlink()
    for place, name in enumerate(("00-image", "01-image", "00-gradient", "01-gradient", "01-gradient-overlay")):
        path = run.images / f"{name}.png"
        images.save(path, writing.TARGET)
        os.utime(path, ns=(place, place))
    rows = viewer.run("run")["rows"]
    assert [[(panel["caption"], panel["map"]) for panel in row] for row in rows] == [
        [("image", False), ("gradient", True)],
        [("image", False), ("gradient", True)],
        [("image", False), ("gradient, overlay", False)],
    ]
    assert [row[0]["path"] for row in rows] == ["images/00-image.png", "images/01-image.png", "images/01-image.png"]


def test_changes_are_told_by_the_file_system(tmp_path):
    catalog = Catalog(tmp_path)
    version, names = catalog.changes(0)
    assert names == []
    run = writing.begin(tmp_path / "run")
    for change in (lambda: None, lambda: writing.step(run, 1), lambda: writing.end(run), lambda: shutil.rmtree(run.path)):
        change()
        time.sleep(0.5)
        before = version
        version, names = catalog.changes(before)
        assert (version > before, names) == (True, ["run"])
    time.sleep(0.5)
    assert catalog.changes(version) == (version, [])
    assert catalog.card("run") is None


def test_the_command_repeats_the_run(viewer):
    writing.whole(viewer.folder / "run", image="my photo's.jpg")
    assert "--image=my photo" in viewer.run("run")["command"].replace("'", "").replace('"', "")
    assert viewer.run("run")["command"].startswith("tfinvert invert ")


def test_layers_are_in_the_order_of_the_network(viewer):
    writing.sweep(viewer.folder / "sweep", layers=("z", "y", "x", "w"))
    writing.whole(viewer.folder / "alone" / "run")
    (found,) = viewer.json("/api/sweeps")["sweeps"]
    assert (found["name"], found["layers"]) == ("sweep", ["z", "y", "x", "w"])
    sweep = viewer.json("/api/layers/sweep")
    assert [run["layer"]["name"] for run in sweep["runs"]] == ["z", "y", "x", "w"]
    assert [run["reads"] for run in sweep["runs"]] == [[], ["z"], ["z", "y"], ["y", "x"]]
    (viewer.folder / "sweep" / "graph.json").write_text('{"z": 3, "y": ["z", 5, "nowhere"]}')
    sweep = viewer.json("/api/layers/sweep")
    assert sweep["runs"][0]["reads"] == ["z"]
    assert viewer.get("/api/layers/alone")[0] == 404


@pytest.mark.parametrize("damage", range(len(writing.DAMAGES)))
def test_a_damaged_run_is_shown_with_what_is_left(viewer, damage):
    run = writing.whole(viewer.folder / "run")
    writing.DAMAGES[damage](run)
    (card,) = viewer.json("/api/runs")["runs"]
    whole = viewer.run("run")
    assert card["name"] == whole["name"] == "run"
    assert all(file["path"] != "target.png" for file in whole["files"]) == run.target.is_symlink()
    viewer.json("/api/sweeps")


def test_a_run_that_is_deleted_while_it_is_shown_is_gone(viewer):
    writing.whole(viewer.folder / "run")
    assert viewer.get("/api/run/run")[0] == 200
    shutil.rmtree(viewer.folder / "run")
    assert viewer.get("/api/run/run")[0] in (200, 404)  # up to the next look
    time.sleep(0.5)
    assert viewer.get("/api/run/run")[0] == 404
    assert viewer.json("/api/runs")["runs"] == []


CODE = """
import re, sys, time, urllib.request
from pathlib import Path
from tfinvert.reports.viewer import server
with server.serving(Path(sys.argv[1])) as address:
    processor, wall = time.process_time(), time.perf_counter()
    for path in ("", "api/runs?query=&count=60"):
        urllib.request.urlopen(address + path).read()
    first = time.process_time() - processor, time.perf_counter() - wall
    for path in ("api/sweeps", "api/runs?query=resnet18%20res2&count=300", "api/runs?query=&count=300"):
        urllib.request.urlopen(address + path).read()
    print(*first, int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the largest memory is read from /proc")
def test_two_thousand_runs_are_there_in_a_second(tmp_path):
    writing.many(tmp_path, 2000)
    done = subprocess.run([sys.executable, "-c", CODE, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    processor, wall, memory = map(float, done.stdout.split())
    print(f"first page of 2,000 runs: {processor:.2f} s of a processor, {wall:.2f} s; {memory:.0f} MB")
    assert processor < 1  # the time on a clock depends on what else the machine does
    assert memory < 200
