"""CS231n's content, Gram, style and TV functions, written again in PyTorch on torchvision's SqueezeNet, beside ours."""

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import numpy_helper
from PIL import Image

import tfinvert
from tfinvert import images
from tfinvert.objectives import style as objective
from tfinvert.objectives.regularizers import total_variation

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")

LAYERS = (1, 3, 4, 6, 7)  # of torchvision's `features`
STYLE = ((1, 300000.0), (4, 1000.0), (6, 15.0), (7, 3.0))


def course_image(path, side):
    """torchvision's Resize(side), ToTensor and Normalize, by hand: [1, 3, H, W]."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    width, height = image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    values = torch.from_numpy(np.array(image.resize(size, Image.BILINEAR))).permute(2, 0, 1)[None] / 255.0
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (values - mean[:, None, None]) / deviation[:, None, None]


def course_features(path, value):
    """The modules of torchvision's squeezenet1_1().features, to the eighth; index -> output."""
    f = torch.nn.functional
    weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(path).graph.initializer}

    def convolution(name, x, **options):
        return f.relu(f.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options))

    def fire(index, x):
        squeezed = convolution(f"features.{index}.squeeze", x)
        one = convolution(f"features.{index}.expand1x1", squeezed)
        return torch.cat([one, convolution(f"features.{index}.expand3x3", squeezed, padding=1)], 1)

    outputs = {1: convolution("features.0", value, stride=2)}
    outputs[2] = f.max_pool2d(outputs[1], 3, 2, ceil_mode=True)
    outputs[3] = fire(3, outputs[2])
    outputs[4] = fire(4, outputs[3])
    outputs[5] = f.max_pool2d(outputs[4], 3, 2, ceil_mode=True)
    outputs[6] = fire(6, outputs[5])
    outputs[7] = fire(7, outputs[6])
    return outputs


def course_gram(features):
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (h * w * c)


def course_tv(value):
    down = value[:, :, 1:] - value[:, :, :-1]
    right = value[:, :, :, 1:] - value[:, :, :, :-1]
    return (down**2).sum() + (right**2).sum()


@pytest.mark.parametrize("side", [pytest.param(192, marks=pytest.mark.slow), 224])
def test_all_functions_agree(side, shared):
    file = shared / "models" / "squeezenet1_1-torchvision.onnx"
    content, style = shared / "images" / "tubingen.jpg", shared / "images" / "starry_night.jpg"
    layers = [f"features.{index}" for index in LAYERS]
    network = tfinvert.load(file)
    ours, theirs, loaded = {}, {}, {}
    for name, path in (("content", content), ("style", style)):
        size = images.proportional_size(path, side)
        loaded[name] = images.load(path, size, "squash")
        ours[name] = {key: value.numpy() for key, value in network.at_size(size).features(loaded[name], layers).items()}
        course = course_image(path, side)
        assert tuple(course.shape[2:]) == size
        np.testing.assert_allclose(images.normalized(loaded[name])[0], course[0].permute(1, 2, 0), atol=2e-6)
        theirs[name] = course_features(file, course)
        for index in LAYERS:
            expected = theirs[name][index].permute(0, 2, 3, 1).numpy()
            assert ours[name][f"features.{index}"].shape == expected.shape  # of pools that round up
            np.testing.assert_allclose(objective.gram_matrix(expected), course_gram(theirs[name][index]), rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(
                objective.gram_matrix(ours[name][f"features.{index}"]), course_gram(theirs[name][index]), rtol=1e-4, atol=1e-5
            )
        # The course takes total variation of the normalized image.
        variation = total_variation(tf.constant(images.normalized(loaded[name])), "l2")
        np.testing.assert_allclose(variation, [course_tv(course)], rtol=1e-4)

    # The content loss of an image that is not its own target: the content turned upside down.
    upside_down = np.ascontiguousarray(loaded["content"][:, ::-1])
    turned = network.at_size(upside_down.shape[1:3]).features(upside_down, layers)["features.3"]
    turned_course = course_features(file, course_image(content, side).flip(2))[3]
    expected = ((turned_course - theirs["content"][3]) ** 2).sum()
    np.testing.assert_allclose(objective.content_loss(turned, ours["content"]["features.3"]), [expected], rtol=1e-4)

    expected = sum(w * ((course_gram(theirs["content"][i]) - course_gram(theirs["style"][i])) ** 2).sum() for i, w in STYLE)
    loss = objective.style_loss(
        [ours["content"][f"features.{index}"] for index, _ in STYLE],
        [objective.gram_matrix(ours["style"][f"features.{index}"]) for index, _ in STYLE],
        [weight for _, weight in STYLE],
    )
    np.testing.assert_allclose(loss, [expected], rtol=1e-4)
