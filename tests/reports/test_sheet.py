"""The contact sheet."""

import numpy as np
import pytest
from PIL import Image

from tests.reports.conftest import made
from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.reports import sheet
from tfinvert.runs.directory import RunDirectory


def test_a_few_of_many_are_closer_together_at_the_beginning():
    assert sheet.spread(range(3), 6) == [0, 1, 2]
    chosen = sheet.spread(range(101), 6)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 100, 6)
    gaps = np.diff(chosen)
    assert list(gaps) == sorted(gaps)


def colors(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).reshape(-1, 3)


def test_the_sheet_shows_the_images_as_they_are(tmp_path):
    run = RunDirectory(tmp_path)
    run.create("", {}, resume=False)
    shown = {run.target: (1, 0, 0), run.image_path(0): (0, 1, 0), run.final: (0, 0, 1)}
    for path, color in shown.items():
        images.save(path, np.broadcast_to(np.float32(color), (32, 32, 3)))
    sheet.write(run, {"network": "a network", "layers": {"conv1": {}}, "result": {"psnr": 3.0, "ssim": 0.5}})
    for color in shown.values():
        assert (colors(run.sheet) == np.multiply(color, 255)).all(axis=1).sum() == 32 * 32


def test_what_cannot_be_read_is_left_out(tmp_path):
    entry = made(tmp_path / "run", psnr=10.0, loss=[2.0, 1.0])
    run = RunDirectory(entry.folder)
    run.target.write_bytes(b"damaged")
    sheet.write(run, run.read_info())
    with Image.open(run.sheet) as opened:
        assert opened.size[1] < 2 * (32 + 60)
    for path in (run.final, *run.step_images().values()):
        path.unlink()
    with pytest.raises(InputError, match=r"none of the images in "):
        sheet.write(run, run.read_info())


def test_layers_by_depth_are_in_rows_of_equal_length(tmp_path):
    runs = [RunDirectory(made(tmp_path / f"{n}", psnr=10.0, loss=[2.0, 1.0]).folder) for n in range(9)]
    sheet.write_depth(tmp_path / "sweep.png", "A network", runs)
    with Image.open(tmp_path / "sweep.png") as opened:
        assert opened.size == (720, 16 + 2 * 30 + 2 * (32 + 26 + 16))


def test_long_titles_are_cut(tmp_path):
    images.save(tmp_path / "a.png", np.zeros((32, 32, 3)))
    sheet.write_side_by_side(tmp_path / "sheet.png", ["two\nlines " * 1000], [(tmp_path / "a.png", "caption " * 1000)])
    with Image.open(tmp_path / "sheet.png") as opened:
        assert opened.size[0] == 720
        assert opened.getpixel((719, 20)) == (255, 255, 255)
