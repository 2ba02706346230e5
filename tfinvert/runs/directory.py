"""The run directory: what a run is, what happened, what came out. It owns every path in there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import metrics
from tfinvert.errors import DiskError, InputError
from tfinvert.images import files as images
from tfinvert.system import locks
from tfinvert.system.files import read_text, replacing, write_text

QUEUED_PICTURES = 16
WORTH_SAYING = 1.0  # seconds for which steps have waited until pictures were written
# Of run.json: what has another type there is damaged, and taken for missing.
KINDS = {
    **dict.fromkeys(("experiment", "network", "weights", "pool", "image", "stopped"), str),
    **dict.fromkeys(("layers", "result"), dict),
}
MOST_VALUES, LONGEST_NAME, LARGEST_VALUE = 6000, 500, 1e30  # of a line of metrics.jsonl
log = logging.getLogger("tfinvert")


class RunDirectory:
    """One run's folder. Pictures are written by a thread of its own; use it as a context manager to wait for them.

    Attributes:
      path: the folder.
      flags, info, metrics, target, final, sheet, curves, maps, table, decoder, decoder_onnx, checkpoints,
        tensorboard: paths inside.
    """

    def __init__(self, path: Path):
        self.path = path
        self.flags = path / "run.flags"
        self.info = path / "run.json"
        self.metrics = path / "metrics.jsonl"
        self.target = path / "target.png"
        self.final = path / "final.png"
        self.sheet = path / "sheet.png"
        self.curves = path / "curves.png"
        self.maps = path / "maps.npz"
        self.images = path / "images"
        self.table = path / "table.md"
        self.decoder = path / "decoder.keras"
        self.decoder_onnx = path / "decoder.onnx"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self._queue: queue.Queue[tuple[Path, np.ndarray] | None] = queue.Queue(QUEUED_PICTURES)
        self._failure: BaseException | None = None
        self._writer: threading.Thread | None = None
        self._waits, self._waited = 0, 0.0

    def check(self, flagfile: str, *, resume: bool, overwrite: bool) -> None:
        """Refuses a folder that holds something else, before any work is done. Writes nothing.

        Raises:
          InputError: the folder holds another run, files that are no run, or cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--output_dir {str(self.path)!r} is a file; expected a folder")
        linked = next((p for p in (*self._files(), *self._folders(), self.path / ".lock") if p.is_symlink()), None)
        if linked is not None:
            raise InputError(f"{linked} is a link, and what is written there would go elsewhere; choose another --output_dir")
        there = sorted(p.name for p in self.path.iterdir() if not p.name.startswith(".")) if self.path.is_dir() else []
        if there and not self.flags.exists():
            raise InputError(f"{self.path} holds files that are no run ({there[0]}, ...); choose another --output_dir")
        if resume and self.flags.exists():
            changed = differing_flags(read_text(self.flags), flagfile)
            if changed:
                raise InputError(
                    f"{self.path} holds a run with other settings ({'; '.join(changed[:4])}); "
                    "--resume continues the same run only: give the same flags, or another --output_dir"
                )
        elif there and not overwrite:
            raise InputError(f"{self.path} already holds a run; give --resume, --overwrite or another --output_dir")
        existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            raise InputError(f"cannot write to {existing}; choose another --output_dir")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within it, no other process writes here; the lock of a process that died is free.

        Raises:
          InputError: another run is writing here, or nothing can be written.
          DiskError: a file cannot be written later on.
        """
        with locks.locked(self.path):
            try:
                yield
            except DiskError:
                raise
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                kept = any(self.checkpoints.rglob("*.index"))
                more = "; --resume goes on from the last checkpoint" if kept else ""
                raise DiskError(f"cannot go on in {self.path}: {error.strerror or error}{where}{more}") from None

    def create(self, flagfile: str, info: dict[str, Any], *, resume: bool) -> None:
        """Starts a run in the folder, emptied unless it is resumed from checkpoints; settings come before any work.

        A process that is killed in here leaves a folder whose settings are still those of what it holds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not (resume and self.checkpoints.is_dir()):
            self._remove_run()
        self._mend_checkpoints()
        for part in list(self.path.rglob(".*.part*")):  # of a run that was killed; the folder is locked
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
        write_text(self.flags, flagfile)
        self.images.mkdir(exist_ok=True)
        self.write_info(info)

    def _mend_checkpoints(self) -> None:
        """Makes TensorFlow's lists of checkpoints name those that are here, and no others.

        It reads whatever path a list names, and removes it when the checkpoint is old.
        """
        for state in self.checkpoints.rglob("checkpoint"):
            found = {
                int(match[1]): path
                for path in state.parent.iterdir()
                if (match := re.fullmatch(r"ckpt-([0-9]{1,18})\.index", path.name))
            }
            if state.is_dir():
                shutil.rmtree(state)
            if found:
                # Without their times, TensorFlow would know of the newest one only.
                lines = [
                    f'all_model_checkpoint_paths: "{path.stem}"\nall_model_checkpoint_timestamps: {path.stat().st_mtime}\n'
                    for _, path in sorted(found.items())
                ]
                write_text(state, f'model_checkpoint_path: "{found[max(found)].stem}"\n{"".join(lines)}')
            else:
                state.unlink(missing_ok=True)

    def _files(self) -> tuple[Path, ...]:
        pictures = (self.target, self.final, self.sheet, self.curves)
        return (self.flags, self.info, self.metrics, *pictures, self.maps, self.table, self.decoder, self.decoder_onnx)

    def _folders(self) -> tuple[Path, ...]:
        return (self.images, self.checkpoints, self.tensorboard)

    def _remove_run(self) -> None:
        """Removes all but the settings."""
        if self.checkpoints.is_dir():
            self.checkpoints.rename(self.path / f".checkpoints.{os.getpid()}.part")  # none is left without another
        for file in self._files():
            if file != self.flags:
                file.unlink(missing_ok=True)
        for folder in (self.images, self.tensorboard):
            shutil.rmtree(folder, ignore_errors=True)

    def is_finished(self, flagfile: str) -> bool:
        """Whether the folder holds this very run, ended as it should: its figures are the last that is written."""
        info = self.read_info()
        return "result" in info and "stopped" not in info and read_text(self.flags) == flagfile

    def summary(self) -> str:
        """The figures of run.json, and where the pictures are."""
        info = self.read_info()
        result = _Figures(info["result"])
        starts = result.starts()
        return (
            f"PSNR {result('psnr'):.2f} dB, SSIM {result('ssim'):.4f}, "
            f"normalized feature error {result('normalized_feature_error'):.3g}; "
            f"{result('seconds'):.1f} s, {result('steps_per_second'):.1f} steps/s, {result('peak_memory_mb'):.0f} MB at most\n"
            f"error of Mahendran & Vedaldi 2015 {result('mv2015_error'):.3g}, of 2016 {result('mv2016_error'):.3g}\n"
            + (f"best of {len(starts)} starts; {_mean(starts, 'psnr', 'dB')}\n" if starts else "")
            + f"weights: {info.get('weights')}\n"
            f"pictures: {self.final}, {self.sheet}, {self.curves}"
        )

    def read_info(self) -> dict[str, Any]:
        """run.json without what is damaged in it; an empty dict where there is none that can be read."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(read_text(self.info))
            json.dumps(found, ensure_ascii=False).encode()  # half of a character is a ValueError
            if isinstance(found, dict):
                found = {name: value for name, value in found.items() if isinstance(value, KINDS.get(name, object))}
                if not all(map(_is_layer, found.get("layers", {}).values())):
                    del found["layers"]
                return found
        return {}

    def write_info(self, info: dict[str, Any]) -> None:
        """Replaces run.json."""
        write_text(self.info, json.dumps(info, indent=2) + "\n")

    def save_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes maps.npz: the numbers behind pictures whose range is stretched to be seen."""
        with replacing(self.maps) as part, open(part, "wb") as file:
            np.savez_compressed(file, **arrays)

    def write_table(self, text: str) -> None:
        """Replaces table.md."""
        write_text(self.table, text)

    def picture_path(self, step: int) -> Path:
        """Where the picture of a step is."""
        return self.images / f"{step:06d}.png"

    def pictures(self) -> dict[int, Path]:
        """Step -> picture, in order."""
        return {int(p.stem): p for p in sorted(self.images.glob("[0-9]*.png")) if p.stem.isdecimal() and p.is_file()}

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that are whole: names with finite numbers, and a step."""
        lines: list[Any] = []
        with contextlib.suppress(OSError):
            for line in read_text(self.metrics).split("\n"):
                with contextlib.suppress(ValueError, RecursionError):
                    lines.append(json.loads(line))
        return [one for one in lines if _is_line(one)]

    def rewind(self, step: int) -> None:
        """Forgets lines and pictures from `step` on: a resumed run makes them again."""
        kept = [line for line in self.read_metrics() if line["step"] < step]
        write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))
        for number, path in self.pictures().items():
            if number >= step:
                path.unlink()

    def has(self, steps: Iterable[int]) -> bool:
        """Whether the lines and the pictures of these steps are all here."""
        wanted = set(steps)
        return wanted <= self.pictures().keys() and wanted <= {line["step"] for line in self.read_metrics()}

    def goes_beyond(self, step: int) -> bool:
        """Whether there is a line of a later step."""
        return any(line["step"] > step for line in self.read_metrics())

    def save_picture(self, path: Path, image: np.ndarray) -> None:
        """Hands a picture to the writing thread; waits only where 16 are already waiting.

        Raises:
          OSError: an earlier picture could not be written.
        """
        self._raise_failure()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_pictures, name="pictures", daemon=True)
            self._writer.start()
        item = (path, np.array(image))
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            started = time.perf_counter()
            self._queue.put(item)
            self._waits += 1
            self._waited += time.perf_counter() - started

    def flush(self) -> None:
        """Waits until every picture is written. Raises OSError as `save_picture`."""
        self._queue.join()
        self._raise_failure()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits for the pictures, ends the thread, and says so if steps had to wait for the disk."""
        try:
            if kind is None:
                self.flush()
        finally:
            if self._writer is not None:
                self._queue.put(None)
                self._writer.join()
                self._writer = None
            if self._waited >= WORTH_SAYING:
                said = (
                    "the steps waited %d times, %.1f s in all, for pictures to be written; a larger --save_every writes fewer"
                )
                log.warning(said, self._waits, self._waited)
            self._waits, self._waited = 0, 0.0

    def _write_pictures(self) -> None:
        item: tuple[Path, np.ndarray] | None = (self.path, np.empty(0))
        while item is not None:
            item = self._queue.get()
            if item is not None and self._failure is None:
                try:
                    images.save(*item)
                except BaseException as error:
                    self._failure = error
            self._queue.task_done()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


