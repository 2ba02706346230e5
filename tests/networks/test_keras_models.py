"""Keras models as networks: the same values as by calling them, and the model left as it was."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.networks.keras_models import IMAGE, filled, small, values_of
from tests.networks.test_recognition import LITE0, first_kernel
from tfinvert.networks.load import load
from tfinvert.system.errors import InputError

layers = keras.layers


def test_the_features_are_those_of_the_model():
    model = small()
    network = load(model, preprocessing="none")
    names = ("conv1", "norm1", "relu1", "pool1", "drop1", "conv2", "mean", "dense")
    assert tuple(network.layers) == names
    expected = values_of(model, IMAGE, *names)
    for name, value in network.features(IMAGE, names).items():
        np.testing.assert_array_equal(value, expected[name])
    np.testing.assert_array_equal(network.model(IMAGE, training=True)["dense"], model(IMAGE, training=False))
    assert network.cut("conv2") is network.cut(["conv2"])
    assert network.cut("conv2").trainable_variables == []


def test_strides_and_receptive_fields_by_hand():
    network = load(small())
    found = {name: (one.shape, one.stride, one.receptive_field) for name, one in network.layers.items()}
    assert found == {
        "conv1": ((16, 16, 4), (2, 2), (3, 3)),
        "norm1": ((16, 16, 4), (2, 2), (3, 3)),
        "relu1": ((16, 16, 4), (2, 2), (3, 3)),
        "pool1": ((8, 8, 4), (4, 4), (5, 5)),
        "drop1": ((8, 8, 4), (4, 4), (5, 5)),
        "conv2": ((6, 6, 5), (4, 4), (13, 13)),
        "mean": ((5,), None, None),
        "dense": ((6,), None, None),
    }


def test_branches_gates_dilations_and_what_is_not_known():
    class Own(layers.Layer):
        def call(self, value):
            return value + 1

    image = keras.Input((32, 32, 3))
    padded = layers.ZeroPadding2D(1, name="padded")(image)
    wide = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", name="wide")(padded)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="gate")(wide)
    gated = layers.Multiply(name="gated")([wide, gate])
    narrow = layers.SeparableConv2D(1, 3, name="narrow")(padded)
    both = layers.Concatenate(name="both")([layers.Cropping2D(1)(gated), narrow])
    own = Own(name="own")(both)
    larger = layers.UpSampling2D(2, name="larger")(own)
    tokens = layers.Reshape((-1, 4), name="tokens")(larger)
    network = load(keras.Model(image, [tokens, keras.ops.exp(gate)]), preprocessing="none")
    found = {name: (one.shape, one.stride, one.receptive_field) for name, one in network.layers.items()}
    assert found["padded"] == ((34, 34, 3), (1, 1), (1, 1))
    assert found["wide"] == found["gated"] == ((34, 34, 3), (1, 1), (5, 5))
    assert found["gate"] == ((1, 1, 3), None, None)
    assert found["both"] == ((32, 32, 4), (1, 1), (5, 5))
    assert found["own"] == ((32, 32, 4), (1, 1), None)
    assert found["larger"] == ((64, 64, 4), (1, 1), None)
    assert found["tokens"] == ((4096, 4), None, None)


def test_average_pools_count_the_pixels_of_the_image_alone():
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, layers.MaxPooling2D(3, 2, padding="same", name="pool")(image))
    found = load(model, preprocessing="none", pool="avg").features(IMAGE, "pool")["pool"]
    expected = layers.AveragePooling2D(3, 2, padding="same")(IMAGE)
    np.testing.assert_array_equal(found, expected)
    assert float(found[0, -1, -1, 0]) == pytest.approx(IMAGE[0, -2:, -2:, 0].mean(), rel=1e-5)


def test_layers_of_nested_models():
    base = small(name="base")
    inner = keras.Model(base.inputs[0], base.get_layer("conv2").output, name="resnet50_trunk")
    image = keras.Input((32, 32, 3))
    value = inner(image, training=False)
    first = layers.Flatten(name="flat")(value)
    model = filled(keras.Model(image, layers.Dense(3, name="head")(first), name="whole"))
    network = load(model, preprocessing="none")
    assert list(network.layers) == ["conv1", "norm1", "relu1", "pool1", "drop1", "conv2", "resnet50_trunk", "flat", "head"]
    features = network.features(IMAGE, ["pool1", "conv2", "resnet50_trunk", "head"])
    np.testing.assert_array_equal(features["head"], model(IMAGE, training=False))
    np.testing.assert_array_equal(features["conv2"], inner(IMAGE, training=False))
    np.testing.assert_array_equal(features["conv2"], features["resnet50_trunk"])
    np.testing.assert_array_equal(features["pool1"], values_of(inner, IMAGE, "pool1")["pool1"])
    assert load(model).preprocessing == "caffe"  # the nested model is one of keras.applications by its name


def test_a_layer_that_is_called_twice_and_layers_of_one_name():
    """A second value of one name has a number behind it, which no other layer has."""
    image = keras.Input((16, 16, 3), name="image")
    shared = layers.Conv2D(3, 3, padding="same", activation="relu", name="shared")
    value = layers.ReLU(name="shared_2")(shared(shared(image)))
    for name in ("first", "second"):
        value = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(3, 1, name="same")], name=name)(value)
    model = filled(keras.Model(image, value))
    network = load(model, preprocessing="none")
    assert list(network.layers) == ["shared", "shared_3", "shared_2", "same", "first", "same_2", "second"]
    features = network.features(IMAGE[:, :16, :16], list(network.layers))
    np.testing.assert_allclose(features["shared_3"], features["shared_2"])
    assert np.abs(features["shared"] - features["shared_3"]).max() > 0.1
    np.testing.assert_allclose(features["same_2"], model(IMAGE[:, :16, :16]), rtol=1e-5)
    assert {layer.name for layer in network.model.layers} > {"shared", "shared_2", "same", "same_2"}


def test_a_model_that_is_called_twice_and_operations_without_layers():
    twice = filled(keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(3, 3, padding="same", name="conv")], name="twice"))
    image = keras.Input((32, 32, 3))
    once = keras.ops.tanh(twice(image))
    model = keras.Model(image, layers.Add(name="sum")([once, twice(once)]))
    network = load(model, preprocessing="none")
    assert list(network.layers) == ["conv", "twice", "twice_2", "sum"]
    features = network.features(IMAGE, ["twice", "twice_2", "sum"])
    np.testing.assert_array_equal(features["twice"], twice(IMAGE))
    np.testing.assert_allclose(features["twice_2"], twice(keras.ops.tanh(twice(IMAGE))), atol=1e-6)
    np.testing.assert_array_equal(features["sum"], model(IMAGE))


def test_a_sequential_model_of_any_size():
    sides = [keras.Input((None, None, 3)), layers.Rescaling(1 / 255, name="scale"), layers.Conv2D(4, 3, name="conv")]
    model = filled(keras.Sequential(sides, name="open"))
    network = load(model)
    assert (network.size, network.preprocessing) == ((224, 224), "0..255")
    smaller = network.at_size((32, 32))
    assert smaller.layers["conv"].shape == (30, 30, 4)
    found = smaller.features(IMAGE, "conv")["conv"]
    np.testing.assert_allclose(found, model(IMAGE * np.float32(255)), rtol=1e-5, atol=1e-5)
    assert load(model, size=(32, 48)).size == (32, 48)


def test_another_size_than_the_model_s():
    image = keras.Input((32, 32, 3))
    value = layers.Conv2D(4, 3, name="conv")(image)
    value = layers.Flatten(name="flat")(value)
    network = load(keras.Model(image, layers.Dense(2, name="dense")(value)), size=64)
    assert list(network.layers) == ["conv", "flat"]
    assert network.layers["conv"].shape == (62, 62, 4)
    with pytest.raises(InputError, match=r"layer 'dense' of .* does not fit images of 64x64 pixels"):
        network.cut("dense")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: small(), "torch"),
        (lambda: small(name="vgg16"), "caffe"),
        (lambda: small(name="resnet50"), "caffe"),
        (lambda: small(name="resnet18"), "torch"),  # is none of keras.applications
        (lambda: small(name="resnet-rs-50"), "torch"),
        (lambda: small(name="resnet50v2"), "tf"),
        (lambda: small(name="mobilenetv2_1.00_224"), "tf"),
        (lambda: small(name="inception_v3"), "tf"),
        (lambda: small(name="densenet121"), "torch"),
        (lambda: before(layers.Rescaling(1 / 127.5, -1)), "0..255"),
        (lambda: before(layers.Rescaling(2.0, -1.0)), "none"),
        (lambda: before(layers.Normalization(mean=[124.0, 116.0, 104.0], variance=[3400.0] * 3)), "0..255"),
        (lambda: before(layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.05] * 3)), "none"),
        (lambda: before(lambda image: image / 127.5 - 1), "0..255"),
        (lambda: before(lambda image: (image + 1) / 2), "-1..1"),
        (lambda: before(layers.Rescaling(1.0, [-103.9, -116.8, -123.7])), "0..255;order=bgr"),
        (lambda: before(lambda image: keras.applications.vgg16.preprocess_input(image)), "0..255"),
        (lambda: before(layers.ZeroPadding2D()), "caffe"),  # by its name
        (lambda: before(layers.Rescaling(1.0)), "caffe"),
        (lambda: trained_elsewhere(), "mean=127;std=128"),
        (lambda: keras.applications.MobileNetV3Small(weights=None, include_top=False, input_shape=(32, 32, 3)), "0..255"),
    ],
)
def test_the_preprocessing_that_a_model_expects(make, expected):
    model = make()
    assert load(model).preprocessing == expected
    assert load(model, preprocessing="tf").preprocessing == "tf"


def trained_elsewhere():
    """A model whose first kernel is that of EfficientNet-Lite0."""
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, layers.Conv2D(32, 3, strides=2)(image))
    model.layers[1].set_weights([first_kernel(LITE0).transpose(2, 3, 1, 0), np.zeros(32)])
    return model


def before(first):
    """A model of keras.applications' name with something before its first weights."""
    image = keras.Input((32, 32, 3))
    return keras.Model(image, layers.Conv2D(4, 3)(first(image)), name="resnet50")


