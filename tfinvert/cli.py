"""The command line: flags become settings, the runner runs them, and the result is printed.

TensorFlow is imported after the flags have been read and the conversion has been started: a wrong flag is answered at once.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tfinvert
from tfinvert import experiments
from tfinvert.settings import completion, flagfiles, flags, help_text, packaged
from tfinvert.settings.fields import Settings
from tfinvert.system import child, signals
from tfinvert.system.errors import InputError, NonFiniteLossError, choice_error

if TYPE_CHECKING:
    from tfinvert import runner

HELP_FLAGS = ("--help", "-help", "-h", "--helpfull", "--helpshort")
WORDS = ("demo", "examples", "completion")  # first words of a command line beside the experiments
DEFAULT = "invert"
DEMO = "--flagfile=quickstart"  # what `tfinvert demo` does
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
log = logging.getLogger("tfinvert")
FLAGS_OF_FILES = {
    **dict.fromkeys(IMAGES, "image"),
    **dict.fromkeys((".onnx", ".keras"), "onnx"),
    ".flags": "flagfile",
    ".py": "experiment",
}


def parse(arguments: Sequence[str]) -> tuple[experiments.Experiment, Settings]:
    """The experiment and the settings that a command line describes, without the program's name; raises InputError."""
    experiment, expanded = _experiment(arguments)
    for name, text in _given_twice(arguments):
        log.warning("--%s is given twice; the last one counts, --%s=%s", name, name, text)
    values = flags.values(experiment.settings, expanded)
    if "output_dir" in values and not _names_folder(arguments) and experiment.name != _experiment_of_flagfiles(arguments):
        # The folder of a flagfile is another experiment's.
        values["output_dir"] = str(Path("out", experiment.name, Path(values["output_dir"]).name))
    return experiment, experiment.settings(**experiment.settings.complete(values))


def _experiment(arguments: Sequence[str]) -> tuple[experiments.Experiment, list[str]]:
    """The experiment of a command line, and its arguments with flagfiles expanded."""
    expanded = flagfiles.expand(_as_flags(arguments))
    return experiments.find(flags.experiment_of(expanded, DEFAULT)), expanded


