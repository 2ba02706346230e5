"""Images that a thread writes."""

import re
import threading

import numpy as np
import pytest
from PIL import Image

from tfinvert.images import files as images
from tfinvert.runs.image_writer import QUEUED_IMAGES, ImageWriter


def test_images_are_all_there_at_the_end_as_they_were_handed_over(tmp_path):
    writer = ImageWriter()
    image = np.zeros((1, 8, 8, 3), np.float32)
    for step in range(50):
        writer.save(tmp_path / f"{step}.png", image)
        image += 0.02  # the caller's array may change afterwards
    writer.flush()
    values = [np.asarray(Image.open(tmp_path / f"{step}.png"))[0, 0, 0] for step in range(50)]
    np.testing.assert_allclose(values, np.arange(50) * 0.02 * 255, atol=1)
    writer.close()


def test_an_image_that_cannot_be_written_is_reported_and_the_next_one_written(tmp_path):
    writer = ImageWriter()
    writer.save(tmp_path / "nowhere" / "a.png", np.zeros((4, 4, 3)))
    with pytest.raises(OSError, match="No such file"):
        writer.flush()
    writer.save(tmp_path / "a.png", np.zeros((4, 4, 3)))
    writer.flush()
    assert (tmp_path / "a.png").exists()
    writer.close()


def test_closing_ends_the_thread_which_can_be_used_again(tmp_path):
    writer, before = ImageWriter(), threading.active_count()
    writer.close()
    for name in ("a.png", "b.png"):
        writer.save(tmp_path / name, np.zeros((4, 4, 3)))
        assert threading.active_count() == before + 1
        writer.close()
        assert threading.active_count() == before
        assert (tmp_path / name).exists()


def test_a_slow_disk_is_waited_for_and_named_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tfinvert.runs.image_writer.WORTH_SAYING", 0.0)
    slow, begun = threading.Event(), threading.Event()

    def save(path, image):
        begun.set()
        slow.wait(60)

    monkeypatch.setattr(images, "save", save)
    writer = ImageWriter()
    for step in range(QUEUED_IMAGES + 1):  # one is being written; nothing waits for it
        writer.save(tmp_path / f"{step}.png", np.zeros((4, 4, 3)))
        assert begun.wait(60)
    assert caplog.text == ""
    threading.Timer(0.1, slow.set).start()
    for step in range(4):
        writer.save(tmp_path / f"{step}.png", np.zeros((4, 4, 3)))
    writer.close()
    (message,) = caplog.messages
    assert re.match(r"the steps waited [1-4] times, \d+\.\d s in all, for images to be written", message)
