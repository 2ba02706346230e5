"""Networks as Keras files, by the command that writes them."""

import keras
import numpy as np
import pytest

import tfinvert
from tfinvert.system.errors import InputError


def test_a_network_is_written_as_a_keras_file_of_real_layers(tiny_file, tmp_path):
    result = tfinvert.convert(network=tiny_file, file=str(tmp_path / "new" / "tiny.keras"), preprocessing="none")
    assert result.layers == ("conv1_1", "pool1", "conv2_1", "fc2")
    assert "tiny.keras: 4 layers" in result.summary()
    model = keras.models.load_model(result.path, compile=False)
    assert model.count_params() == result.parameters
    assert isinstance(model.get_layer("fc2"), keras.layers.Dense)
    assert model.get_layer("conv1_1").output.shape == (None, 16, 16, 4)
    network = tfinvert.load(tiny_file, preprocessing="none")
    image = np.random.default_rng(0).uniform(0, 1, (2, 16, 16, 3)).astype(np.float32)
    features = network.features(image, result.layers)
    for name, value in model(image).items():
        np.testing.assert_allclose(value, features[name], rtol=1e-4, atol=1e-5)
    assert network.provenance()["converter"] == "onnx2tf"
    assert [layer.name for layer in network.model.layers if layer.name in result.layers] == list(result.layers)


@pytest.mark.parametrize(
    ("file", "words"),
    [("tiny.h5", "a name that ends with .keras"), ("file/tiny.keras", "is a file; expected a folder")],
)
def test_a_file_that_cannot_be_written_is_named(file, words, tiny_file, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=words):
        tfinvert.convert(network=tiny_file, file=str(tmp_path / file), preprocessing="none")
