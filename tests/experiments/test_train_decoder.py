"""Whole trainings of a tiny decoder: files, figures, going on after a kill, workers, bad data, full disks."""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, messages, run_program, tiny_graph, without_notes, write_onnx
from tfinvert import cli

STEPS = 8  # in an epoch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A tiny network and a folder of images with something in them to learn."""
    folder = tmp_path_factory.mktemp("data")
    write_onnx(tiny_graph(), folder / "tiny.onnx")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        coarse = rng.integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((24, 20), Image.Resampling.BICUBIC).save(folder / "images" / f"{number}.png")
    return folder


def flags(data, folder, *more):
    return (
        *(
            "--experiment=train_decoder",
            f"--onnx={data / 'tiny.onnx'}",
            f"--data={data / 'images'}",
            f"--output_dir={folder}",
        ),
        *("--layers=conv1", "--width=4", "--batch_size=4", f"--epoch_pictures={4 * STEPS}", "--learning_rate=0.003"),
        *more,
    )


def call(capfd, *arguments):
    """Runs the program in this process; returns its exit code and what it said on standard error beside its notes."""
    capfd.readouterr()
    code = cli.main(["tfinvert", *map(str, arguments)])
    return code, without_notes(capfd.readouterr().err)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def start(*arguments, **environment):
    command = [sys.executable, str(ROOT / "run_experiments.py"), *map(str, arguments)]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_lines(folder, count, *processes):
    deadline = time.monotonic() + 120
    while not (folder / "metrics.jsonl").exists() or len(lines(folder)) < count:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes), processes[0].communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = run_program(*flags(data, folder, "--epochs=8", "--tensorboard"))
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_training_leaves_a_whole_run_directory(finished):
    folder, done = finished
    assert messages(done) == []
    history = lines(folder)
    assert [line["step"] for line in history] == list(range(STEPS, 8 * STEPS + 1, STEPS))
    assert set(history[0]) == {"step", "loss", "val_loss", "psnr", "learning_rate"}
    assert history[-1]["loss"] < history[0]["loss"] / 1.5
    info = json.loads((folder / "run.json").read_text())
    result = info["result"]
    assert result["psnr"] == pytest.approx(max(line["psnr"] for line in history), abs=0.5)
    assert result["psnr_gain"] == pytest.approx(result["psnr"] - result["psnr_mean_image"])
    assert result["psnr_gain"] > 1
    assert 0 < result["encoder_share"] < 1
    assert result["pipeline_images_per_second"] > result["images_per_second"]
    assert result["onnx_difference"] < 1e-4
    assert info["encoder"]["layer"] == "conv1"
    assert info["image"].startswith("held out of ")
    assert info["images"] == {"trained_on": 11, "tested_with": 1, "classes": [], "skipped": []}
    for name in (
        "target.png",
        "final.png",
        "sheet.png",
        "curves.png",
        "decoder.keras",
        "decoder.onnx",
        f"images/{STEPS:06d}.png",
    ):
        assert (folder / name).is_file(), name
    events = [path.parent.name for path in (folder / "tensorboard").rglob("events*")]
    assert {"train", "validation", "images"} <= set(events)
    assert f"psnr gain {result['psnr_gain']:.4g}" in done.stdout


def test_a_finished_training_is_not_begun_again(data, finished):
    folder, done = finished
    before = (folder / "run.json").read_bytes()
    assert run_program(*flags(data, folder, "--epochs=8", "--tensorboard"), "--resume").stdout == done.stdout
    assert (folder / "run.json").read_bytes() == before


