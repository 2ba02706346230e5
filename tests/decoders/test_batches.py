"""The pipeline gives the images that are drawn."""

import numpy as np

from tests.decoders.conftest import write_images
from tfinvert.decoders.batches import TrainingData
from tfinvert.decoders.cluster import Share
from tfinvert.decoders.image_set import ImageSet

SIZE = (16, 16)


def test_batches_are_the_drawn_images(tmp_path):
    image_set = ImageSet(write_images(tmp_path / "some", 5), SIZE)
    batches = TrainingData(image_set, seed=3, augment=True).build_batches(Share().draw_numbers(0, 3, 4), 4)
    count = 0
    for step, (inputs, images) in enumerate(batches):
        drawn = [image_set.draw(4 * step + i, 3, augment=True)[1] for i in range(4)]
        np.testing.assert_allclose(images, np.stack(drawn) / 255, atol=1e-7)
        np.testing.assert_array_equal(inputs, images)
        count += 1
    assert count == 3


def test_features_stand_beside_their_image(tmp_path):
    image_set = ImageSet(write_images(tmp_path / "some", 5), SIZE)
    data = TrainingData(image_set, seed=3, augment=False, features=np.arange(5.0, dtype=np.float16)[:, None])
    inputs, images = next(iter(data.build_batches(np.arange(5), 5)))
    assert sorted(inputs[:, 0].numpy()) == list(range(5))
    for index, image in zip(inputs[:, 0].numpy().astype(int), images, strict=True):
        np.testing.assert_allclose(image, image_set.center(index) / 255, atol=1e-7)


def test_the_mean_image_is_that_of_the_draws(tmp_path):
    image_set = ImageSet(write_images(tmp_path / "some", 2), SIZE)
    mean = TrainingData(image_set, seed=0, augment=False).mean_image()  # of an even number of draws
    np.testing.assert_allclose(mean, image_set.centers().mean(axis=0) / 255, atol=1e-6)
