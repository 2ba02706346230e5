"""Decoders beside optimization: the figures and the table."""

import numpy as np
import pytest

from tfinvert.decoders.comparison import WAYS, first_true, format_table, mean_distance


def test_the_first_step_that_is_as_good():
    assert first_true(np.array([False, True, False])) == 1
    assert first_true(np.array([True])) == 0
    assert first_true(np.array([False, False])) is None


def test_two_photographs_are_far_apart():
    small, large = mean_distance((16, 16)), mean_distance((32, 32))
    assert 5 < small < np.sqrt(16 * 16 * 3)
    assert large == pytest.approx(2 * small, rel=0.2)  # the square root of four times the pixels


def row(image, way, **numbers):
    figures = {"steps": 10, "psnr": 20.0, "ssim": 0.5, "image_error": 0.25, "feature_error": 0.125, "seconds": 1.0}
    return {"layer": "conv1", "image": image, "way": way, **figures, **numbers}


def test_the_table_has_each_row_and_the_means_over_several_images():
    rows = [row("a", WAYS[0]), row("b", WAYS[0], psnr=30.0), row("a", WAYS[2], steps_to_psnr=3)]
    lines = format_table(rows).splitlines()
    assert lines[0] == "| layer | image | way | steps | psnr | ssim | image_error | feature_error | seconds | as good after |"
    assert lines[2:] == [
        "| conv1 | a | optimization | 10 | 20 | 0.5 | 0.25 | 0.125 | 1 |  |",
        "| conv1 | b | optimization | 10 | 30 | 0.5 | 0.25 | 0.125 | 1 |  |",
        "| conv1 | a | from the decoder | 10 | 20 | 0.5 | 0.25 | 0.125 | 1 | 3 steps |",
        "| conv1 | mean | optimization | 10 | 25 | 0.5 | 0.25 | 0.125 | 1 |  |",
    ]
