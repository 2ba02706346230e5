"""The one way from settings to a finished run: the command line and the library both go through here.

The runner checks the folder and the images, starts the conversion of the network, imports TensorFlow in the meantime, makes the
run directory, calls the experiment, and writes what it returns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinvert import images
from tfinvert.experiments import Experiment, names
from tfinvert.runs import places, workers
from tfinvert.runs.directory import RunDirectory, check_writable
from tfinvert.runs.summary import describe_figures, where
from tfinvert.settings import flagfiles
from tfinvert.settings.fields import Settings
from tfinvert.settings.groups import FolderSettings, ImageFileSettings
from tfinvert.settings.inversion import InversionSettings
from tfinvert.system.errors import InputError
from tfinvert.system.tensorflow import explain_errors, import_tensorflow

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.runs.executors import Work

VIEW = "tfinvert view"  # shows a run directory in the browser
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Given:
    """What a caller of the library hands over as objects; the command line names files instead.

    Attributes:
      network: a loaded network, or None for the one that the settings name.
      images: whatever `images.as_images` takes, or None for the images that the settings name.
      targets: target features by layer, [n, ...], instead of images.
      initial: the first image, or one for each restart, as `images.as_images` takes them; None for what the settings name.
      on_step: called with each Snapshot that carries an image; the run ends early where it returns True.
      progress: whether a progress bar is shown.
      own_process: whether the process has nothing else to do: its TensorFlow is set up for the run, and a run that is finished
        is not run again.
    """

    network: Network | None = None
    images: Any = None
    targets: Mapping[str, Any] | None = None
    initial: Any = None
    on_step: Callable[..., Any] | None = None
    progress: bool = True
    own_process: bool = False


@dataclasses.dataclass
class Run:
    """A run: its settings, its run directory (None to write nothing), and its result (None where it was finished before)."""

    settings: Any
    directory: RunDirectory | None = None
    result: Any = None


def execute(
    experiment: Experiment,
    settings: Settings,
    given: Given | None = None,
    *,
    write: bool = True,
    numbered: bool = False,
    work: Work | None = None,
) -> list[Run]:
    """Runs an experiment.

    The parameters of the experiment's function `run` say what it needs:

    - `settings`;
    - `network`: the Network that the settings name, converted for `settings.layers_needed()`;
    - `images`: float32 [n, height, width, 3] in [0, 1], of the network's size; or None where there are `targets`;
    - `targets`: target features by layer, or None;
    - `initial`: the first images [n, height, width, 3] that the caller gave, or None;
    - `directory`: its RunDirectory, made and locked, or None where nothing is to be written;
    - `directories`: one for each of `settings.each()`, where every image is a run of its own;
    - `executor`: begins with what does many runs (`runs.workers`), for settings with those of `WorkerSettings`;
    - `on_step`, `progress`: as in `Given`.

    Its module may have a function `check` with some of these parameters, which raises InputError before anything is written,
    and a function `prepare(settings, network)`, which starts other conversions than that for `settings.layers_needed()`.

    Args:
      experiment: what to run.
      settings: an instance of its settings.
      given: objects of the caller's. None for none, in a process that has nothing else to do.
      write: whether run directories are made, for settings that have them.
      numbered: whether an `output_dir` is numbered where another run has it, as default folders are.
      work: what a worker does with one of many runs: `worker.work`, which is above this module.

    Returns:
      The runs: one, or one for each image. A result that has an `error` ended early.

    Raises:
      InputError: a setting, an image or the network cannot be used.
    """
    given = given or Given(own_process=True)
    own_process = given.own_process
    needs = set(inspect.signature(experiment.module.run).parameters)
    numbered = numbered or getattr(settings, "output_dir", None) is None
    runs = [Run(one) for one in (settings.each() if "directories" in needs else [settings])]
    if write and settings.has_run_directory:
        for run in runs:
            run.directory = places.find(run.settings, numbered=numbered, finished=own_process)
    elif numbered and isinstance(settings, FolderSettings) and not settings.has_folder:
        settings = dataclasses.replace(settings, output_dir=str(places.choose(settings)))
    if settings.has_folder:
        assert isinstance(settings, FolderSettings)
        place = places.choose(settings) if numbered else settings.run_folder()
        check_writable(place)
    left = []
    for run in runs:
        if own_process and run.directory is not None and places.is_finished(run.directory, run.settings):
            log.info(f"{run.directory.path} holds this run, which is finished; --overwrite runs it again")
        else:
            left.append(run)
    if not left:
        return runs
    with contextlib.ExitStack() as stack:
        named = _image_paths(left) if given.images is None and given.targets is None else []
        for path in (*named, *settings.image_files()):
            images.check(path)
        network = initial = None
        if "network" in needs:
            from tfinvert.networks.load import from_settings, is_keras_file  # imports onnx, which reports do without

            if given.network is None and is_keras_file(settings):  # type: ignore[arg-type]
                _start(settings, own_process=own_process)
            network = given.network or from_settings(settings)  # type: ignore[arg-type]
            network = network.at_precision(getattr(settings, "precision", "float32"))
            if (shown := named if given.images is None else given.images) is not None and given.targets is None:
                network = _fitted(network, settings, shown)
            _check_first(settings, network, own_process=own_process)
            initial = None if given.initial is None else _initial(given.initial, network, settings)
            prepare = getattr(experiment.module, "prepare", _prepare)
            network = prepare(settings, network) or network  # the same for images of another size, where it returns one
            log.info("preprocessing %s (%s)", network.preprocessing, network.preprocessing_from)
        if network is not None and settings.needs_tensorflow:
            _start(settings, own_process=own_process)
        loaded = None
        if "images" in needs and given.targets is None:
            assert network is not None
            source = named if given.images is None else given.images
            loaded = images.as_images(source, network.size, "image", getattr(settings, "resize", "crop"))
        available: dict[str, Any] = {
            "settings": settings,
            "network": network,
            "images": loaded,
            "targets": given.targets,
            "initial": initial,
            "directory": left[0].directory,
            "directories": [run.directory for run in left],
            "on_step": given.on_step,
            "progress": given.progress,
            "executor": functools.partial(workers.connect, settings, work, own_process=own_process),
        }
        _call(getattr(experiment.module, "check", lambda: None), available)
        for number, run in enumerate(left):
            if run.directory is not None:
                own = loaded if len(left) == 1 or loaded is None else loaded[number : number + 1]
                run.directory = stack.enter_context(places.claimed(run.settings, run.directory.path, numbered=numbered))
                _open(run.directory, run.settings, network, own)
        available |= {"directory": left[0].directory, "directories": [run.directory for run in left]}
        if settings.has_folder:
            assert isinstance(settings, FolderSettings)
            folder = stack.enter_context(places.claimed(settings, place, numbered=numbered))
            available["settings"] = dataclasses.replace(settings, output_dir=str(folder.path))
        with explain_errors():
            results = _call(experiment.module.run, available)
        for run, run.result in zip(left, results if isinstance(results, list) else [results], strict=True):
            if run.directory is not None and run.result is not None:
                _write(run.directory, run.result, page=settings.has_page)
    return runs


def _initial(initial: Any, network: Network, settings: Any) -> np.ndarray:
    """The first image of each restart, [restarts, height, width, 3]; raises InputError for another number of images."""
    loaded = images.as_images(initial, network.size, "init", settings.resize)
    if len(loaded) not in (1, settings.seeds):
        raise InputError(f"init has {len(loaded)} images; expected 1, or one for each of the {settings.seeds} restarts (seeds)")
    return np.broadcast_to(loaded, (settings.seeds, *loaded.shape[1:]))


def _call(function: Callable[..., Any], available: Mapping[str, Any]) -> Any:
    """Calls a function with those of the values that its parameters name."""
    return function(**{name: available[name] for name in inspect.signature(function).parameters})


def _image_paths(runs: list[Run]) -> list[str]:
    """The image files of runs, folders expanded."""
    named = [run.settings.image for run in runs if isinstance(run.settings, ImageFileSettings)]
    return [path for names in named for path in images.expand(names).values()]


def _fitted(network: Network, settings: Settings, source: Any) -> Network:
    """The network for images of their own proportions, where --resize=keep; else the log says what is cut off them."""
    resize = getattr(settings, "resize", "squash")
    if resize == "squash":
        return network
    sizes = images.sizes_of(source)
    if resize == "keep":
        network = network.at_size(images.kept_size(list(sizes.values()), network.size))
    if cuts := images.describe_cuts(sizes, network.size):
        log.info("%s; --resize=keep keeps proportions, --resize=squash squashes", cuts)
    return network


def summary(experiment: Experiment, run: Run) -> str:
    """What is printed of a run: its figures, in the experiment's own words where it has some, and where its images are."""
    if run.directory is None:
        return run.result.summary() if hasattr(run.result, "summary") else repr(run.result)
    info = run.directory.read_info()
    own = getattr(experiment.module, "summarize", None)
    text = own(info, run.directory) if own else describe_figures(info)
    return f"{text}\n{where(run.directory.path, VIEW if 'view' in names() else '')}"


