"""What can be checked is checked before anything is downloaded or converted, for every experiment alike."""

import dataclasses
import sys

import numpy as np
import pytest
from PIL import Image

from tfinvert import cli, experiments, runner
from tfinvert.experiments import compare
from tfinvert.settings.groups import FolderSettings, ImageSettings, NetworkSettings
from tfinvert.system.errors import InputError

NETWORKS = [name for name in experiments.names() if issubclass(experiments.find(name).settings, NetworkSettings)]
OWN = {  # what an experiment needs beside its defaults
    "compare_decoders": ["--decoders={folder}/decoder.keras"],
    "decode": ["--decoder={folder}/decoder.keras"],
    "style": ["--style_images=chelsea", "--style_weights=1,1,1,1"],
    "suite": ["--questions=q1,q4", "--weights=pretrained"],
}


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch):
    """A download source and a conversion that fail the test when they are touched."""

    def touched(*_, **__):
        pytest.fail("a download or a conversion began before everything was checked")

    monkeypatch.setattr("tfinvert.networks.zoo.fetch", touched)
    monkeypatch.setattr("tfinvert.decoders.tiny_imagenet.fetch", touched)
    monkeypatch.setattr("tfinvert.system.downloads.fetch", touched)
    monkeypatch.setattr("tfinvert.networks.onnx_files.Conversion", touched)
    monkeypatch.setattr("tfinvert.worker.work", touched)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a damaged image, and a decoder of another layer than the network has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    (tmp_path / "file").write_text("no folder")
    Image.fromarray(np.zeros((40, 640, 3), np.uint8)).save(tmp_path / "panorama.png")
    return tmp_path


def refused(name, *flags, folder):
    """What an experiment answers to flags of the zoo's VGG16-BN, whose weights are not there."""
    own = [flag.format(folder=folder) for flag in OWN.get(name, [])]
    with pytest.raises(InputError) as caught:
        runner.execute(*cli.parse([name, *own, *flags]))
    assert not list(folder.rglob("run.json"))
    return str(caught.value)


# Decoders say which network they are for: see the tests of decoders.
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("decode", "compare_decoders", "fool", "diff")])
def test_a_misspelt_layer_of_the_zoo(name, folder):
    more = ["--channels=1"] if name == "class_vis" else []
    said = refused(name, "--model=vgg16-bn", "--layers=conv9_9", *more, folder=folder)
    assert "unknown layer 'conv9_9'; expected one of: conv" in said


@pytest.mark.parametrize("name", ["invert", "layers", "saliency", "sweep", "suite", "compare", "train_decoder"])
def test_a_size_that_does_not_fit(name, folder):
    said = refused(name, "--model=vgg16-bn", "--layers=fc6", "--size=64", folder=folder)
    assert "64x64" in said
    assert "--size" in said


def test_style_names_its_own_flags_for_sizes(folder):
    said = refused("style", "--image=panorama.png", "--layers=features.3", "--side=192", folder=folder)
    assert said == (
        "--side=192 makes panorama.png 3072x192 pixels; expected at most 2048 on its longer side: "
        "give a --side of 128 at most, or cut the image"
    )
    said = refused("style", "--layers=fc6", "--model=vgg16-bn", "--style_layers=conv1_1", "--style_weights=1", folder=folder)
    assert said.endswith("; give another --side or --style_side")
    assert "--size" not in said


# Root may write into /proc, and nothing can be written there.
UNWRITABLE = ("file", "file/below", f"{'x' * 300}/below", *(["/proc/x"] if sys.platform.startswith("linux") else []))


@pytest.mark.parametrize("name", [n for n in experiments.names() if issubclass(experiments.find(n).settings, FolderSettings)])
@pytest.mark.parametrize("place", UNWRITABLE, ids=lambda place: place[:12])
def test_a_folder_that_cannot_be_written(name, place, folder):
    if name in ("decode", "compare_decoders", "diff", "diagnose"):  # need a decoder or a reference first, or write nothing
        return
    before = sorted(folder.rglob("*"))
    more = [f"--runs={folder}"] if name == "report" else []
    assert place[:20] in refused(name, *more, f"--output_dir={place}", folder=folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("place", UNWRITABLE[1:], ids=lambda place: place[:12])
def test_a_file_that_cannot_be_written(place, folder):
    assert place[:20] in refused("convert", "--model=vgg16-bn", "--layers=conv1_1", f"--file={place}/x.keras", folder=folder)


@pytest.mark.parametrize("name", [n for n in experiments.names() if issubclass(experiments.find(n).settings, ImageSettings)])
@pytest.mark.parametrize("image", ["broken.png", "missing.png"])
def test_an_image_that_cannot_be_read(name, image, folder):
    if name in ("decode", "compare_decoders", "diff"):
        return
    assert image in refused(name, f"--image={image}", folder=folder)


@pytest.mark.parametrize(
    "flag", ["--init=missing.png", "--term=missing.py:f", "--preprocessing=tensorflow", "--precision=tf32"]
)
def test_what_an_inversion_names(flag, folder):
    assert "missing" in (said := refused("invert", flag, folder=folder)) or flag.split("=")[0] in said


def test_comparing_without_pytorch(folder, monkeypatch):
    monkeypatch.setattr(compare.importlib.util, "find_spec", lambda name: None)
    assert "needs PyTorch: pip install torch" in refused("compare", folder=folder)


def test_the_layers_of_every_question(folder):
    (folder / "bad.flags").write_text("# A layer that is not there\n--model=resnet18\n--layers=res9\n")
    said = refused("suite", f"--questions=q1,{folder / 'bad.flags'}", folder=folder)
    assert said.startswith("bad: unknown layer 'res9'")


def test_data_comes_after_the_layer(folder):
    said = refused("train_decoder", "--data=tiny-imagenet", "--model=alexnet", "--layers=conv9", folder=folder)
    assert "unknown layer 'conv9'" in said


def test_no_field_of_the_settings_is_forgotten():
    """The mistakes above are those of the groups of settings; a new group needs a mistake of its own."""
    groups = {
        base.__name__ for name in NETWORKS for base in experiments.find(name).settings.__mro__ if dataclasses.is_dataclass(base)
    }
    assert groups >= {"NetworkSettings", "ImageSettings", "FolderSettings"}