def test_decoding_takes_the_decoder_s_own_encoder_and_refuses_another(data, finished, tmp_path, capfd):
    folder, _ = finished
    decode = ("--experiment=decode", f"--image={data / 'images' / '3.png'}")
    decoded = {}
    for source in (folder, folder / "decoder.onnx"):
        out = tmp_path / source.name
        assert call(capfd, *decode, f"--decoder={source}", f"--output_dir={out}") == (0, "")
        info = json.loads((out / "run.json").read_text())
        assert info["result"]["psnr"] > 10
        assert list(info["layers"]) == ["conv1"]
        with Image.open(out / "final.png") as file:
            decoded[source] = np.asarray(file, np.int16)
        assert call(capfd, f"--flagfile={out / 'run.flags'}", f"--output_dir={tmp_path / 'again'}", "--overwrite") == (0, "")
        assert (tmp_path / "again" / "final.png").read_bytes() == (out / "final.png").read_bytes()
    first, second = decoded.values()
    assert np.abs(first - second).max() <= 1
    other = write_onnx(tiny_graph(seed=1), tmp_path / "other.onnx")
    for wrong, words in {
        "--layers=conv2": "layer conv1, not conv2",
        "--pool=avg": "pool max, not avg",
        f"--onnx={other}": "for another encoder: sha256",
        "--size=32": "size (16, 16), not (32, 32)",
    }.items():
        code, said = call(capfd, *decode, f"--decoder={folder}", wrong, f"--output_dir={tmp_path / 'no'}")
        assert (code, said.count("\n")) == (2, 1)
        assert words in said
    assert not (tmp_path / "no").exists()
    assert call(capfd, "--experiment=decode") == (
        2,
        "tfinvert: --experiment=decode expects --decoder, a run of --experiment=train_decoder or its file\n",
    )


@pytest.mark.slow
def test_the_kept_features_are_those_of_the_encoder_and_a_damaged_cache_is_made_again(data, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path / "cache"))
    arguments = (*flags(data, tmp_path / "run", "--epochs=2", "--noaugment"), "--overwrite")
    assert call(capfd, *arguments) == (0, "")
    expected = [line["loss"] for line in lines(tmp_path / "run")]
    said = []
    for spoil in (False, False, True):
        if spoil:
            (kept,) = (tmp_path / "cache" / "features").glob("*.npy")
            kept.write_bytes(kept.read_bytes()[:-7])
        code, text = call(capfd, *arguments, "--cache_features")
        assert code == 0, text
        said.append(text)
        assert [line["loss"] for line in lines(tmp_path / "run")] == pytest.approx(expected, rel=1e-2)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["result"]["encoder_share"] == 0
    assert ["features of 11 images are kept" in text for text in said] == [True, False, True]
    assert ["damaged" in text for text in said] == [False, False, True]


@pytest.mark.slow
def test_a_vector_is_decoded_until_early_stopping_ends_the_training(data, tmp_path, capfd):
    arguments = flags(data, tmp_path, "--layers=fc", "--epochs=200", "--patience=2", "--picture_loss=l1", "--upsampling=resize")
    assert call(capfd, *arguments, "--learning_rate=0.05", "--feature_weight=0.1", "--precision=bfloat16") == (0, "")
    losses = [line["val_loss"] for line in lines(tmp_path)]
    assert len(losses) < 200
    assert np.argmin(losses) == len(losses) - 3