def _check_first(settings: Any, network: Network, *, own_process: bool) -> None:
    """Checks what needs no download and no conversion, so that it is said before there is one."""
    if isinstance(settings, InversionSettings) and settings.needs_tensorflow and settings.precision != "float32":
        import_tensorflow(drawing=not own_process)
        from tfinvert.optimization import precision

        precision.check(settings.precision)
    if settings.layers_needed() and not getattr(settings, "onnx", None):  # a file is checked where it is converted
        network.check(settings.layers_needed())


def _prepare(settings: Settings, network: Network) -> None:
    if settings.layers_needed():
        network.prepare(settings.layers_needed())


def _open(directory: RunDirectory, settings: Any, network: Network | None, loaded: np.ndarray | None) -> None:
    """Starts a run in its directory, which is locked."""
    from tfinvert.runs import provenance  # imports TensorFlow

    info = provenance.describe(settings, network, loaded)
    directory.create(flagfiles.text(settings), info, resume=getattr(settings, "resume", False))


def _write(directory: RunDirectory, result: Any, *, page: bool) -> None:
    """Writes a result, and its page where it has one. Its figures come last, since they say that the run is finished."""
    info = {**directory.read_info(), "result": result.figures()}
    result.write(directory, info)
    if page:
        from tfinvert.reports import page as pages  # imports Matplotlib

        directory.flush()
        pages.write_alone(directory, info)
    figures = info.pop("result")
    directory.write_info({**info, "result": figures})


def _start(settings: Settings, *, own_process: bool) -> None:
    """Brings TensorFlow into this process, which is set up for it where it does nothing else."""
    import_tensorflow(drawing=not own_process)
    if own_process:
        _set_up_process(weights_stay=settings.weights_stay)


def _set_up_process(*, weights_stay: bool) -> None:
    """Sets up TensorFlow and Keras for a process that does nothing else.

    A GPU's memory grows as it is needed, its bytes are the same in every run, and all threads share a heap. Where no weights of
    the process change, oneDNN packs them once. What the user's keras.json says is for other programs. What was imported is
    never garbage: Python looks for none in it, which it would do often while steps are traced.
    """
    import keras

    from tfinvert.optimization import precision

    if not gc.get_freeze_count():  # a process of many runs must find the garbage of each
        gc.freeze()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    precision.grow_gpu_memory()
    precision.make_gpus_deterministic()
    precision.share_heap()
    if weights_stay:
        precision.pack_weights_once()
