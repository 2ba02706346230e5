"""Hostile run directories: what is read of them before any work, and the report that is made of them."""

import importlib
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tests.soak import Row, flag_files, hostile
from tfinvert import cli, experiments
from tfinvert.experiments.invert import Settings
from tfinvert.images import files as images
from tfinvert.reports import charts, sheet
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.summary import describe_inversion
from tfinvert.settings import flagfiles

CASES = 600
LIMITED = True
MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "--><script>alert(1)</script>",
    "$\\frac$",
    "\ud800",
)
MADE: dict[str, bytes] = {}  # a run directory as a finished run leaves it


def soak(scale: float = 1.0) -> list[Row]:
    """Each ends as a report, or as one line that says what is wrong."""
    return [hostile.tried("run_directories", round(CASES * scale)).row("A run directory is read and reported, or refused")]


def prepare() -> None:
    """Imports what the command line and reports import, before cases are watched."""
    for name in ("tfinvert.runner", "tfinvert.reports.page", "tfinvert.networks.load"):
        importlib.import_module(name)
    for name in experiments.names():
        experiments.find(name)
    Image.init()
    charts.lines({"a": ([0, 1], [1.0, 2.0])}, "y", log=True)


def _made(folder: Path) -> dict[str, bytes]:
    """The files of a finished run."""
    if not MADE:
        run = RunDirectory(folder / "made")
        settings = Settings(size=(16, 16), steps=40)
        info = {"experiment": "invert", "network": "vgg16-bn", "weights": "random", "pool": "avg", "image": "astronaut"}
        info["layers"] = {"conv3_1": {"receptive_field": [24, 24]}}
        names = "psnr ssim normalized_feature_error mv2016_error mv2015_error seconds steps_per_second peak_memory_mb"
        result = dict.fromkeys(names.split(), 1.5)
        run.create(flagfiles.text(settings), {**info, "result": result}, resume=False)
        for step in range(0, 41, 10):
            line = {"step": step, "loss": 9.0 / (step + 1), "learning_rate": 0.1, "conv3_1": 1.0, "tv": 0.1, "psnr": 9.0 + step}
            run.append_metrics(line)
            images.save(run.image_path(step), np.full((16, 16, 3), step / 50))
        for path in (run.target, run.final):
            images.save(path, np.random.default_rng(0).random((16, 16, 3)))
        MADE.update({str(p.relative_to(run.path)): p.read_bytes() for p in run.path.rglob("*") if p.is_file()})
        shutil.rmtree(run.path)
    return MADE


def _value(rng: random.Random, depth: int = 0) -> object:
    """Anything that JSON can say."""
    simple = (None, True, 0, -1, 3, 2**70, 1.5, -1e308, 1e400, float("nan"), "", "x", "1", 10**400, *MARKUP)
    kind = rng.randrange(8)
    if depth < 2 and kind == 0:
        return [_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 5)))]
    if depth < 2 and kind == 1:
        return {rng.choice(("psnr", "conv3_1", "receptive_field", "x", *MARKUP)): _value(rng, depth + 1) for _ in range(3)}
    return rng.choice(simple)


def _json(rng: random.Random, data: bytes) -> bytes:
    """A JSON object with some of its values, anywhere in it, others."""
    try:
        found = json.loads(data)
        assert isinstance(found, dict)
    except (ValueError, RecursionError, AssertionError):  # damaged before
        return rng.randbytes(5) + data
    for _ in range(rng.choice((1, 1, 2, 4))):
        inside = found
        while True:
            name = rng.choice((*inside, "new", *MARKUP))
            if isinstance(inside.get(name), dict) and inside[name] and rng.random() < 0.7:
                inside = inside[name]
                continue
            if rng.random() < 0.2:
                inside.pop(name, None)
            else:
                inside[name] = _value(rng)
            break
    return json.dumps(found).encode()


def _changed(rng: random.Random, name: str, data: bytes) -> bytes:
    kind = rng.randrange(6)
    if kind == 0 or not data:
        return rng.choice((b"", rng.randbytes(100), b"null", b"[]", b"5", b"{", b"[" * 10**5, b"\xff\xfe", b'{"a":' * 10**4))
    if kind == 1:
        return data[: rng.randrange(len(data))]
    if kind == 2:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 5))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if name == "run.json":
        return _json(rng, data)
    if name == "metrics.jsonl":
        lines = data.splitlines()
        for _ in range(rng.choice((1, 3))):
            lines[rng.randrange(len(lines))] = _json(rng, lines[0])
        if rng.random() < 0.2:
            lines += [json.dumps({f"{n}{rng.choice(MARKUP)}": n for n in range(200)}).encode()] * 3
        return b"\n".join(lines)
    if name == "run.flags":
        return data + b"\n" + flag_files.line(rng).encode("utf-8", "surrogatepass")
    return rng.randbytes(10) + data


def _damage(rng: random.Random, run: Path, folder: Path) -> None:
    """One file of the directory is another, is gone, or is something else than a file."""
    names = sorted(MADE)
    important = ("run.json", "run.json", "metrics.jsonl", "metrics.jsonl", "run.flags", "final.png", "target.png")
    path = run / rng.choice((*important, rng.choice(names)))
    kind = rng.randrange(10)
    if not path.is_file() or path.is_symlink():
        return
    if kind < 6:
        path.write_bytes(_changed(rng, path.name, path.read_bytes()))
        return
    path.unlink()
    if kind == 6:
        path.mkdir()
    elif kind == 7:
        os.mkfifo(path)
    elif kind == 8:
        path.symlink_to(
            rng.choice((folder.parent / "elsewhere" / "kept.txt", "/dev/zero", "/etc/passwd", path.name, "nowhere"))
        )
    elif rng.random() < 0.5:
        shutil.rmtree(run / "images", ignore_errors=True)
        if not (run / "images").exists():
            (run / "images").symlink_to(folder.parent / "elsewhere")


def case(rng: random.Random, folder: Path) -> str:
    """One to three run directories."""
    os.chdir(folder)
    try:
        return _read(rng, folder)
    except OSError:  # the command line makes it one line
        return "refused"


def _read(rng: random.Random, folder: Path) -> str:
    runs = folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    names = rng.sample(("baseline", "q1", "q2.1", "q3.1", "q4", "<script>alert(1)<"), rng.choice((1, 2, 3)))
    for name in names:
        for file, data in _made(folder).items():
            (runs / name / file).parent.mkdir(parents=True, exist_ok=True)
            (runs / name / file).write_bytes(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _damage(rng, runs / rng.choice(names), folder)
    kind = rng.randrange(4)
    if kind < 2:
        listed = ",".join(str(runs / name) for name in names)
        code = cli.main(["tfinvert", "--experiment=report", f"--runs={listed}", f"--output_dir={runs}"])
        assert code in (0, 2)
        if code == 2:
            return "refused"
        html = (runs / "report.html").read_text(encoding="utf-8")
        assert html.count("<script") == 1  # its own
        assert "<img src=x" not in html
        assert "root:x:" not in html
        json.loads((runs / "report.json").read_text(encoding="utf-8"))
        return "accepted"
    run = RunDirectory(runs / names[0])
    text = _made(folder)["run.flags"].decode()
    run.check(text, resume=kind == 2, overwrite=kind == 3)
    if kind == 3:
        run.create(text, {}, resume=False)
    elif run.is_finished(text):
        describe_inversion(run.read_info())
    run.rewind(rng.choice((0, 15)))
    run.step_images()
    sheet.write(run, run.read_info())
    charts.write_curves(run)
    return "accepted"
