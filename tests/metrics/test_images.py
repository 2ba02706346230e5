import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import correlate1d

from tfinvert import metrics
from tfinvert.system.errors import InputError

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(0, 1, (32, 40, 3)).astype(np.float32)


def test_psnr_by_hand():
    assert metrics.psnr(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.1)) == pytest.approx(20.0)
    assert metrics.psnr(np.zeros((4, 4, 3)), np.ones((4, 4, 3))) == pytest.approx(0.0)


def test_psnr_agrees_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio

    other = np.clip(IMAGE + 0.05 * RNG.standard_normal(IMAGE.shape), 0, 1)
    assert metrics.psnr(other, IMAGE) == pytest.approx(peak_signal_noise_ratio(IMAGE, other, data_range=1.0))


def test_psnr_of_equal_images_is_infinite():
    assert metrics.psnr(IMAGE, IMAGE) == float("inf")


def test_values_out_of_range_are_clipped_before_they_are_measured():
    assert metrics.psnr(np.full((4, 4, 3), 7.0), np.ones((4, 4, 3))) == float("inf")


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    noisy = np.clip(IMAGE + 0.2 * RNG.standard_normal(IMAGE.shape), 0, 1)
    assert metrics.ssim(IMAGE, IMAGE) == pytest.approx(1.0)
    assert metrics.ssim(noisy, IMAGE) < 0.95
    assert metrics.ssim(1 - IMAGE, IMAGE) < 0


def independent_ms_ssim(first, second):
    """Wang, Simoncelli & Bovik 2003 in NumPy: contrast and structure at five scales, luminance at the coarsest."""
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window /= window.sum()

    def blur(image):
        for axis in (0, 1):
            image = correlate1d(image, window, axis=axis)
        return image[5:-5, 5:-5]

    factors = []
    for _ in range(5):
        mean_a, mean_b = blur(first), blur(second)
        variance_a, variance_b = blur(first**2) - mean_a**2, blur(second**2) - mean_b**2
        structure = (2 * (blur(first * second) - mean_a * mean_b) + 0.03**2) / (variance_a + variance_b + 0.03**2)
        luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        factors.append((structure.mean((0, 1)), (luminance * structure).mean((0, 1))))
        height, width = (side - side % 2 for side in first.shape[:2])
        first, second = (
            image[:height, :width].reshape(height // 2, 2, width // 2, 2, -1).mean((1, 3)) for image in (first, second)
        )
    values = [structure for structure, _ in factors[:-1]] + [factors[-1][1]]
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    return float(np.mean(np.prod([np.maximum(value, 0) ** w for value, w in zip(values, weights, strict=True)], axis=0)))


def test_ms_ssim_agrees_with_the_formula_in_numpy():
    y, x = np.mgrid[0:192, 0:176] / 192
    image = np.stack([x, y, (1 + np.sin(40 * x * y)) / 2], axis=-1)
    noisy = np.clip(image + 0.1 * RNG.standard_normal(image.shape), 0, 1)
    expected = independent_ms_ssim(noisy, image)
    assert 0.3 < expected < 0.95
    assert metrics.ms_ssim(noisy, image) == pytest.approx(expected, abs=1e-4)
    assert metrics.ms_ssim(image, image) == pytest.approx(1.0)


def test_ms_ssim_refuses_images_that_its_coarsest_scale_does_not_fit():
    with pytest.raises(ValueError, match="at least 161 pixels a side"):
        metrics.ms_ssim(np.zeros((160, 200, 3)), np.zeros((160, 200, 3)))
    assert metrics.ms_ssim(np.zeros((161, 161, 3)), np.zeros((161, 161, 3))) == pytest.approx(1.0)


def test_the_image_error_is_one_at_the_mean_distance():
    images = RNG.uniform(0, 1, (4, 5, 6, 3))
    pairs = [np.linalg.norm(a - b) for n, a in enumerate(images) for b in images[n + 1 :]]
    distance = metrics.mean_image_distance(images)
    assert distance == pytest.approx(np.mean(pairs))
    assert metrics.image_error(images[0], images[0], distance) == 0
    assert metrics.image_error(np.zeros(4), np.full(4, distance / 2), distance) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="expected at least two"):
        metrics.mean_image_distance(images[:1])


def test_tensors_of_tensorflow_and_pytorch_are_measured():
    import tensorflow as tf

    torch = pytest.importorskip("torch")
    expected = metrics.psnr(IMAGE, 1 - IMAGE)
    assert metrics.psnr(tf.constant(IMAGE), torch.tensor(1 - IMAGE)) == pytest.approx(expected)


@pytest.mark.parametrize("function", [metrics.psnr, metrics.ssim, metrics.ms_ssim, lambda a, b: metrics.image_error(a, b, 1.0)])
def test_different_shapes_are_refused(function):
    with pytest.raises(ValueError, match="expected the same"):
        function(np.zeros((4, 4, 3)), np.zeros((4, 5, 3)))


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_bytes_are_measured_as_the_floats_that_they_stand_for(metric):
    image, target = (np.rint(RNG.uniform(0, 255, (20, 30, 3))).astype(np.uint8) for _ in range(2))
    expected = metric(image / 255, target / 255)
    assert metric(image, target) == pytest.approx(expected)
    assert metric(image, target / 255) == pytest.approx(expected)
    assert metric(Image.fromarray(image), (target / 255).astype(np.float32)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("image", "target", "message"),
    [
        (IMAGE, 255 * IMAGE, "the target has values from .* expected uint8, or floats from 0 to 1"),
        (IMAGE, 2 * IMAGE - 1, "the target has values from -"),
        ((255 * IMAGE).astype(np.int64), IMAGE, "an image of int64; expected uint8"),
        (IMAGE > 0.5, IMAGE, "an image of bool; expected uint8"),
        ("chelsea", IMAGE, "the images are of the type str, whose numbers cannot be read"),
        ({"res2": IMAGE}, IMAGE, "are a dictionary; expected an array, such as the features of one layer"),
        (IMAGE[:0], IMAGE[:0], "have the shape .*expected at least one number"),
    ],
)
def test_images_of_another_kind_are_refused(image, target, message):
    for metric in (metrics.psnr, metrics.ssim):
        with pytest.raises(InputError, match=message):
            metric(image, target)


@pytest.mark.parametrize("shape", [(32, 40), (2, 32, 40, 3), (9, 40, 3)])
def test_ssim_refuses_what_it_cannot_measure(shape):
    with pytest.raises(InputError, match=r"expected \[H, W, channels\] with at least 11 pixels"):
        metrics.ssim(np.zeros(shape), np.zeros(shape))


def test_tensors_with_gradients_are_measured():
    torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
    noisy = torch.tensor(IMAGE / 2, requires_grad=True)
    assert metrics.psnr(noisy, IMAGE) == pytest.approx(metrics.psnr(IMAGE / 2, IMAGE))
    assert metrics.feature_cosine(noisy.bfloat16(), IMAGE) == pytest.approx(1, abs=1e-4)