def test_scores_and_last_features_are_found_by_purpose():
    fused = small()
    plain = small(activation="linear")
    apart = keras.Model(plain.inputs[0], layers.Activation("softmax", name="soft")(plain.output))
    logits = plain(IMAGE, training=False)
    for model in (fused, plain, apart):
        network = load(model, preprocessing="none")
        found = network.features(IMAGE, ["scores", "last"])
        np.testing.assert_allclose(found["scores"], logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["last"], values_of(plain, IMAGE, "conv2")["conv2"])
        assert network.layer("scores").shape == (6,)
        assert network.layer("last").stride == (4, 4)
    ranked = load(fused, preprocessing="none").classify(IMAGE[0], top=2)
    assert [chance for _, chance in ranked] == pytest.approx(sorted(tf.nn.softmax(logits[0]).numpy())[-2:][::-1], rel=1e-4)


def test_a_model_without_class_scores():
    model = small()
    trunk = keras.Model(model.inputs[0], model.get_layer("conv2").output)
    several = keras.Model(model.inputs[0], [model.get_layer("conv2").output, model.get_layer("mean").output])
    for wrong, message in (
        (trunk, r"it ends with 'conv2' \(Conv2D\), not with a classifier"),
        (small(activation="relu"), r"it ends with 'dense' \(Dense\), not with a classifier"),
        (several, r"none of its outputs conv2 \(.*\), mean \(.*\) ends with a classifier"),
    ):
        with pytest.raises(InputError, match=f"the network has no class scores: {message}"):
            load(wrong).classify(IMAGE)


