import dataclasses

import pytest

from tfinvert.cli import parse
from tfinvert.errors import InputError
from tfinvert.settings.config import PLACEMENT, Config, flag_text, flagfile, parse_size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "--steps is -1"),
        ({"learning_rate": float("nan")}, "--learning_rate is nan"),
        ({"learning_rate": -1.0}, "--learning_rate is -1.0"),
        ({"tv_weight": -0.5}, "--tv_weight is -0.5"),
        ({"tv_weight": float("inf")}, "--tv_weight is inf"),
        ({"momentum": 1.0}, "--momentum is 1.0"),
        ({"save_every": 0}, "--save_every is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"pool": "median"}, "unknown --pool 'median'"),
        ({"layers": ()}, "--layers is empty"),
        ({"layers": ("conv1_1", "conv1_1")}, "names a layer twice"),
        ({"layer_weights": (1.0, 2.0)}, "2 numbers for 1 layers"),
        ({"layer_weights": (-1.0,)}, "--layer_weights is -1.0"),
        ({"layer_weights": (0.0,)}, "all 0"),
        ({"size": (4, 224)}, "--size is 4x224"),
        ({"size": (224, 9999)}, "--size is 224x9999"),
        ({"schedule": "piecewise"}, "--decay_boundaries"),
        ({"schedule": "piecewise", "decay_boundaries": (5, 3), "decay_factors": (1.0, 1.0)}, "rising"),
        ({"schedule": "piecewise", "decay_boundaries": (5,), "decay_factors": ()}, "0 numbers for 1"),
        ({"schedule": "warmup_cosine", "warmup_steps": 0}, "--warmup_steps is 0"),
        ({"schedule": "warmup_cosine", "warmup_steps": 9, "steps": 9}, "expects 1 to 8 of 9 steps"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"batch": 0}, "--batch is 0"),
        ({"batch": 2}, "--batch is 2; it is for pictures of --images"),
        ({"pictures": ("a/x.png", "b/x.jpg")}, "more than one picture named x"),
        ({"pictures": ("a.png", "b.jpg"), "optimizer": "lbfgs"}, "one picture at a time"),
        ({"pictures": ("a.png",), "experiment": "sweep"}, "a sweep takes a folder"),
    ],
)
def test_values_out_of_range_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        Config(**settings)


def test_a_flagfile_holds_every_setting_but_where_the_run_goes():
    text = flagfile(Config(layers=("a", "b"), size=(224, 320), decay_boundaries=(3, 4), output_dir="x", overwrite=True))
    assert "--layers=a,b\n" in text
    assert "--size=224x320\n" in text
    assert "--decay_boundaries=3,4\n" in text
    assert "output_dir" not in text
    assert "overwrite" not in text
    assert text.count("\n") == len(dataclasses.fields(Config)) - len(PLACEMENT) - 3  # onnx, preprocessing and images have none


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("100x200", (100, 200)), (" 32X64 ", (32, 64))])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "axb", "224x", "-3", "1.5", "224x224x3"])
def test_bad_sizes(text):
    with pytest.raises(InputError, match="expected pixels"):
        parse_size(text)


def test_lists_quote_their_commas():
    assert flag_text("pictures", ("a, b.png", 'c"d.png', "e.png")) == '"a, b.png","c""d.png",e.png'
    assert flag_text("layer_weights", (1.0, 0.5)) == "1.0,0.5"
    assert flag_text("layers", ()) == ""
    pictures = ("a, b.png", 'c"d.png', "e.png")
    assert parse(["tfinvert", f"--pictures={flag_text('pictures', pictures)}"]).pictures == pictures


def test_each_of_several_pictures_has_a_run_of_its_own():
    config = Config(pictures=("x/a.png", "chelsea"), layers=("fire2/squeeze1x1", "fire3"), model="resnet18")
    assert [str(one.run_folder()) for one in config.each()] == [
        *("out/resnet18/a/fire2_squeeze1x1+fire3", "out/resnet18/chelsea/fire2_squeeze1x1+fire3")
    ]
    assert [one.image for one in config.each()] == ["x/a.png", "chelsea"]
    assert flagfile(config.each()[1]) == flagfile(dataclasses.replace(config, pictures=(), image="chelsea"))
    assert Config().each() == [Config()]


def test_run_folders_are_safe_names():
    assert str(Config(layers=("a/b", "c")).run_folder()) == "out/vgg16-bn-a_b+c"
    assert str(Config(output_dir="somewhere/else").run_folder()) == "somewhere/else"