def _given_twice(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """The flags that the command line itself gives more than once, with different values: name, and the last value."""
    given: dict[str, list[str]] = {}
    for argument in arguments:
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and equals and name not in ("flagfile", "experiment"):
            given.setdefault(name, []).append(value)
    return [(name, texts[-1]) for name, texts in given.items() if len(set(texts)) > 1]


def _names_folder(arguments: Sequence[str]) -> bool:
    """Whether the command line itself, without its flagfiles, says where the results go."""
    return any(argument.lstrip("-").partition("=")[0] == "output_dir" for argument in arguments if argument.startswith("-"))


def _experiment_of_flagfiles(arguments: Sequence[str]) -> str:
    named = [argument for argument in arguments if argument.startswith(("--flagfile=", "-flagfile="))]
    return flags.experiment_of(flagfiles.expand(named), DEFAULT)


def _as_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments with the flag that the first word stands for: `saliency` is `--experiment=saliency`."""
    first, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if first in experiments.names():
        return [f"--experiment={first}", *rest]
    if first == "demo":
        return [DEMO, *rest]
    if not first or first.startswith("-"):
        return list(arguments)
    flag = FLAGS_OF_FILES.get(Path(first).suffix.lower())
    if flag:
        raise InputError(f"{first[:200]!r} is no experiment; did you mean --{flag}={first[:200]}?")
    raise choice_error("experiment", first, [*experiments.names(), *WORDS])


def run_arguments(arguments: Sequence[str]) -> int:
    """Runs the experiment of a command line and prints its result; returns the exit code."""
    from tfinvert import runner, worker

    experiment, settings = parse(arguments)
    numbered = not _names_folder(arguments)
    try:
        return _print(experiment, runner.execute(experiment, settings, numbered=numbered, work=worker.work))
    except signals.Interrupted as interrupted:
        interrupted.advice = getattr(settings, "how_to_go_on", lambda: "")()
        raise


def _print(experiment: experiments.Experiment, runs: Sequence[runner.Run]) -> int:
    """Prints the results of runs; returns the exit code."""
    from tfinvert import runner

    code = 0
    for run in runs:
        name = f"{Path(run.settings.image[0]).stem}: " if len(runs) > 1 else ""
        error = getattr(run.result, "error", None)
        if isinstance(error, NonFiniteLossError):
            log.error(f"{name}{error}")
            code = 1
        elif error is not None:
            raise error
        elif text := runner.summary(experiment, run):
            print(text)
    return code or next((run.result.exit_code for run in runs if getattr(run.result, "exit_code", 0)), 0)


def main(arguments: Sequence[str]) -> int:
    """The program; returns its exit code.

    0; 1 where the loss diverged, one of several runs failed or a file could not be written; 2 for a mistake of the user's;
    128 + the number of the signal that ended it.
    """
    _log_to_standard_error()
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's environment or keras.json says
    try:
        with signals.raising():
            child.end_with_parent(child.stop)
            if text := _answer(list(arguments[1:])):
                print(text)
                return 0
            return run_arguments(arguments[1:])
    except InputError as error:
        return _fail(str(error), 2)
    except NonFiniteLossError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # the reader is gone, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not error.filename:  # of os.getcwd
            return _fail("the working directory does not exist any more; change into another one", 1)
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", 1)
    except signals.Interrupted as interrupted:
        advice = f"; {interrupted.advice}" if interrupted.advice else ""
        return _fail(f"ended by {interrupted}{advice}", 128 + interrupted.number)


def _answer(arguments: list[str]) -> str:
    """What is answered at once, without running anything; empty where the arguments ask for a run."""
    words = [argument for argument in arguments if argument not in HELP_FLAGS]
    if len(words) < len(arguments):
        return _help(words)
    if "--version" in arguments:
        from importlib.metadata import version  # a quarter of the time that --help takes

        return f"tfinvert {tfinvert.__version__} (Python {platform.python_version()}, TensorFlow {version('tensorflow')})"
    if arguments[:1] == ["help"]:
        return _help(arguments[1:])
    if arguments[:1] == ["examples"]:
        return _examples(arguments[1:])
    if arguments[:1] == ["completion"]:
        kinds = {name: experiments.find(name).settings for name in experiments.names()}
        return completion.script(" ".join(arguments[1:]), kinds, WORDS, packaged.names()).rstrip()
    return ""


def _examples(names: Sequence[str]) -> str:
    """The list of the flagfiles that come with the program, or the text of some."""
    texts = []
    for name in names:
        path = packaged.find(name)
        if path is None:
            raise choice_error("example", name, packaged.names())
        texts.append(path.read_text(encoding="utf-8").rstrip())
    return "\n\n".join(texts) or packaged.listing()


def _help(arguments: Sequence[str]) -> str:
    """The help for an experiment, where the arguments name one, else for the program."""
    if not arguments or arguments[0] in ("examples", "completion"):  # at once: no experiment is imported for it
        return help_text.program_text({name: experiments.sentence(name) for name in experiments.names()})
    experiment, _ = _experiment(arguments)
    sentence = (experiment.module.__doc__ or "").partition("\n")[0]
    return help_text.experiment_text(experiment.name, sentence, experiment.settings)


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("tfinvert: %(message)s"))
    log.setLevel(logging.INFO)
    log.handlers = [handler]
    log.propagate = False
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it says where it keeps its fonts, and that it looks for them


def _fail(message: str, code: int) -> int:
    print(f"tfinvert: {' '.join(message.split())}", file=sys.stderr)
    return code


def run() -> None:
    """Entry point of the console script and of run_experiments.py."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        # TensorFlow takes every path for UTF-8, whatever the locale: so must Python, from its start on.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})
    # Not absl.app.run: it answers a wrong flag with a page of usage, and --help with an exit code of 1.
    sys.exit(main(sys.argv))


if __name__ == "__main__":
    run()