def is_number(value: object) -> bool:
    """Whether a value of a JSON file is a finite number of a usual size."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST_VALUE


def _is_line(line: object) -> bool:
    return (
        isinstance(line, dict)
        and len(line) <= MOST_VALUES
        and isinstance(line.get("step"), int)
        and 0 <= line["step"] < 2**53
        and all(map(is_number, line.values()))
        and all(len(name) <= LONGEST_NAME and name.isprintable() for name in line)
    )


def _is_layer(layer: object) -> bool:
    if not isinstance(layer, dict):
        return False
    field = layer.get("receptive_field")
    return field is None or (isinstance(field, list) and len(field) == 2 and all(map(is_number, field)))


class _Figures:
    """The result of run.json by name, NaN where there is no number."""

    def __init__(self, result: dict[str, Any]):
        self._result = result

    def __call__(self, name: str) -> float:
        value = self._result.get(name)
        return value if is_number(value) else float("nan")  # type: ignore[return-value]

    def starts(self) -> list[dict[str, float]]:
        found = self._result.get("starts", [])
        whole = isinstance(found, list) and all(isinstance(one, dict) and is_number(one.get("psnr")) for one in found)
        return found if whole else []


def _mean(starts: list[dict[str, float]], name: str, unit: str) -> str:
    mean, half = metrics.interval([start[name] for start in starts])
    return f"mean {mean:.2f} {unit}, 95 % interval +-{half:.2f}"


def differing_flags(stored: str, wanted: str) -> list[str]:
    """What sets two flagfiles apart, as `--steps=20, was 10`. More steps are no difference where nothing depends on their
    number: not the schedule, nor the weights of the regularizers."""
    before, now = (dict(_split(line) for line in text.splitlines() if line.startswith("--")) for text in (stored, wanted))
    endless = all(
        flags.get("--schedule") == "constant" and flags.get("--regularizer_final", "-1.0") in ("-1.0", "1.0")
        for flags in (before, now)
    )
    changed = []
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) == now.get(name):
            continue
        longer = endless and name == "--steps"
        if longer and re.fullmatch(r"[0-9]{1,18}", before.get(name, "")) and int(now[name]) >= int(before[name]):
            continue
        changed.append(f"{name[:60]}={now.get(name, '(default)')[:200]}, was {before.get(name, '(default)')[:200]}")
    return changed


def _split(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name, value
