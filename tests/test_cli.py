"""The command line as a user meets it: help, mistakes, flagfiles."""

import dataclasses
import re
import subprocess
import sys

import pytest

import tfinvert
from tests.conftest import ROOT, run_program, tiny_graph, write_onnx
from tfinvert import cli, experiments
from tfinvert.experiments.invert import Settings
from tfinvert.settings import help_text, packaged
from tfinvert.settings.fields import shape, spec
from tfinvert.system.errors import InputError

FLAGFILES = sorted((ROOT / "flags").glob("*.flags"))


def parsed(*arguments):
    return cli.parse([str(argument) for argument in arguments])[1]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_names_every_experiment_without_tensorflow(arguments):
    done = run_program(*arguments)
    assert done.returncode == 0
    assert done.stderr == ""
    for name in experiments.names():
        assert f"  {name} " in done.stdout
    code = "import sys; from tfinvert import cli; cli.main(['x', '--help']); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("name", experiments.names())
def test_the_help_of_an_experiment_names_its_flags_without_tensorflow(name):
    code = f"import sys; from tfinvert import cli; cli.main(['x', '{name}', '--help']); sys.exit('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = [field.name for fields in help_text.groups(experiments.find(name).settings).values() for field in fields]
    assert re.findall(r"^  --(\w+)", done.stdout, re.MULTILINE) == shown
    every = {field.name for field in dataclasses.fields(experiments.find(name).settings) if spec(field).doc}
    assert set(shown) == every or "It also takes every flag of `tfinvert invert --help`" in " ".join(done.stdout.split())


@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_is_wrapped_to_the_terminal(columns):
    for arguments in (["--help"], ["invert", "--help"]):
        lines = run_program(*arguments, COLUMNS=columns).stdout.splitlines()
        assert max(map(len, lines)) <= int(columns)


def test_no_flags_give_the_defaults():
    assert parsed() == Settings()


def test_flags_become_settings():
    settings = parsed("--layers=conv1_1,fc6", "--layer_weights=1,0.5", "--size=100x200", "--resume", "--learning_rate=1e-2")
    assert settings.layers == ("conv1_1", "fc6")
    assert settings.layer_weights == (1.0, 0.5)
    assert settings.size == (100, 200)
    assert settings.resume
    assert settings.learning_rate == 0.01


@pytest.mark.parametrize("arguments", [["saliency", "--samples=3"], ["--experiment=saliency", "--samples=3"]])
def test_an_experiment_is_named_in_two_ways(arguments):
    experiment, settings = cli.parse(arguments)
    assert (experiment.name, settings.samples) == ("saliency", 3)


def test_a_flag_that_is_given_twice_is_said(tmp_path, caplog):
    (tmp_path / "a.flags").write_text("--steps=7\n")
    settings = parsed(
        "--image=a.png", "--layers=x", f"--flagfile={tmp_path / 'a.flags'}", "--steps=3", "--image=b.png", "--layers=x"
    )
    assert (settings.image, settings.steps) == (("b.png",), 3)
    assert caplog.messages == ["--image is given twice; the last one counts, --image=b.png"]


def test_a_working_directory_that_is_gone_is_named(tmp_path):
    (tmp_path / "gone").mkdir()
    code = f"import os, sys; os.rmdir({str(tmp_path / 'gone')!r}); from tfinvert import cli; sys.exit(cli.main(['tfinvert']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "gone", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "tfinvert: the working directory does not exist any more; change into another one\n"


def test_help_is_a_word_too(capsys):
    assert cli.main(["tfinvert", "help", "cache"]) == 0
    assert capsys.readouterr().out.startswith("tfinvert cache: ")


def test_a_flag_of_another_experiment_is_refused():
    with pytest.raises(InputError, match=r"--experiment=fool does not take --tv_weight\. Its flags: --attack, --bound, "):
        parsed("--experiment=fool", "--tv_weight=1")


def test_an_unknown_experiment_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="unknown --experiment 'salency'; expected one of: saliency"):
        parsed("--experiment=salency")


def test_listing_layers_lists_all_of_them():
    assert parsed("--experiment=layers").layers == ()
    assert parsed("--experiment=layers", "--layers=pool1").layers == ("pool1",)


def test_flagfiles_include_one_another_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = parsed(f"--flagfile={ROOT / 'flags' / 'q2.1.flags'}")
    assert (settings.tv_weight, settings.steps, settings.init) == (1.0, 2000, "noise")


HOMEWORK = {
    "baseline": {},
    "q1": {"learning_rate": 0.01},
    "q2.1": {"tv_weight": 1.0},
    "q2.2": {"tv_weight": 10.0},
    "q2.3": {"tv_weight": 0.1},
    "q3.1": {"layers": ("conv1_1",)},
    "q3.2": {"layers": ("pool5",)},
    "q3.3": {"layers": ("conv3_1", "fc6")},
    "q4": {"model": "resnet18", "layers": ("res2",)},
    "q4-middle1": {"model": "resnet18", "layers": ("middle1",)},
}


