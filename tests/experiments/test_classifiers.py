"""Saliency, fooling and class visualization of networks whose classes are not those of ImageNet."""

import dataclasses
import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from onnx import helper

import tfinvert
from tests.conftest import tiny_graph, write_onnx
from tfinvert import cli
from tfinvert.system.errors import InputError

layers = keras.layers
# An attack that a small network of random weights does not withstand.
STRONG = {"attack": "pgd", "bound": 250, "steps": 60, "learning_rate": 8.0}
IMAGE = np.random.default_rng(1).uniform(0, 1, (2, 32, 32, 3)).astype(np.float32)


def model(count, activation=None, end=None, *, others=False):
    """A Keras classifier of images of 32 pixels."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    features = layers.Conv2D(6, 5, 3, activation="relu", name="conv")(image)
    flat = layers.Flatten(name="flat")(layers.MaxPooling2D(2)(features))
    scores = layers.Dense(count, activation=activation, name="fc")(flat)
    output = end(scores) if end else scores
    return keras.Model(image, [features, output] if others else output, name="mine")


def expected_scores(keras_model, image):
    """What the last dense layer computes before its activation, [batch, classes]."""
    flat = keras.Model(keras_model.inputs[0], keras_model.get_layer("flat").output)(image, training=False)
    kernel, bias = keras_model.get_layer("fc").get_weights()
    scores = flat.numpy() @ kernel + bias
    return np.concatenate([-scores, scores], axis=1) if scores.shape[1] == 1 else scores


# A model -> what makes probabilities of its scores.
MODELS = {
    "softmax": (lambda: model(7, "softmax"), tf.nn.softmax),
    "scores": (lambda: model(7), tf.nn.softmax),
    "log-softmax": (lambda: model(7, "log_softmax"), tf.nn.softmax),
    "log-softmax as a layer": (lambda: model(7, None, layers.Activation("log_softmax")), tf.nn.softmax),
    "log-softmax as an operation": (lambda: model(7, None, keras.ops.log_softmax), tf.nn.softmax),
    "softmax of TensorFlow": (lambda: model(7, tf.nn.softmax), tf.nn.softmax),
    "softmax and linear": (
        lambda: model(7, None, lambda value: layers.Activation("linear")(layers.Softmax()(value))),
        tf.nn.softmax,
    ),
    "several labels": (lambda: model(7, "sigmoid"), tf.sigmoid),
    "several labels as a layer": (lambda: model(7, None, layers.Activation("sigmoid")), tf.sigmoid),
    "several labels as an operation": (lambda: model(7, None, keras.ops.sigmoid), tf.sigmoid),
    "several outputs": (lambda: model(7, "softmax", others=True), tf.nn.softmax),
    "one score": (lambda: model(1), tf.sigmoid),
    "one probability": (lambda: model(1, "sigmoid"), tf.sigmoid),
}


@pytest.mark.parametrize("name", MODELS)
def test_classes_of_keras_models_have_the_probabilities_that_the_model_gives_them(name):
    make, activation = MODELS[name]
    keras_model = make()
    network = tfinvert.load(keras_model, preprocessing="none")
    wanted = activation(expected_scores(keras_model, IMAGE)).numpy()
    for row, ranked in zip(wanted, network.classify(IMAGE, top=9), strict=True):
        assert [name for name, _ in ranked] == [f"class {index}" for index in np.argsort(-row)]
        assert [chance for _, chance in ranked] == pytest.approx(sorted(row, reverse=True), rel=1e-4)


def test_a_loss_says_that_scores_are_of_several_labels():
    keras_model = model(7)
    keras_model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    assert tfinvert.load(keras_model).classes.exclusive is False
    keras_model.compile("sgd", "categorical_crossentropy")
    assert tfinvert.load(keras_model).classes.exclusive is True


def test_a_convolution_with_a_softmax_is_a_classifier():
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(4, 3, activation="relu")(image))
    scores = layers.Conv2D(5, 1, activation="softmax", name="conv")(pooled)
    keras_model = keras.Model(image, layers.Reshape((5,))(scores))
    network = tfinvert.load(keras_model, preprocessing="none")
    assert network.classes.count == 5
    ranked = network.classify(IMAGE[0])
    assert [chance for _, chance in ranked] == pytest.approx(sorted(keras_model(IMAGE[:1]).numpy()[0])[::-1], rel=1e-4)


def test_an_output_is_chosen_by_name():
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    flat = layers.Flatten()(layers.Conv2D(4, 5, 4, activation="relu")(image))
    heads = {"digits": layers.Dense(10, name="a")(flat), "letters": layers.Dense(26, name="b")(flat)}
    keras_model = keras.Model(image, heads)
    with pytest.raises(InputError, match=r"digits \(10\), letters \(26\); choose one with --output=NAME"):
        tfinvert.load(keras_model).classify(IMAGE)
    for name, count in (("digits", 10), ("letters", 26)):
        result = tfinvert.saliency(IMAGE, keras_model, output=name, methods="gradient", classes=3)
        assert tfinvert.load(keras_model, output=name).classes.count == count
        assert [each["name"] for each in result.classes] == ["class 3"] * 2
    with pytest.raises(InputError, match="unknown --output 'numbers'; expected one of: "):
        tfinvert.saliency(IMAGE, keras_model, output="numbers")


@pytest.mark.parametrize("name", ["scores", "several labels", "one score", "one probability"])
@pytest.mark.parametrize("attack", ["gradient", "pgd"])
def test_networks_are_fooled_into_the_class_that_comes_second(name, attack, caplog):
    keras_model = MODELS[name][0]()
    network = tfinvert.load(keras_model, preprocessing="none")
    with caplog.at_level(logging.INFO, "tfinvert"):
        result = tfinvert.fool(IMAGE[0], network=network, **{**STRONG, "attack": attack, "learning_rate": 3.0})
    (target,) = result.targets
    assert f"the target is '{target['target']}' (index {target['target_index']})" in caplog.text
    assert (result.fooled, target["target_index"] != result.original["index"]) == ("1 of 1", True)
    ranked = dict(network.classify(result.image, top=9))
    assert ranked[target["target"]] == pytest.approx(target["probability_after"], rel=1e-4)
    assert ranked[target["target"]] > 0.5 or ranked[target["target"]] == max(ranked.values())


def test_each_of_two_classes_behind_one_score_is_a_target():
    network = tfinvert.load(model(1), preprocessing="none", class_names=["cat", "dog"])
    seen = network.classify(IMAGE[0])[0][0]
    other = {"cat": "dog", "dog": "cat"}[seen]
    for classes in (other, ()):
        result = tfinvert.fool(IMAGE[0], classes, network, **STRONG)
        assert (result.fooled, result.targets[0]["seen"]) == ("1 of 1", other)
    with pytest.raises(InputError, match=f"the network takes the image for '{seen}' already"):
        tfinvert.fool(IMAGE[0], seen, network)
    maps = [tfinvert.saliency(IMAGE[0], network, methods="gradient", classes=name).maps["gradient"] for name in ("cat", "dog")]
    np.testing.assert_allclose(maps[0], maps[1])  # the score of one is minus that of the other
    assert maps[0].max() > 0
    made = tfinvert.class_vis(network=network, recipe="fourier", steps=30, jitter=1, progress=False)
    assert [target["target"] for target in made.targets] == ["cat", "dog"]
    assert min(target["probability"] for target in made.targets) > 0.6


def test_of_several_labels_one_is_added_or_removed():
    keras_model = model(4, "sigmoid")
    keras_model.get_layer("fc").bias.assign([9.0, 9.0, -9.0, 0.0])
    network = tfinvert.load(keras_model, preprocessing="none")
    with pytest.raises(InputError, match="the network takes the image for 'class 1' already"):
        tfinvert.fool(IMAGE[0], 1, network)  # as much as for class 0
    added = tfinvert.fool(IMAGE[0], 3, network, **STRONG)
    assert (added.fooled, added.targets[0]["probability_after"] > 0.5) == ("1 of 1", True)
    keras_model.get_layer("fc").bias.assign([-9.0, -9.0, -9.0, -9.0])
    network = tfinvert.load(keras_model, preprocessing="none")
    with pytest.raises(InputError, match="the network sees none of its classes in the image, 'class"):
        tfinvert.fool(IMAGE[0], (), network)


@pytest.mark.parametrize("call", ["fool", "saliency", "class_vis"])
def test_names_of_imagenet_are_refused_before_anything_starts(call, tmp_path):
    network = tfinvert.load(model(10), preprocessing="none")
    image = {} if call == "class_vis" else {"image": IMAGE[0]}
    for name in ("stingray", "goldfish", "tench"):
        with pytest.raises(InputError, match=f"--class={name}: the 10 classes of the network have no names"):
            getattr(tfinvert, call)(**image, network=network, classes=name, output_dir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_class_visualization_without_classes_says_what_it_makes(caplog):
    network = tfinvert.load(model(10), preprocessing="none")
    with caplog.at_level(logging.INFO, "tfinvert"):
        result = tfinvert.class_vis(network=network, steps=2, progress=False)
    assert [target["target"] for target in result.targets] == [f"class {index}" for index in range(6)]
    assert "no --classes are given; these are made: class 0, class 1, " in caplog.text


def test_names_of_classes_are_in_every_result(tmp_path):
    names = ["ant", "bee", "cow", "dog", "eel"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    network = tfinvert.load(model(5), preprocessing="none", class_names=tmp_path / "names.txt")
    assert {name for name, _ in network.classify(IMAGE[0])} == set(names)
    assert [each["name"] for each in tfinvert.saliency(IMAGE, network, methods="gradient", classes="eel").classes] == [
        "eel"
    ] * 2
    assert network.at_size((32, 32)).classes.name(2) == "cow"
    with pytest.raises(InputError, match="--class_names has 5 names; expected 4, one for each class of the network"):
        tfinvert.load(model(4), class_names=names).classify(IMAGE)
    with pytest.raises(InputError, match="cannot read --class_names="):
        tfinvert.load(model(5), class_names="missing.txt")


def test_a_network_without_a_pool_has_last_features():
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    features = layers.Conv2D(4, 5, 4, activation="relu", name="conv")(image)
    network = tfinvert.load(keras.Model(image, layers.Dense(3)(layers.Flatten()(features))), preprocessing="none")
    assert network.layer("last").shape == (7, 7, 4)
    assert "grad_cam" in tfinvert.saliency(IMAGE[0], network, methods="grad_cam").maps


def file_with(nodes, outputs, path, **weights):
    """The tiny network with other nodes at its end, as a file."""
    graph = tiny_graph()
    weights = {**graph.weights, **weights}
    return write_onnx(
        dataclasses.replace(graph, nodes=(*graph.nodes[:-1], *nodes), weights=weights, outputs=outputs, opset=13), path
    )


def test_a_file_of_one_probability_from_the_command_line(tmp_path):
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["flat", "w"], ["score"], transB=1),
        helper.make_node("Sigmoid", ["score"], ["probability"]),
        helper.make_node("Conv", ["drop2", "k"], ["mask"], kernel_shape=[1, 1]),
    ]
    weights = {"w": rng.standard_normal((1, 320)), "k": rng.standard_normal((2, 5, 1, 1))}
    weights = {name: 0.02 * value.astype(np.float32) for name, value in weights.items()}
    file = file_with(nodes, ("mask", "probability"), tmp_path / "binary.onnx", **weights)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    flags = [f"--onnx={file}", f"--class_names={tmp_path / 'names.txt'}"]
    assert cli.run_arguments(["fool", *flags, "--attack=pgd", "--bound=99", f"--output_dir={tmp_path / 'fool'}"]) == 0
    info = json.loads((tmp_path / "fool" / "run.json").read_text())
    assert info["output"] == "probability"
    assert info["layers"]["scores"]["tensor"] == "score"
    assert {info["result"]["original"]["name"], info["result"]["targets"][0]["target"]} == {"cat", "dog"}
    assert 0.5 < info["result"]["original"]["probability"] < 1
    assert f"--class_names={tmp_path / 'names.txt'}" in (tmp_path / "fool" / "run.flags").read_text()
    with pytest.raises(InputError, match="unknown --class=stingray; expected a class by its name or index"):
        cli.run_arguments(["fool", *flags, "--class=stingray", f"--output_dir={tmp_path / 'other'}"])
    with pytest.raises(InputError, match=r"it ends with 'mask' \(Conv\), not with a classifier"):
        cli.run_arguments(["saliency", *flags, "--output=mask", f"--output_dir={tmp_path / 'other'}"])
    assert not (tmp_path / "other").exists()


def test_the_flag_for_no_classes_still_means_any_other_class():
    for given, expected in (([], None), (["--classes="], ()), (["--class=3,4"], ("3", "4"))):
        _, settings = cli.parse(["fool", *given])
        assert settings.classes == expected
