"""The command line as a user meets it: help, mistakes, flagfiles."""

import dataclasses
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, tfinvert, tiny_graph, write_onnx
from tfinvert import cli
from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.settings.config import CONFIGS, Config, RunConfig, flagfile

FLAGFILES = sorted((ROOT / "flags").glob("*.flags"))


def parsed(*arguments):
    return cli.parse(["tfinvert", *map(str, arguments)])


def test_help_names_every_flag_without_tensorflow():
    done = tfinvert("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for name in cli.HELP:
        assert f"--{name}:" in done.stdout
    code = "import sys; from tfinvert import cli; cli.main(['x', '--help']); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_no_flags_give_the_defaults():
    assert parsed() == Config()


def test_flags_become_settings():
    config = parsed("--layers=conv1_1,fc6", "--layer_weights=1,0.5", "--size=100x200", "--resume", "--learning_rate=1e-2")
    assert config.layers == ("conv1_1", "fc6")
    assert config.layer_weights == (1.0, 0.5)
    assert config.size == (100, 200)
    assert config.resume
    assert config.learning_rate == 0.01


def test_a_whole_flagfile_gives_the_same_run(tmp_path):
    config = Config(layers=("a", "b"), layer_weights=(1.0, 2.0), size=(64, 96), tensorboard=True, schedule="exponential")
    (tmp_path / "run.flags").write_text(flagfile(config))
    assert parsed(f"--flagfile={tmp_path / 'run.flags'}") == config


def test_a_flag_of_another_experiment_is_refused(monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Blur(RunConfig):
        model: str = "squeezenet1.1"
        steps: int = 7

    monkeypatch.setitem(CONFIGS, "blur", Blur)
    assert parsed("--experiment=blur") == Blur(experiment="blur")
    assert parsed("--experiment=blur", "--steps=3").steps == 3
    with pytest.raises(InputError, match="--tv_weight is no flag of --experiment=blur; it has --experiment, --model, "):
        parsed("--experiment=blur", "--tv_weight=1")
    assert (
        "--steps: updates of the picture; of an inversion 0 for the preset's, by depth (default: 7)"
        in cli.help_text().split("of --experiment=blur", 1)[1]
    )


def test_a_setting_has_one_type_everywhere():
    kinds = {}
    for kind in CONFIGS.values():
        for field in dataclasses.fields(kind):
            assert kinds.setdefault(field.name, field.type) == field.type, (kind, field.name)


def test_listing_layers_lists_all_of_them():
    assert parsed("--experiment=layers").layers == ()
    assert parsed("--experiment=layers", "--layers=pool1").layers == ("pool1",)


def test_flagfiles_include_one_another_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parsed(f"--flagfile={ROOT / 'flags' / 'q2.1.flags'}")
    assert (config.tv_weight, config.steps, config.init) == (1.0, 2000, "noise")


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
    """The original's: Adam at 1e-3 with epsilon 1e-8, 2000 steps, a picture every 10, seed 12345, sum of |differences|."""
    homework = {
        "model": "vgg16-bn",
        "layers": ("conv3_1",),
        "pool": "avg",
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
        "image": "astronaut",
        "weights": "auto",
    }
    wanted = Config(**{**homework, **HOMEWORK[name], "output_dir": f"out/{name}"})
    assert parsed(f"--flagfile={ROOT / 'flags' / name}.flags") == wanted


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.stem)
def test_a_flagfile_opens_with_its_question_command_time_and_result(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert f"--flagfile=flags/{path.name}" in lines[1]
    assert lines[2].startswith("# Time: ")
    assert lines[3].startswith("# What comes out: ")
    assert len(flagged := [line for line in lines if line.startswith("--")]) == len(set(flagged))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps=ten"], "--steps=ten"),
        (["--nonsense=1"], "nonsense"),
        (["--pool=median"], "--pool=median"),
        (["--size=big"], "expected pixels"),
        (["--layer_weights=a"], "expected numbers"),
        (["stray"], "unexpected argument 'stray'"),
        (["--flagfile=missing.flags"], "cannot read the flagfile"),
        (["--flagfile"], "needs a file"),
    ],
)
def test_wrong_flags(arguments, message):
    with pytest.raises(InputError, match=message):
        parsed(*arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps=3\n", "the line 'steps=3'; expected --flag=value"),
        (b"\xff\xfe\x00", "is not text"),
        (b"--flagfile=a.flags\n", "includes itself"),
        (b"--flagfile=/dev/zero\n", "it is no regular file"),
        (b"--flagfile=pipe\n", "it is no regular file"),
        (b"--flagfile=.\n", "it is a directory"),
        (b"--flagfile=b.flags\n" * 200, "more than 10000 flags"),
        (b"--steps=1\n" * 20000, "more than 10000 flags"),
        (b"#" * 2**21, "more than 1048576"),
        (b"--image=" + b"x" * 10**5, "a flag of 100008 characters"),
        (b"--" + b"x" * 5000 + b"=1", "unknown flag"),
        (b"--image=a\tb", "holds the character"),
        (b"--image=" + b"x" * 5000, "has 5000 characters"),
        (b"--seed=99999999999999999999", "expected at most 2147483647"),
        (b"--learning_rate=1e400", "is inf; expected a finite number"),
        (b"--steps=" + b"9" * 5000, "steps"),
    ],
    ids=range(16),
)
def test_wrong_flagfiles(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.flags").write_bytes(content)
    (tmp_path / "b.flags").write_bytes(b"--steps=3\n" * 100)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=message):
        parsed("--flagfile=a.flags")


def test_a_flagfile_at_no_path_is_refused():
    with pytest.raises(InputError, match="that is no path"):
        parsed("--flagfile=a\0b")


def user_mistakes(folder):
    (folder / "text.png").write_text("no picture")
    (folder / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (folder / "busy").mkdir()
    (folder / "busy" / "thesis.txt").write_text("precious")
    write_onnx(tiny_graph(), folder / "net.onnx")
    return {
        "flag": ["--steps=-1"],
        "model": ["--model=vgg61"],
        "picture": ["--image=text.png"],
        "start": ["--init=missing.png"],
        "pointer": ["--onnx=pointer.onnx"],
        "network": ["--onnx=missing.onnx"],
        "folder": ["--output_dir=busy"],
        "layer": ["--onnx=net.onnx", "--layers=conv9_9"],
        "small": ["--onnx=net.onnx", "--layers=fc2", "--size=32"],
    }


MISTAKES = ("flag", "model", "picture", "start", "pointer", "network", "folder", "layer", "small")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_nothing_behind(mistake, tmp_path):
    arguments = user_mistakes(tmp_path)[mistake]
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    done = tfinvert("--weights=random", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("tfinvert: ")
    assert done.stderr.count("\n") == 1
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_closed_pipe_is_no_error():
    command = f'"{sys.executable}" "{ROOT / "run_experiments.py"}" --help | head -1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_samples_are_named_in_the_help():
    for name in images.SAMPLES:
        assert name in cli.HELP["image"]