def test_guided_backpropagation_and_the_head():
    model = small()
    network = load(model, preprocessing="none")
    features = network.features(IMAGE, ["relu1", "dense"])
    np.testing.assert_allclose(network.guided(["relu1", "dense"])(IMAGE)["dense"], features["dense"], rtol=1e-4)
    np.testing.assert_allclose(network.head("relu1", "dense")(features["relu1"]), features["dense"], rtol=1e-4)


def test_the_model_is_left_as_it_was():
    model = small()
    model.get_layer("conv2").trainable = False
    model.compile("sgd", "mse")

    def state():
        return {
            "config": model.to_json(),
            "trainable": [layer.trainable for layer in model.layers],
            "variables": [id(variable) for variable in model.trainable_variables],
            "weights": [value.tobytes() for value in model.get_weights()],
            "outputs": [id(layer.output) for layer in model.layers],
            "calls": [len(layer._inbound_nodes) for layer in model.layers],
        }

    before, drawn = state(), random.getstate()
    network = load(model)
    network.features(IMAGE, list(network.layers))
    network.at_size((48, 48)).features(np.ones((1, 48, 48, 3), np.float32), "conv2")
    network.guided("dense")(IMAGE)
    assert state() == before
    assert random.getstate() == drawn
    model.fit(IMAGE, np.ones((2, 6)), verbose=0)  # it can still be trained, and the network follows
    np.testing.assert_array_equal(load(model, preprocessing="none").features(IMAGE, "dense")["dense"], model(IMAGE))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.conv = layers.Conv2D(3, 3)

    def call(self, image):
        return self.conv(image)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Subclassed, "the Keras model 'subclassed' is subclassed, so its layers cannot be seen; expected a functional model"),
        (lambda: keras.Sequential([layers.Conv2D(3, 3)], name="flat"), "the Keras model 'flat' is not built yet"),
        (
            lambda: keras.Sequential([keras.Input((28, 28, 4)), layers.Conv2D(3, 3)]),
            r"takes inputs of shape \(None, 28, 28, 4\)",
        ),
        (
            lambda: keras.Sequential([keras.Input((9,)), layers.Dense(3)]),
            r"shape \(None, 9\); expected \(batch, height, width, 3",
        ),
    ],
)
def test_a_model_that_cannot_be_used(make, message):
    with pytest.raises(InputError, match=message) as caught:
        load(make())
    assert "\n" not in str(caught.value)