@pytest.mark.parametrize("name", HOMEWORK)
def test_the_homework_s_constants(name):
    """The original's: Adam at 1e-3 with epsilon 1e-8, 2000 steps, an image every 10, seed 12345, sum of |differences|."""
    homework = {
        "model": "vgg16-bn",
        "layers": ("conv3_1",),
        "pool": "avg",
        "winograd": "off",
        "resize": "squash",
        "size": (224, 224),
        "steps": 2000,
        "save_every": 10,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "epsilon": 1e-8,
        "schedule": "constant",
        "seed": 12345,
        "feature_loss": "mse",
        "tv_weight": 0.0,
        "tv_kind": "l1",
        "tv_reduction": "sum",
        "parameterization": "free",
        "init": "noise",
        "image": ("astronaut",),
        "weights": "auto",
    }
    expected = Settings(**{**homework, **HOMEWORK[name], "output_dir": f"out/{name}"})
    assert parsed(f"--flagfile={ROOT / 'flags' / name}.flags") == expected


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.stem)
def test_a_flagfile_opens_with_its_question_command_time_and_result(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert f"--flagfile=flags/{path.name}" in lines[1]
    assert lines[2].startswith("# Time: ")
    assert lines[3].startswith("# What comes out: ")
    assert len(flagged := [line for line in lines if line.startswith("--")]) == len(set(flagged))


WRONG = {bool: "perhaps", int: "abc", float: "1,5x", str: '"a'}  # texts that are no value of a type


@pytest.mark.parametrize("name", experiments.names())
def test_a_wrong_value_of_any_flag_is_answered_without_python_s_message(name):
    kind = experiments.find(name).settings
    for field in dataclasses.fields(kind):
        element, several, _ = shape(kind, field.name)
        if not spec(field).doc or (element is str and not several and not spec(field).choices and not spec(field).size):
            continue  # any text will do
        with pytest.raises(InputError) as caught:
            parsed(name, f"--{field.name}={WRONG[element]}")
        said = str(caught.value)
        assert f"--{field.name}" in said
        assert "expected" in said
        for leak in ("invalid literal", "could not convert", "Non-boolean", "unexpected end", "ValueError", "("):
            assert leak not in said.partition("expected")[0], said


def user_mistakes(folder):
    (folder / "text.png").write_text("no picture")
    (folder / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (folder / "busy").mkdir()
    (folder / "busy" / "thesis.txt").write_text("precious")
    write_onnx(tiny_graph(), folder / "net.onnx")
    return {
        "flag": ["--steps=-1"],
        "model": ["--model=vgg61"],
        "image": ["--image=text.png"],
        "start": ["--init=missing.png"],
        "pointer": ["--onnx=pointer.onnx"],
        "network": ["--onnx=missing.onnx"],
        "folder": ["--output_dir=busy"],
        "layer": ["--onnx=net.onnx", "--layers=conv9_9"],
        "small": ["--onnx=net.onnx", "--layers=fc2", "--size=32"],
    }


MISTAKES = ("flag", "model", "image", "start", "pointer", "network", "folder", "layer", "small")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_nothing_behind(mistake, tmp_path):
    arguments = user_mistakes(tmp_path)[mistake]
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    done = run_program("--weights=random", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("tfinvert: ")
    assert done.stderr.count("\n") == 1
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_the_version_is_said_in_one_line():
    done = run_program("--version")
    assert done.returncode == 0
    assert re.fullmatch(rf"tfinvert {re.escape(tfinvert.__version__)} \(Python [\d.]+, TensorFlow [\d.]+\)\n", done.stdout)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("photo.jpg", "'photo.jpg' is no experiment; did you mean --image=photo.jpg?"),
        ("a/net.onnx", "did you mean --onnx=a/net.onnx?"),
        ("mine.flags", "did you mean --flagfile=mine.flags?"),
        ("mine.py", "did you mean --experiment=mine.py?"),
        ("salency", "unknown experiment 'salency'; expected one of: saliency"),
    ],
)
def test_a_word_that_is_no_experiment(first, message):
    with pytest.raises(InputError, match=re.escape(message)):
        cli.parse([first])


@pytest.mark.parametrize(
    ("flag", "meant"), [("lr", "learning_rate"), ("iterations", "steps"), ("network", "model"), ("out", "output_dir")]
)
def test_the_usual_name_of_a_flag_is_answered_with_ours(flag, meant):
    with pytest.raises(InputError, match=f"does not take --{flag}; did you mean --{meant}\\?"):
        cli.parse([f"--{flag}=1"])


def test_flagfiles_have_names():
    assert parsed("--flagfile=q2.1") == parsed(f"--flagfile={ROOT / 'flags' / 'q2.1.flags'}")
    assert parsed("demo") == parsed("--flagfile=quickstart.flags")
    with pytest.raises(InputError, match=r"cannot read the flagfile q9: .*; expected a file, or one of baseline, q1, "):
        parsed("--flagfile=q9")


def test_a_flagfile_named_like_a_packaged_one_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q1").write_text("--steps=7\n")
    assert parsed("--flagfile=q1").steps == 7


def test_the_examples_are_listed_and_printed():
    listed = run_program("examples").stdout
    assert [line.split()[0] for line in listed.splitlines()[2:]] == packaged.names()
    assert sorted(packaged.names()) == sorted(path.stem for path in FLAGFILES)
    assert run_program("examples", "q2.1").stdout == (ROOT / "flags" / "q2.1.flags").read_text()
    assert "unknown example 'q7'" in run_program("examples", "q7").stderr


def test_the_folder_of_a_flagfile_is_its_own_experiment_s():
    assert parsed("--flagfile=q1").output_dir == "out/q1"
    assert parsed("compare", "--flagfile=q1").output_dir == "out/compare/q1"
    assert parsed("sweep", "--flagfile=q1", "--output_dir=x").output_dir == "x"
    assert parsed("saliency", "--flagfile=saliency").output_dir == "out/saliency"


def test_a_closed_pipe_is_no_error():
    command = f'"{sys.executable}" "{ROOT / "run_experiments.py"}" --help | head -1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""
