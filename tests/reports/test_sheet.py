"""The contact sheet."""

import numpy as np
import pytest
from PIL import Image

from tests.reports.conftest import made
from tfinvert.images import files as images
from tfinvert.reports import differences, sheet
from tfinvert.runs.directory import RunDirectory
from tfinvert.system.errors import InputError


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
        width, height = opened.size
    assert (width - 16) % 5 == 0
    assert height == 16 + 2 * 30 + 2 * (32 + 18 + 16 + 8)


@pytest.mark.parametrize("steps", range(12))
def test_the_rows_are_full_and_the_result_is_there_once(tmp_path, steps):
    run = RunDirectory(tmp_path)
    run.create("", {}, resume=False)
    images.save(run.target, np.broadcast_to(np.float32((1, 0, 0)), (32, 32, 3)))
    for number in range(steps):
        images.save(run.image_path(number), np.broadcast_to(np.float32((0, 1, number == steps - 1)), (32, 32, 3)))
    images.save(run.final, np.broadcast_to(np.float32((0, 0, 1)), (32, 32, 3)))
    sheet.write(run, {"layers": {"conv1": {}}, "result": {"psnr": 3.0, "ssim": 0.5}})
    found = colors(run.sheet)
    count = sum((found == np.multiply(color, 255)).all(axis=1).sum() for color in ((1, 0, 0), (0, 1, 0), (0, 0, 1))) / 32**2
    assert count + 1 in (3, 4, 8)  # with the difference
    assert steps < 2 or (found == (0, 255, 255)).all(axis=1).sum() == 0  # the last step, which is the result


def test_the_difference_has_its_bar(tmp_path):
    run = RunDirectory(tmp_path)
    run.create("", {}, resume=False)
    images.save(run.target, np.full((64, 64, 3), 0.5))
    images.save(run.final, np.full((64, 64, 3), 0.9))
    sheet.write(run, {})
    brighter = np.rint(255 * differences.BRIGHTER)
    assert (np.abs(colors(run.sheet) - brighter) <= 1).all(axis=1).sum() > 64**2  # the whole image, and the end of the bar
    darker = np.rint(255 * differences.DARKER)
    assert 0 < (np.abs(colors(run.sheet) - darker) <= 1).all(axis=1).sum() < 64  # the other end


def test_captions_are_wrapped_and_never_cut(tmp_path):
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(Image.new("RGB", (1, 1))), ImageFont.load_default(14)
    text = "class_visualization_of_a_network: 12.3 dB, normalized feature error 0.0123 and pneumonoultramicroscopic words"
    for width in (60, 100, 224, 5000):
        lines = sheet._wrap(draw, text, font, width)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert all(draw.textlength(line, font) <= width for line in lines)


def test_a_column_is_a_little_wider_where_its_words_then_fit_into_a_line(tmp_path):
    images.save(tmp_path / "a.png", np.zeros((224, 224, 3)))
    sizes = []
    for caption in ("decoder: 18.2 dB", "from the decoder, 60 steps: 19.1 dB", "words " * 20):
        sheet.write_side_by_side(tmp_path / "sheet.png", ["A title"], [(tmp_path / "a.png", caption)] * 4)
        with Image.open(tmp_path / "sheet.png") as opened:
            sizes.append(opened.size)
    (narrow, one_line), (wider, as_high), (wrapped, higher) = sizes
    assert narrow == wrapped == 16 + 4 * (224 + 16)
    assert narrow < wider < 16 + 4 * (247 + 16)
    assert one_line == as_high < higher


def test_long_titles_are_wrapped(tmp_path):
    images.save(tmp_path / "a.png", np.zeros((32, 32, 3)))
    heights = []
    for title in ("two\nlines ", "two\nlines " * 20, "two\nlines " * 1000):
        sheet.write_side_by_side(tmp_path / "sheet.png", ["A title", title], [(tmp_path / "a.png", "caption")])
        with Image.open(tmp_path / "sheet.png") as opened:
            assert opened.size[0] == 720
            assert all(opened.getpixel((719, row)) == (255, 255, 255) for row in range(opened.size[1]))
            heights.append(opened.size[1])
    short, long, endless = heights
    assert short < long < endless < 1000
