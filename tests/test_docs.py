"""The pages say what the program does: their examples run, their tables are the settings', their links lead somewhere."""

import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfinvert
from tests import write_benchmark
from tests.conftest import ROOT, run_program
from tfinvert import experiments
from tfinvert.networks import zoo
from tfinvert.settings import help_text

DOCS = sorted((ROOT / "docs").glob("*.md"))
LIBRARY = (ROOT / "docs" / "library.md").read_text()
EXTENDING = (ROOT / "docs" / "extending.md").read_text()
README = (ROOT / "README.md").read_text()
MOST_LINES = {  # of an example after the imports
    "The features of an image": 2,
    "A classifier of your own": 4,
    "A term of your own": 6,
    "The average of two images' features": 4,
    "A channel set to zero": 4,
    "A Keras model": 3,
    "A PyTorch module": 3,
    "Deep dream": 10,
    "Several images, and an early end": 8,
    "How near an image came": 5,
}


def examples(page):
    """Title -> the Python example under it."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {title: code[0] for title, text in pairs if (code := re.findall(r"```python\n(.*?)```", text, re.DOTALL))}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Examples run in an empty folder, with random weights, at 64 x 64 pixels, and for 12 steps."""
    load, optimize, invert = tfinvert.load, tfinvert.optimize, tfinvert.invert

    def load_small(source, **options):
        weights = {"weights": "random"} if isinstance(source, str) else {}
        return load(source, **{"size": 64, **weights, **options})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfinvert, "load", load_small)
    monkeypatch.setattr(tfinvert, "optimize", lambda *a, **k: optimize(*a, **{**k, "steps": 12, "progress": False}))
    monkeypatch.setattr(tfinvert, "invert", lambda *a, **k: invert(*a, **{**k, "steps": 12, "progress": False}))
    monkeypatch.setattr("tfinvert.runs.result.Result.show", lambda result: None)


@pytest.mark.parametrize("title", MOST_LINES)
def test_the_tasks_of_the_library_page_run(title, small):
    code = examples(LIBRARY)[title]
    names = {"tfinvert": tfinvert, "keras": keras, "tf": tf}
    if "torch." in code:
        names["torch"] = pytest.importorskip("torch")
    exec(compile(code, "docs/library.md", "exec"), names)
    result = names.get("result") or names.get("dream")
    if result is not None:
        assert result.images.min() >= 0
        assert result.images.max() <= 1
        assert result.history[-1]["loss"] < result.history[0]["loss"]
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES[title]


def test_the_experiment_of_the_extending_page_runs(tmp_path, small, monkeypatch):
    experiment, call = re.findall(r"```python\n(.*?)```", EXTENDING, re.DOTALL)[:2]
    (tmp_path / "average.py").write_text(experiment)
    assert len(experiment.splitlines()) <= 30
    shown = run_program("--experiment=average.py", "--help", cwd=tmp_path)
    assert "--steps" in shown.stdout
    assert "Layers whose features are averaged." in shown.stdout
    arguments = ["--model=resnet18", "--weights=random", "--size=64", "--image=astronaut,chelsea", "--steps=12"]
    done = run_program("--experiment=average.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "average" / "resnet18-res2-astronaut+1" / "final.png").exists()
    monkeypatch.chdir(tmp_path)
    names = {}
    original = tfinvert.experiment

    def shortened(path):
        return lambda *a, **k: original(path)(*a, **{**k, "weights": "random", "size": 64, "steps": 12, "progress": False})

    monkeypatch.setattr(tfinvert, "experiment", shortened)
    exec(compile(call, "docs/extending.md", "exec"), names)
    assert names["result"].image.shape == (64, 64, 3)


def test_the_term_and_the_image_of_the_extending_page_run(tmp_path, small, monkeypatch):
    term, call, image, second_call = re.findall(r"```python\n(.*?)```", EXTENDING, re.DOTALL)[2:6]
    (tmp_path / "my_terms.py").write_text(term)
    (tmp_path / "my_image.py").write_text(image)
    arguments = ["--model=resnet18", "--weights=random", "--size=64", "--layers=res2", "--steps=12"]
    own = ("--term=my_terms.py:sharpness", "--term_weights=0.1", "--parameterization=my_image.py:mirrored")
    done = run_program(*arguments, *own, "--output_dir=out/x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"sharpness"' in (tmp_path / "out" / "x" / "metrics.jsonl").read_text()
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {}
    exec(compile(call, "docs/extending.md", "exec"), names)
    assert "sharpness" in names["result"].terms
    exec(compile(second_call, "docs/extending.md", "exec"), names)
    sys.modules.pop("my_terms")
    sys.modules.pop("my_image")
    final = np.asarray(Image.open(tmp_path / "out" / "x" / "final.png"))
    for mirrored in (final, names["result"].image):
        np.testing.assert_array_equal(mirrored, mirrored[:, ::-1])
    # The run can be repeated from any folder.
    assert f"--parameterization={tmp_path / 'my_image.py'}:mirrored" in (tmp_path / "out" / "x" / "run.flags").read_text()


def test_the_keras_file_of_the_networks_page_is_written(small):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "networks.md").read_text(), re.DOTALL)
    exec(compile(code, "docs/networks.md", "exec"), {"tfinvert": tfinvert})
    assert keras.models.load_model("resnet18.keras").input_shape == (None, 64, 64, 3)


@pytest.mark.parametrize("name", experiments.names())
def test_the_flags_page_has_the_tables_of_every_experiment(name):
    page = (ROOT / "docs" / "flags.md").read_text()
    assert f"## {name}\n\n{experiments.sentence(name)}\n\n{help_text.table(experiments.find(name).settings)}" in page


def test_the_benchmark_page_has_the_tables_of_its_data():
    text = write_benchmark.PAGE.read_text(encoding="utf-8")
    assert write_benchmark.page(text) == text  # python -m tests.write_benchmark writes them


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "BUILD.md", *DOCS], ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"flags/[\w.-]+\.flags", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("model", zoo.MODELS.values(), ids=lambda model: model.name)
def test_the_models_page_has_the_checksums(model):
    row = next(line for line in (ROOT / "models" / "README.md").read_text().splitlines() if f"| {model.name} |" in line)
    assert model.sha256 in row
    assert model.file in row


def test_the_example_of_the_readme_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["result"].image.shape == (96, 96, 3)
    assert names["result"].psnr > 10
