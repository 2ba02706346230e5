"""What happens beside a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.decoders.callbacks import Evaluate, ResumedEarlyStopping


def test_early_stopping_remembers_the_epochs_before():
    history = [{"val_loss": loss} for loss in (0.5, 0.3, 0.4, 0.35)]
    model = keras.Sequential([keras.layers.Dense(1)])
    stopping = ResumedEarlyStopping(3, "val_loss", history)
    stopping.set_model(model)
    model.stop_training = False
    stopping.on_train_begin()
    assert (stopping.wait, stopping.best, model.stop_training) == (2, 0.3, False)
    stopping.on_epoch_end(4, {"val_loss": 0.31})
    assert model.stop_training


def test_the_quality_on_held_out_images_is_added_to_the_logs():
    features = keras.Input((4, 4, 3))
    decoder = keras.Model(features, keras.layers.Rescaling(1.0, 0.1)(features))  # 0.1 too bright everywhere
    held_out = np.full((3, 4, 4, 3), 51, np.uint8)
    evaluate = Evaluate(decoder, tf.identity, held_out)
    assert np.all(evaluate.shown == 51)
    logs = {"loss": 1.0}
    evaluate.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0, "val_loss": pytest.approx(0.2**2, rel=1e-4), "psnr": pytest.approx(20, rel=1e-4)}
    np.testing.assert_allclose(evaluate.shown, 0.3, atol=1e-6)
