"""Where runs go: default folders are numbered, and what is there is never overwritten silently."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tfinvert.experiments import compare, fool, invert, report, suite, sweep
from tfinvert.runs import places
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings import flagfiles
from tfinvert.system.errors import InputError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def settings(kind=invert, **values):
    return kind.Settings(**values)


def make_run(path, of, *, finished=True):
    run = RunDirectory(path)
    run.create(flagfiles.text(of), {"result": {}} if finished else {}, resume=False)
    return run


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        (settings(), "out/invert/vgg16-bn-conv3_1-astronaut"),
        (
            settings(onnx="a/my net.onnx", layers=("fire2/expand3x3", "y"), image="b/c.jpg"),
            "out/invert/my_net-fire2_expand3x3+y-c",
        ),
        (settings(fool, image="chelsea"), "out/fool/squeezenet1.1-chelsea"),
        (settings(sweep, image=("a.png", "b.png", "c.png")), "out/sweep/vgg16-bn-a+2"),
        (settings(suite, questions=("q2", "x/mine.flags")), "out/suite/q2+mine"),
        (settings(report, runs=("out/q1", "out/q4")), "out/report/q1+q4"),
        (settings(output_dir="x/y"), "x/y"),
    ],
)
def test_the_default_folder_says_what_the_run_is(given, folder):
    assert str(given.run_folder()) == folder


def test_other_settings_get_the_next_number():
    first, second, third = settings(steps=1), settings(steps=2), settings(steps=3)
    folder = first.run_folder()
    assert places.choose(first) == folder
    make_run(folder, first)
    assert places.choose(second) == folder.with_name(f"{folder.name}-2")
    make_run(folder.with_name(f"{folder.name}-2"), second)
    assert places.choose(third) == folder.with_name(f"{folder.name}-3")
    assert [places.choose(one).name[-2:] for one in (first, second)] == ["ut", "-2"]


def test_files_that_are_no_run_are_passed_by():
    folder = settings().run_folder()
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("precious")
    assert places.choose(settings()).name == f"{folder.name}-2"
    folder.with_name(f"{folder.name}-2").write_text("a file")
    assert places.choose(settings()).name == f"{folder.name}-3"


def test_the_same_run_is_found_wherever_it_is():
    run = settings(steps=7)
    make_run(run.run_folder().with_name(f"{run.run_folder().name}-12"), run)
    found = places.find(run, numbered=True, finished=True)
    assert found.path.name.endswith("-12")
    assert places.is_finished(found, run)
    assert not places.is_finished(found, settings(steps=7, overwrite=True))


def test_a_run_that_was_stopped_is_not_started_again_silently():
    run = settings(steps=7)
    make_run(run.run_folder(), run, finished=False).checkpoints.mkdir()
    with pytest.raises(InputError, match="is not finished; --resume continues it, --overwrite starts it again"):
        places.find(run, numbered=True, finished=True)
    for way in ("resume", "overwrite"):
        assert places.find(settings(steps=7, **{way: True}), numbered=True, finished=True).path == run.run_folder()


def test_resume_never_takes_a_run_with_other_settings():
    make_run(settings().run_folder(), settings(seed=7), finished=False)
    with pytest.raises(InputError, match="--seed=9, was 7"):
        places.find(settings(seed=9, resume=True), numbered=True, finished=True)


def test_a_folder_that_is_taken_meanwhile_is_left_to_the_other():
    run, other = settings(steps=1), settings(steps=2)
    path = places.choose(run)
    assert places.choose(other) == path
    with places.claimed(other, path, numbered=True) as first, places.claimed(run, path, numbered=True) as second:
        assert (first.path, second.path.name) == (path, f"{path.name}-2")
    make_run(path, other)
    with places.claimed(run, path, numbered=True) as third:
        assert third.path.name == f"{path.name}-2"


PROGRAM = """
import sys
from tfinvert.experiments import invert
from tfinvert.runs import places
from tfinvert.settings import flagfiles
settings = invert.Settings(steps=int(sys.argv[1]))
path = places.choose(settings)
print("ready", flush=True)
sys.stdin.readline()
with places.claimed(settings, path, numbered=True) as directory:
    directory.create(flagfiles.text(settings), {}, resume=False)
print(directory.path)
"""


def test_two_processes_never_get_one_folder():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {"PYTHONPATH": str(ROOT)}}
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(number)], **pipes) for number in (1, 2, 3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3  # each has chosen the same folder
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    folders = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert len(set(folders)) == 3
    for number, folder in enumerate(folders, 1):
        assert f"--steps={number}\n" in RunDirectory(Path(folder)).flags.read_text()


def test_a_sweep_goes_on_in_its_own_folder_only():
    first, other = settings(sweep), settings(sweep, model="resnet18", output_dir="out/mine")
    with places.claimed(first, places.choose(first), numbered=True) as directory:
        assert (directory.path / places.SHARED_FLAGS).exists()
    with places.claimed(first, places.choose(first), numbered=True) as again:
        assert again.path == directory.path
    with places.claimed(other, other.run_folder(), numbered=False):
        pass
    changed = settings(sweep, model="alexnet", output_dir="out/mine")
    with (
        pytest.raises(InputError, match=r"out/mine holds a run with other settings \(--model=alexnet, was resnet18\)"),
        places.claimed(changed, changed.run_folder(), numbered=False),
    ):
        pass


def test_a_comparison_is_never_replaced_by_another():
    same = settings(compare)
    folders = []
    for _ in range(2):
        with places.claimed(same, places.choose(same), numbered=True) as directory:
            folders.append(directory.path.name)
    assert folders == [same.run_folder().name, f"{same.run_folder().name}-2"]
    named = settings(compare, output_dir=f"out/compare/{folders[0]}")
    with pytest.raises(InputError, match="a comparison already"), places.claimed(named, named.run_folder(), numbered=False):
        pass
