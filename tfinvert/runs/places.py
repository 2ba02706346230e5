"""Where a run goes: no run blocks another, and none is overwritten silently.

A default folder is numbered where another run has it: out/invert/NAME, then NAME-2, NAME-3, and so on. A folder that the user
names is taken as it is.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.flags import differing_flags, same_flags
from tfinvert.settings import flagfiles
from tfinvert.settings.groups import ResumeSettings
from tfinvert.system import locks
from tfinvert.system.errors import InputError
from tfinvert.system.files import read_text, write_text

SHARED_FLAGS = "settings.flags"  # in the folder of a sweep, a suite, a report or a comparison
log = logging.getLogger("tfinvert")


def choose(settings: Any, without: Set[Path] = frozenset()) -> Path:
    """The folder of settings whose folder may be numbered. Writes nothing.

    Args:
      settings: of an experiment that has `output_dir`.
      without: folders that are not considered.

    Returns:
      The folder that holds a run with the same settings. Else, with `resume`, the folder of the most similar run, and with
      `overwrite` the folder without a number. Else the first that is free.
    """
    folder, flagfile = settings.run_folder(), flagfiles.text(settings)
    taken = [path for path in _numbered(folder) if not _is_free(path)]
    stored = {path: text for path in taken if path not in without and (text := _flagfile(settings, path)) is not None}
    for path, text in stored.items():
        if same_flags(text, flagfile):
            return path
    if stored and _resumes(settings):
        return min(stored, key=lambda path: len(_changes(path, stored[path], flagfile)))
    if settings.overwrite and folder in taken and folder not in without:
        return folder
    number = 1
    while (path := _with_number(folder, number)) in taken or path in without:
        number += 1
    return path


def find(settings: Any, *, numbered: bool, finished: bool) -> RunDirectory:
    """The run directory of settings, before any work is done. Writes nothing.

    Args:
      settings: the settings of the run.
      numbered: whether the folder is numbered where another run has it.
      finished: whether a finished run with the same settings may be there.

    Raises:
      InputError: the folder holds something else or a run that is not finished, or cannot be written.
    """
    without: set[Path] = set()
    while True:
        directory = RunDirectory(choose(settings, without) if numbered else settings.run_folder())
        if finished and is_finished(directory, settings):
            return directory
        if not numbered or settings.overwrite or _resumes(settings) or not directory.flags.exists():
            resume = getattr(settings, "resume", None)  # None where the experiment cannot continue a run
            directory.check(flagfiles.text(settings), resume=resume, overwrite=settings.overwrite)
            return directory
        if isinstance(settings, ResumeSettings) and directory.checkpoints.is_dir() and not _is_in_use(directory.path):
            raise InputError(
                f"{directory.path} holds this run, which is not finished; --resume continues it, --overwrite starts it again"
            )
        without.add(directory.path)


def is_finished(directory: RunDirectory, settings: Any) -> bool:
    """Whether a run with these settings is finished in its folder, and is not to be run again."""
    return not settings.overwrite and directory.flags.exists() and directory.is_finished(flagfiles.text(settings))


@contextlib.contextmanager
def claimed(settings: Any, path: Path, *, numbered: bool) -> Iterator[RunDirectory]:
    """Within it, no other process writes into the run's folder.

    Args:
      settings: the settings of the run.
      path: its folder, as `find` or `choose` gave it. Where it is numbered and has been taken meanwhile, the next one is used.
      numbered: whether the folder is numbered.

    Yields:
      The folder.

    Raises:
      InputError: another process writes into the folder that is to be continued or replaced, or the folder of a sweep or a
        suite was made with other settings.
    """
    without: set[Path] = set()
    with contextlib.ExitStack() as stack:
        while True:
            directory = RunDirectory(path)
            goes_on = settings.overwrite or _resumes(settings) or (settings.has_folder and settings.is_continued)
            wait = None if not numbered or (goes_on and not _is_free(path)) else 0
            try:
                stack.enter_context(directory.locked(wait))
                if not numbered:
                    _check_shared(settings, path)
                if not numbered or _is_free(path) or _continues(settings, path):
                    break
                stack.close()
            except locks.LockedError:
                if wait is None:
                    raise
            without.add(path)
            path = choose(settings, without)
        if settings.has_folder and (settings.overwrite or _is_free(path)):
            write_text(path / SHARED_FLAGS, flagfiles.text(settings))
        if path != settings.run_folder():
            log.info(f"{settings.run_folder()} holds another run: this one goes to {path}")
        yield directory


def _continues(settings: Any, path: Path) -> bool:
    """Whether what is in a folder that is not free is to be continued or replaced."""
    text, flagfile = _flagfile(settings, path), flagfiles.text(settings)
    if settings.overwrite:
        return True
    if text is None:
        return False
    if settings.has_folder:
        return settings.is_continued and same_flags(text, flagfile)
    return _resumes(settings) and not _changes(path, text, flagfile)


def _check_shared(settings: Any, path: Path) -> None:
    """Refuses a folder that holds what an experiment such as a sweep made with other settings."""
    if not settings.has_folder or settings.overwrite:
        return
    if RunDirectory(path).flags.exists():
        raise InputError(f"{path} holds a run; choose another --output_dir for --experiment={settings.experiment}")
    text = _flagfile(settings, path)
    if text is None:
        return
    changed = _changes(path, text, flagfiles.text(settings))
    if changed or not settings.is_continued:
        what = f"a run with other settings ({'; '.join(changed[:4])})" if changed else "a comparison already"
        raise InputError(f"{path} holds {what}; give --overwrite to run everything again, or another --output_dir")


def _changes(path: Path, text: str, flagfile: str) -> list[str]:
    """What keeps the run in a folder, with the settings `text`, from being continued with others."""
    planned = RunDirectory(path).read_info().get("settings", {}).get("steps")
    return differing_flags(text, flagfile, planned)


def _resumes(settings: Any) -> bool:
    return getattr(settings, "resume", False) and not settings.has_folder


def _is_in_use(path: Path) -> bool:
    """Whether a process is writing into a folder."""
    try:
        with locks.locked(path, wait=0):
            return False
    except locks.LockedError:
        return True
    except InputError:  # nobody can write into it
        return False


def _numbered(folder: Path) -> list[Path]:
    """The folder and those with its name and a number, as far as they are there, in the order of their numbers."""
    pattern = re.compile(re.escape(folder.name) + r"-([2-9]|[1-9][0-9]{1,8})")
    siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
    numbers = [1, *sorted(int(match[1]) for path in siblings if (match := pattern.fullmatch(path.name)))]
    return [path for number in numbers if _is_there(path := _with_number(folder, number))]


def _with_number(folder: Path, number: int) -> Path:
    return folder if number == 1 else folder.with_name(f"{folder.name}-{number}")


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _is_free(path: Path) -> bool:
    """Whether nothing is there, or a folder with nothing but hidden files in it."""
    if path.is_dir() and not path.is_symlink():
        return all(entry.name.startswith(".") for entry in path.iterdir())
    return not _is_there(path)


def _flagfile(settings: Any, path: Path) -> str | None:
    """The settings of what an experiment of this kind has made in a folder; None where there is nothing of it."""
    with contextlib.suppress(OSError):
        return read_text(path / SHARED_FLAGS if settings.has_folder else RunDirectory(path).flags)
    return None