def test_bad_images_are_skipped_and_too_few_refused(data, tmp_path, capfd):
    (tmp_path / "some").mkdir()
    for number in range(4):
        image = (data / "images" / f"{number}.png").read_bytes()
        (tmp_path / "some" / f"{number}.png").write_bytes(image if number != 2 else image[:60])
    arguments = ("--epochs=1", f"--data={tmp_path / 'some'}", "--held_out=0.25", "--seed=1")
    code, said = call(capfd, *flags(data, tmp_path / "run", *arguments))
    assert code == 0, said
    assert "1 of 3 images are skipped" in said
    skipped = json.loads((tmp_path / "run" / "run.json").read_text())["images"]["skipped"]
    assert skipped == [str(tmp_path / "some" / "2.png")]
    for number in range(1, 4):
        (tmp_path / "some" / f"{number}.png").unlink()
    code, said = call(capfd, *flags(data, tmp_path / "none", *arguments))
    assert (code, said.count("\n")) == (2, 1)
    assert "holds 1 images" in said
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_full_disk_while_a_checkpoint_is_written_loses_nothing(data, tmp_path):
    arguments = flags(data, tmp_path / "run", "--epochs=60", "--width=64")
    process = start(*arguments)
    wait_for_lines(tmp_path / "run", 4, process)
    process.kill()
    process.communicate()
    # Room for decoder.keras, not for the checkpoint, which holds Adam's two moments besides.
    limit = 1.3 * (tmp_path / "run" / "decoder.keras").stat().st_size // 1024
    command = ["bash", "-c", f'ulimit -f {limit:.0f}; exec "$@"', "bash", sys.executable, str(ROOT / "run_experiments.py")]
    full = subprocess.run([*command, *arguments, "--resume"], env=os.environ, capture_output=True, text=True, check=False)
    assert full.returncode == 1, full.stderr
    assert len(messages(full)) == 1
    assert "cannot be written (File too large); the one before it is kept" in full.stderr
    before = lines(tmp_path / "run")
    process = start(*arguments, "--resume")
    wait_for_lines(tmp_path / "run", len(before) + 1, process)
    process.kill()
    process.communicate()
    assert lines(tmp_path / "run")[: len(before) - 1] == before[:-1]  # the last is made again


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for place in sockets:
        place.bind(("127.0.0.1", 0))
    ports = [place.getsockname()[1] for place in sockets]
    for place in sockets:
        place.close()
    return ports


def start_workers(*arguments, count=2):
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    return [
        start(*arguments, TF_CONFIG=json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}))
        for index in range(count)
    ]


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one_and_go_on_after_one_has_died(data, finished, tmp_path):
    arguments = flags(data, tmp_path / "run", "--epochs=8", "--tensorboard")
    chief, other = start_workers(*arguments)
    wait_for_lines(tmp_path / "run", 3, chief, other)
    alone = lines(finished[0])
    for shared_line, line in zip(lines(tmp_path / "run"), alone[:3], strict=False):
        assert shared_line["loss"] == pytest.approx(line["loss"], rel=1e-5)
    other.kill()
    _, said = chief.communicate(timeout=120)
    assert chief.returncode == 2, said
    assert "another worker is gone" in said
    other.communicate()
    for process in start_workers(*arguments, "--resume"):
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    together = lines(tmp_path / "run")
    assert [line["step"] for line in together] == [line["step"] for line in alone]
    np.testing.assert_allclose([line["psnr"] for line in together], [line["psnr"] for line in alone], atol=0.05)


@pytest.mark.slow
def test_alexnet_s_conv2_is_decoded(shared, tmp_path, capfd):
    onnx = shared / "models" / "alexnet-torchvision-trunk.onnx"
    arguments = ("--width=8", "--size=96", "--epochs=6", "--epoch_pictures=160", "--learning_rate=0.01")
    assert call(capfd, "--experiment=train_decoder", f"--onnx={onnx}", *arguments, f"--output_dir={tmp_path}") == (0, "")
    assert json.loads((tmp_path / "run.json").read_text())["result"]["psnr_gain"] > 1


@pytest.mark.slow
def test_a_decoder_is_trained_for_each_of_several_layers(data, tmp_path, capfd):
    both = flags(data, tmp_path / "both", "--layers=conv1,conv2", "--epochs=2")
    assert call(capfd, *both) == (0, "")
    assert call(capfd, *flags(data, tmp_path / "alone", "--layers=conv2", "--epochs=2"))[0] == 0
    for name in ("metrics.jsonl", "target.png"):
        assert (tmp_path / "both" / "conv2" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert (tmp_path / "both" / "conv1" / "decoder.keras").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "both").rglob("decoder.keras")}
    assert call(capfd, *both)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "both").rglob("decoder.keras")} == before
    code, said = call(capfd, *both, "--epochs=3")
    assert code == 2
    assert "holds a run with other settings (--epochs=3, was 2)" in said
