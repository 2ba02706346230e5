"""Small Keras models, for the tests of networks that are made from them."""

import keras
import numpy as np

layers = keras.layers
IMAGE = np.random.default_rng(1).uniform(0, 1, (2, 32, 32, 3)).astype(np.float32)


def filled(model):
    """The model with weights that are not those of its initializers."""
    rng = np.random.default_rng(0)
    model.set_weights([np.abs(rng.normal(0.2, 0.3, value.shape)) for value in model.get_weights()])
    return model


def small(size=32, activation="softmax", name="small"):
    image = keras.Input((size, size, 3), name="image")
    value = layers.Conv2D(4, 3, 2, padding="same", name="conv1")(image)
    value = layers.BatchNormalization(name="norm1")(value)
    value = layers.ReLU(name="relu1")(value)
    value = layers.MaxPooling2D(2, name="pool1")(value)
    value = layers.Dropout(0.5, name="drop1")(value)
    value = layers.Conv2D(5, 3, activation="relu", name="conv2")(value)
    value = layers.GlobalAveragePooling2D(name="mean")(value)
    return filled(keras.Model(image, layers.Dense(6, activation=activation, name="dense")(value), name=name))


def values_of(model, image, *names):
    """What Keras itself gives for some layers of a functional model."""
    return keras.Model(model.inputs[0], {name: model.get_layer(name).output for name in names})(image, training=False)