def test_an_unknown_layer_and_random_weights():
    with pytest.raises(InputError, match=r"unknown layer 'conv3'; expected one of: conv2, conv1, "):
        load(small()).features(IMAGE, ["conv1", "conv3"])
    with pytest.raises(InputError, match="a Keras model keeps its own weights"):
        load(small(), weights="random")


def test_one_channel_is_the_brightness():
    image = keras.Input((32, 32, 1))
    model = filled(keras.Model(image, layers.Conv2D(4, 3, name="conv")(image)))
    network = load(model, preprocessing="none")
    brightness = (IMAGE @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    for features in (network.features(IMAGE, "conv"), network.model(IMAGE)):
        np.testing.assert_allclose(features["conv"], model(brightness), rtol=1e-5, atol=1e-5)


def test_a_file_that_the_builder_wrote_has_the_places_and_the_preparation_of_its_source(small_file, tmp_path):
    source = load(small_file, preprocessing="caffe")
    source.model.save(tmp_path / "again.keras")
    again = load(tmp_path / "again.keras")
    assert again.preprocessing == "none"
    names = [name for name, layer in source.layers.items() if layer.stride]
    for name in names:
        place = again.layers[name].stride, again.layers[name].receptive_field
        assert place == (source.layers[name].stride, source.layers[name].receptive_field)
    np.testing.assert_allclose(*(n.features(IMAGE, names[-1])[names[-1]] for n in (again, source)), rtol=1e-4, atol=1e-3)
