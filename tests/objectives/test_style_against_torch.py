"""CS231n's content, Gram, style and TV functions, written again in PyTorch on torchvision's SqueezeNet, beside ours."""

import dataclasses

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import numpy_helper
from PIL import Image

from tfinvert.images import files as images
from tfinvert.networks import network
from tfinvert.networks.conversion import convert
from tfinvert.objectives import terms

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'tfinvert[torch]'")

LAYERS = (1, 3, 4, 6, 7)  # of torchvision's `features`
STYLE = ((1, 300000.0), (4, 1000.0), (6, 15.0), (7, 3.0))


def course_picture(path, side):
    """torchvision's Resize(side), ToTensor and Normalize, by hand: [1, 3, H, W]."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    width, height = picture.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    values = torch.from_numpy(np.array(picture.resize(size, Image.BILINEAR))).permute(2, 0, 1)[None] / 255.0
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

    found = {1: convolution("features.0", value, stride=2)}
    found[2] = f.max_pool2d(found[1], 3, 2, ceil_mode=True)
    found[3] = fire(3, found[2])
    found[4] = fire(4, found[3])
    found[5] = f.max_pool2d(found[4], 3, 2, ceil_mode=True)
    found[6] = fire(6, found[5])
    found[7] = fire(7, found[6])
    return found


def course_gram(features):
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (h * w * c)


def course_tv(value):
    down = value[:, :, 1:] - value[:, :, :-1]
    right = value[:, :, :, 1:] - value[:, :, :, :-1]
    return (down**2).sum() + (right**2).sum()


@pytest.mark.parametrize("side", [192, 224])
def test_all_functions_agree(side, shared):
    file = shared / "models" / "squeezenet1_1-torchvision.onnx"
    content, style = shared / "images" / "tubingen.jpg", shared / "images" / "starry_night.jpg"
    layers = tuple(f"features.{index}" for index in LAYERS)
    request = convert.request(model="squeezenet1.1", onnx=str(file), weights="auto", layers=layers, size=None, pool="max")
    ours, theirs, pictures = {}, {}, {}
    for name, path in (("content", content), ("style", style)):
        size = images.proportional_size(path, side)
        with convert.Conversion(dataclasses.replace(request, size=size)) as conversion:
            model = network.load(conversion.result(), "squeezenet").model
        pictures[name] = images.load(path, size)
        ours[name] = {key: value.numpy() for key, value in model(pictures[name]).items()}
        course = course_picture(path, side)
        assert tuple(course.shape[2:]) == size
        np.testing.assert_allclose(images.normalized(pictures[name])[0], course[0].permute(1, 2, 0), atol=2e-6)
        theirs[name] = course_features(file, course)
        for index in LAYERS:
            expected = theirs[name][index].permute(0, 2, 3, 1).numpy()
            assert ours[name][f"features.{index}"].shape == expected.shape  # of pools that round up
            np.testing.assert_allclose(terms.gram_matrix(expected), course_gram(theirs[name][index]), rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(
                terms.gram_matrix(ours[name][f"features.{index}"]), course_gram(theirs[name][index]), rtol=1e-4, atol=1e-5
            )
        # The course's TV is of the normalized picture.
        found = terms.total_variation(tf.constant(images.normalized(pictures[name])), "l2")
        np.testing.assert_allclose(found, [course_tv(course)], rtol=1e-4)

    # The content of a picture that is not its own target: the content turned upside down.
    turned = model_features(request, np.ascontiguousarray(pictures["content"][:, ::-1]))["features.3"]
    turned_course = course_features(file, course_picture(content, side).flip(2))[3]
    expected = ((turned_course - theirs["content"][3]) ** 2).sum()
    np.testing.assert_allclose(terms.content_loss(turned, ours["content"]["features.3"]), [expected], rtol=1e-4)

    expected = sum(w * ((course_gram(theirs["content"][i]) - course_gram(theirs["style"][i])) ** 2).sum() for i, w in STYLE)
    found = terms.style_loss(
        [ours["content"][f"features.{index}"] for index, _ in STYLE],
        [terms.gram_matrix(ours["style"][f"features.{index}"]) for index, _ in STYLE],
        [weight for _, weight in STYLE],
    )
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


def model_features(request, picture):
    with convert.Conversion(dataclasses.replace(request, size=picture.shape[1:3])) as conversion:
        return network.load(conversion.result(), "squeezenet").model(picture)
