"""From an .onnx file to a Keras-loadable SavedModel, by onnx2tf in a process of its own, checked and cached.

onnx2tf changes the process that imports it: it seeds every random generator, turns op determinism on, sets
CUDA_VISIBLE_DEVICES and TF_USE_LEGACY_KERAS, and silences warnings. So the caller only starts `python -m
tfinvert.networks.conversion.convert`, gives it a `Request`, and reads from the cache what that process leaves there. The
caller can import TensorFlow in the meantime, which takes about as long as the conversion.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import platformdirs

from tfinvert.errors import DiskError, InputError, choice_error
from tfinvert.networks import zoo
from tfinvert.settings.config import RunConfig
from tfinvert.system.files import read_sealed, reason, sha256, write_sealed

if TYPE_CHECKING:
    import numpy as np

    from tfinvert.networks.onnx.graph import Graph

FORMAT = 5  # of a cache entry: raised when what is written there changes
TOLERANCE = 1e-4  # largest relative difference from onnxruntime
LARGE_MATRIX = 2**22  # elements from which a matrix is kept out of the converter
AXIS_OPERATORS = frozenset("Flatten Concat ReduceMean Softmax Pad Reshape SpaceToDepth Squeeze Transpose Unsqueeze".split())
PROJECT_MODELS = Path(__file__).resolve().parents[3] / "models"
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Request:
    """What determines a converted network, and nothing else; the cache is keyed by it.

    Attributes:
      model: name of a zoo model, or None with `file` alone.
      file: the .onnx file, or None for a zoo model's graph with random weights.
      sha256: of the file.
      weights: "pretrained" for those of the file, "random" for seeded ones.
      layers: layer names or tensor names; empty for every named layer.
      size: (height, width) of the pictures, or None for the file's own.
      pool: "max" or "avg".
      preprocessing: key of `zoo.PREPROCESSING`.
      pools_as_convolutions: of average pools, `graph.fold`.
    """

    model: str | None
    file: str | None
    sha256: str | None
    weights: str
    layers: tuple[str, ...]
    size: tuple[int, int] | None
    pool: str
    preprocessing: str
    pools_as_convolutions: bool = False

    def key(self) -> str:
        """Names the cache entry: everything that made it, the libraries' versions included."""
        made_by = dataclasses.asdict(self)
        made_by.pop("file")  # its checksum says more
        packages = ("tfinvert", "tensorflow", "onnx2tf", "onnx", "onnxruntime")
        made_by["versions"] = [FORMAT, *(f"{p}=={importlib.metadata.version(p)}" for p in packages)]
        return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A named layer of a converted network.

    Attributes:
      name: as it was asked for.
      tensor: its name in the .onnx file.
      shape: of one picture's features, [height, width, channels] or [channels].
      stride, receptive_field: in pixels of the picture (height, width); None for a value that sees all of it.
      error: max |keras - onnxruntime| / max |onnxruntime| on a photograph.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    stride: tuple[int, int] | None
    receptive_field: tuple[int, int] | None
    error: float


@dataclasses.dataclass(frozen=True)
class Converted:
    """A finished conversion: the SavedModel's folder, its layers, the picture size, whose training the weights are."""

    folder: Path
    layers: tuple[Layer, ...]
    size: tuple[int, int]
    request: Request
    training: str = ""

    @property
    def weights_origin(self) -> str:
        """Where the weights came from, in words."""
        if self.request.weights == "random":
            return "seeded random weights, calibrated statistics"
        training = f"{self.training}, " if self.training else ""
        return f"{Path(self.request.file or '').name} ({training}SHA-256 {(self.request.sha256 or '')[:12]})"


def request(
    *,
    model: str,
    onnx: str | None,
    weights: str,
    layers: tuple[str, ...],
    size: tuple[int, int] | None,
    pool: str,
    preprocessing: str | None = None,
    precision: str = "float32",
    models_folder: Path | None = None,
) -> Request:
    """Finds the file that a run needs, downloading it where that is asked for.

    Args:
      model: zoo model; with `onnx` it only says how pictures are prepared, unless the file is one of the zoo's.
      onnx: an .onnx file to use instead of the zoo's.
      weights: "pretrained" takes the file or fails, "auto" takes it if it is there or can be downloaded and random
        weights otherwise, "random" takes the graph alone.
      layers, size, pool: as in Request.
      preprocessing: key of `zoo.PREPROCESSING`; None for the model's own.
      precision: that the network will be run in.
      models_folder: where downloaded files are; None for models/ of the checkout, else the user's cache.

    Raises:
      InputError: no such model or file, or no pretrained weights where they are required.
    """
    known = zoo.model(model)
    if preprocessing is not None and preprocessing not in zoo.PREPROCESSING:
        raise choice_error("--preprocessing", preprocessing, zoo.PREPROCESSING)
    path = None
    if onnx is not None:
        path = Path(onnx)
        if not path.is_file():
            raise InputError(f"there is no .onnx file {onnx!r}")
        weights = "pretrained" if weights == "auto" else weights
        # A file of the zoo under another name is prepared for as the zoo says.
        known = next((m for m in zoo.MODELS.values() if m.sha256 == _known_checksum(path)), known)
    elif weights != "random":
        folder = models_folder or (PROJECT_MODELS if PROJECT_MODELS.is_dir() else cache_folder() / "models")
        try:
            path = zoo.pretrained_file(known, folder)
            weights = "pretrained"
        except InputError as error:
            if weights == "pretrained":
                raise
            log.warning("using seeded random weights for %s: %s", model, error)
            weights = "random"
    return Request(
        model=None if onnx else model,
        file=str(path.resolve()) if path else None,
        sha256=_known_checksum(path) if path else None,
        weights=weights,
        layers=tuple(dict.fromkeys(layers)),
        size=size,
        pool=pool,
        preprocessing=preprocessing or known.preprocessing,
        pools_as_convolutions=pool == "avg" and precision == "float32",
    )


def request_for(config: RunConfig, layers: tuple[str, ...]) -> Request:
    """The request of a run's config for some layers; raises InputError as `request` does."""
    return request(
        model=config.model,
        onnx=config.onnx,
        weights=config.weights,
        layers=layers,
        size=config.size,
        pool=config.pool,
        preprocessing=config.preprocessing,
        precision=getattr(config, "precision", "float32"),
    )


def cache_folder() -> Path:
    """$TFINVERT_CACHE, else the user's cache folder, else a temporary one where neither can be written."""
    for folder in (os.environ.get("TFINVERT_CACHE"), platformdirs.user_cache_dir("tfinvert")):
        if folder:
            with contextlib.suppress(OSError):
                path = Path(folder)
                path.mkdir(parents=True, exist_ok=True)
                if os.access(path, os.W_OK | os.X_OK):
                    return path
    path = Path(tempfile.gettempdir()) / f"tfinvert-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        path = Path(tempfile.mkdtemp(prefix="tfinvert-"))
    log.warning("the cache folder cannot be written; converted networks are kept in %s (set TFINVERT_CACHE)", path)
    return path


def _known_checksum(path: Path) -> str:
    """SHA-256 of a file, remembered for as long as its size and times do not change (half a second for VGG16)."""
    status = path.stat()
    identity = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    memo = cache_folder() / "checksums" / name
    with contextlib.suppress(OSError, ValueError):
        known, remembered = read_sealed(memo)
        if known == identity:
            return remembered
    found = sha256(path)
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(memo, [identity, found])
    return found


class Conversion:
    """A conversion under way, or found in the cache. `result` waits for it; use it as a context manager."""

    def __init__(self, request: Request):
        """Looks into the cache, else starts the converting process and waits until it has accepted the request.

        Raises:
          InputError: the file is no usable network, or a layer is not in it.
        """
        self.request = request
        self.folder = cache_folder() / "converted" / request.key()
        self._entry = _read_entry(self.folder, request)
        self.cached = self._entry is not None
        self._process: subprocess.Popen | None = None
        if self.cached:
            return
        if self.folder.exists():
            log.warning("the converted network in %s is damaged; it is made again", self.folder)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(self.folder.parent)
        # The process makes it, and removes it when this one dies.
        self._scratch = self.folder.parent / f".making-{uuid.uuid4().hex}"
        self._log = tempfile.TemporaryFile(dir=self.folder.parent)  # noqa: SIM115 - closed with the process
        root = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONIOENCODING": "utf-8",
            "CUDA_VISIBLE_DEVICES": "-1",  # the GPU is the caller's; onnx2tf would hide it from itself anyway
            "TF_USE_LEGACY_KERAS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONSAFEPATH": "1",  # no module comes from the working directory
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tfinvert.networks.conversion.convert"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the caller, which ends this process itself
        )
        order = {"request": dataclasses.asdict(request), "scratch": str(self._scratch)}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            # Left open: where it is closed, the process knows that nobody waits for it any more.
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        try:
            self._expect("accepted")
        except BaseException:
            self.close()
            raise

    def result(self) -> Converted:
        """The converted network.

        Raises:
          InputError: an operator could not be converted, or a layer differs from onnxruntime by more than TOLERANCE.
        """
        if self._process is not None:
            try:
                self._expect("converted")
                _keep(self._scratch / "entry", self.folder, self.request)
            finally:
                self.close()
        if self._entry is None:
            self._entry = _read_entry(self.folder, self.request)
        if self._entry is None:
            raise DiskError(f"the converted network in {self.folder} cannot be read back; is the disk full?")
        return self._entry

    def close(self) -> None:
        """Ends the process if it still runs, and removes what it was writing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            assert self._process.stdin is not None
            self._process.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process = None
            self._log.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Conversion:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expect(self, event: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line.startswith(b"{") else {}
        if "error" in answer:
            raise (DiskError if answer.get("disk") else InputError)(answer["error"])
        if answer.get("event") != event:
            self._process.wait()
            self._log.seek(0)
            tail = self._log.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise InputError(
                f"converting {self.request.file or self.request.model} failed "
                f"(exit code {self._process.returncode}): {tail[0][:300]}"
            )


def _keep(made: Path, folder: Path, request: Request) -> None:
    """Puts a new cache entry in its place; of two runs that convert one network at once, the first to finish has its kept."""
    with filelock.FileLock(folder.parent / ".lock"):
        if _read_entry(folder, request) is None:  # not there, or damaged
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(made, folder)


def _remove_abandoned(folder: Path) -> None:
    """Removes what conversions that were killed more than an hour ago have left."""
    for path in folder.glob(".making-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _read_entry(folder: Path, request: Request) -> Converted | None:
    """A whole cache entry, or None. TensorFlow sees a SavedModel only if it is, to the byte, what was written here."""
    try:
        entry = read_sealed(folder / "layers.json")
        there = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()} - {"layers.json"}
        if there != entry["files"].keys() or any(sha256(folder / name) != digest for name, digest in entry["files"].items()):
            return None
        layers = tuple(Layer(**_tuples(one)) for one in entry["layers"])
        return Converted(folder, layers, tuple(entry["size"]), request, entry["training"])
    except (OSError, ValueError):
        return None


# ----------------------------------------------------------------------------- below: the work of the process itself


def _main() -> None:
    # onnx2tf prints: what it says goes to the log, standard output carries only our events.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    line = sys.stdin.buffer.readline()
    if not line:  # killed before it could say what it wanted
        return
    order = json.loads(line)
    scratch = Path(order["scratch"])
    watcher = threading.Thread(target=_end_at_eof, args=(scratch,), daemon=True)
    watcher.start()
    try:
        scratch.mkdir()
        os.chdir(scratch)  # onnx2tf looks for files of its own in the working directory
        _convert(Request(**_tuples(order["request"])), scratch / "entry", say)
    except InputError as error:
        say(error=str(error))
    except MemoryError:
        say(error="not enough memory to convert the network")
    except OSError as error:
        say(error=f"the converted network cannot be written to {scratch}: {error.strerror or error}", disk=True)
    watcher.join()  # the caller takes what is there, or dies


def _end_at_eof(scratch: Path) -> None:
    """Ends this process, and removes what it was writing, when the one that waits for it is gone."""
    while os.read(0, 1024):  # not sys.stdin, whose lock a thread must not hold when the interpreter ends
        pass
    os.execvp("rm", ["rm", "-rf", str(scratch)])  # the threads that write there end with this program, before rm begins


def _source(request: Request) -> Graph:
    from tfinvert.networks.onnx import graph

    if request.file is None:
        assert request.model is not None
        return zoo.model(request.model).topology()
    return graph.read(Path(request.file))


def _resolve(graph: Graph, wanted: tuple[str, ...]) -> dict[str, str]:
    """Layer name -> tensor, for the layers that were asked for."""
    from tfinvert.networks import names as naming

    names = naming.layer_names(graph)
    by_purpose = {naming.SCORES: naming.scores, naming.LAST: naming.last_features}
    tensors = set(graph.tensors()) | set(graph.aliases)
    found = {}
    for name in wanted or names:
        if name in names:
            found[name] = names[name]
        elif name in tensors:
            found[name] = graph.resolve(name)
        elif name in by_purpose:
            found[name] = by_purpose[name](graph)
        else:
            raise choice_error("layer", name, names)
    if not found:
        raise InputError("the network has no layers with names of their own; name tensors of the file with --layers")
    return found


def cut_graph(request: Request) -> tuple[Graph, dict[str, str]]:
    """The network of a request, cut to its layers and pooled, and layer name -> tensor; random weights not yet filled in.

    Raises:
      InputError: the file is no usable network, or a layer is not in it.
    """
    from tfinvert.networks.onnx import graph as graphs

    whole = graphs.tidy(_source(request))
    layers = _resolve(whole, request.layers)
    if request.size is not None:
        whole = graphs.resized(whole, request.size)
    return graphs.with_pooling(graphs.cut(whole, layers.values()), request.pool), layers


def with_weights(request: Request, part: Graph) -> Graph:
    """The cut graph of a request with the weights that it runs with."""
    import numpy as np

    from tfinvert.networks import random_weights

    if request.weights != "random":
        return part
    # Photographs other than the default picture, so that the statistics are not those of what is inverted.
    return random_weights.filled(part, np.concatenate([_network_input(request, part, n) for n in ("chelsea", "coffee")]))


def folded(request: Request, part: Graph, *, stems: bool = True, pools: bool = False) -> tuple[Graph, zoo.Preprocessing]:
    """The cut graph of a request, with weights, in the form that runs fastest (`graph.fold`), and how pictures are prepared.

    Where convolutions alone read the picture, the order of its colors and their scale are in their kernels.
    """
    from tfinvert.networks.onnx import graph as graphs

    part, prepare = _prepared(part, zoo.PREPROCESSING[request.preprocessing])
    return graphs.fold(part, stems=stems, pools=pools), prepare


def _network_input(request: Request, graph: Graph, name: str) -> np.ndarray:
    """A photograph as the network's own input, [1, 3, H, W]."""
    import numpy as np

    from tfinvert.images import files as images

    prepare = zoo.PREPROCESSING[request.preprocessing]
    scale, shift = np.asarray(prepare.scale, np.float32), np.asarray(prepare.shift, np.float32)
    picture = images.load(name, graph.size)[..., prepare.channels] * scale + shift
    return np.ascontiguousarray(picture.transpose(0, 3, 1, 2))


def _convert(request: Request, folder: Path, say) -> None:
    import numpy as np

    from tfinvert.images import files as images
    from tfinvert.networks.onnx import graph as graphs

    part, layers = cut_graph(request)
    geometry = graphs.geometry(part)
    say(event="accepted")
    part = with_weights(request, part)
    expected = _reference(part, _network_input(request, part, "astronaut"))
    module = _export(*folded(request, part, pools=request.pools_as_convolutions), layers)
    found = module.features(images.load("astronaut", part.size))
    described = []
    import tensorflow as tf  # not before onnx2tf, which must set its environment first

    for name, tensor in layers.items():
        actual, reference = found[name].numpy(), expected[tensor]
        if reference.ndim == 4:
            reference = reference.transpose(0, 2, 3, 1)
        if actual.shape != reference.shape:
            raise InputError(f"layer {name!r} was converted to the shape {actual.shape}; onnxruntime gives {reference.shape}")
        largest = float(np.abs(reference).max())
        error = float(np.abs(actual - reference).max()) / max(largest, 1e-12)
        if not error <= TOLERANCE:
            raise InputError(
                f"layer {name!r} differs from onnxruntime by {error:.1e} of its largest value ({largest:.4g}); "
                f"expected at most {TOLERANCE:.0e}: the conversion of this network cannot be trusted"
            )
        place = geometry[tensor]
        described.append(Layer(name, tensor, actual.shape[1:], place.stride, place.receptive_field, error))
    try:
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.features})
    except tf.errors.OpError as error:  # TensorFlow's of a full disk
        raise OSError(errno.EIO, reason(error)) from None
    files = {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    training = zoo.training(part) if request.weights != "random" else ""
    entry = {"size": part.size, "training": training, "layers": [dataclasses.asdict(one) for one in described], "files": files}
    write_sealed(folder / "layers.json", entry)
    say(event="converted")


def _reference(graph: Graph, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The graph's outputs by onnxruntime, before any folding."""
    import onnxruntime

    model = graph.proto(batch=1).SerializeToString()
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        values = session.run(list(graph.outputs), {graph.image: inputs})
    except Exception as error:  # its exceptions share no base class
        raise InputError(f"onnxruntime cannot run the network: {' '.join(str(error).split())[:300]}") from None
    return dict(zip(graph.outputs, values, strict=True))


def _prepared(graph: Graph, prepare: zoo.Preprocessing) -> tuple[Graph, zoo.Preprocessing]:
    """The graph with scale and order of the colors in the kernels that read the picture, and what is left to do to it."""
    import numpy as np

    from tfinvert.networks.onnx import graph as graphs

    readers = graph.consumers().get(graph.image, [])
    if any(n.op_type != "Conv" or n.input[1] not in graph.weights or graph.weights[n.input[1]].shape[1] != 3 for n in readers):
        return graph, prepare
    order = np.argsort(prepare.channels)  # a kernel's channel for each of red, green, blue
    scale = np.array(prepare.scale)[order]
    weights, changed = dict(graph.weights), {}
    for node in readers:
        kernel = weights[node.input[1]][:, order] * scale[:, None, None]
        changed[id(node)] = name = f"{node.output[0]}/scaled"
        weights[name] = kernel.astype(np.float32)
    nodes = [
        graphs.remake(node, inputs=[node.input[0], changed[id(node)], *node.input[2:]]) if id(node) in changed else node
        for node in graph.nodes
    ]
    red, green, blue = (np.array(prepare.shift)[order] / scale).tolist()
    left = zoo.Preprocessing(channels=(0, 1, 2), scale=(1.0, 1.0, 1.0), shift=(red, green, blue))
    return dataclasses.replace(graph, nodes=tuple(nodes), weights=weights), left


def _export(graph: Graph, prepare: zoo.Preprocessing, layers: dict[str, str]):
    """A tf.Module whose `features` maps [batch, H, W, 3] RGB in [0, 1] to {layer name: features}, made by onnx2tf."""
    from tfinvert.networks.onnx import graph as graphs

    tensors = graph.outputs
    graph = graphs.numbered(graph)  # a torch export's '/layer1/Relu' is no valid name of a TensorFlow operation
    # Matrices of a hundred megabytes become inputs of the converted model and variables of the module: as constants
    # they would be copied half a dozen times on their way into a SavedModel.
    matrices = {n.input[1] for n in graph.nodes if n.op_type in ("Gemm", "MatMul") and n.input[1] in graph.weights}
    large = frozenset(name for name in matrices if graph.weights[name].size >= LARGE_MATRIX)
    model = _onnx2tf(graph, large)

    import tensorflow as tf

    by_name = {i.name.split(":")[0]: i for i in model.inputs}
    if len(model.inputs) != 1 + len(large) or len(model.outputs) != len(graph.outputs):
        raise InputError(f"onnx2tf made {len(model.inputs)} inputs and {len(model.outputs)} outputs of the network")
    height, width = graph.size

    constants = [tf.Variable(graph.weights[name], trainable=False) for name in sorted(large)]

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, name="image")])
    def features(image):
        if prepare.channels != (0, 1, 2):
            image = tf.gather(image, prepare.channels, axis=-1)
        if set(prepare.scale) != {1.0}:
            image = image * tf.constant(prepare.scale)
        if any(prepare.shift):
            image = image + tf.constant(prepare.shift)
        values = {graph.image: image, **dict(zip(sorted(large), constants, strict=True))}
        outputs = model([values[name] for name in by_name] if large else image)
        values = dict(zip(tensors, outputs if isinstance(outputs, (list, tuple)) else [outputs], strict=True))
        return {name: values[tensor] for name, tensor in layers.items()}

    module = tf.Module()
    module.features = features
    # The variables alone (large matrices, grouped convolutions): tracking the Keras model would write every weight of
    # the graph into a SavedModel's metadata as decimal text.
    module.weights = [*constants, *features.get_concrete_function().variables]
    return module


def _onnx2tf(graph: Graph, weightless: frozenset[str]):
    """The graph as a tf_keras model, NHWC. The one place that knows onnx2tf and its versions."""
    import onnx2tf

    shapes: dict[str, tuple[int, ...]] = {}
    options = {}
    if int(importlib.metadata.version("onnx2tf").split(".")[0]) >= 2:
        options["tflite_backend"] = "tf_converter"  # the other one returns no model
        # From version 2 a tensor of unknown shape is taken for one that is not in TensorFlow's layout; before it, a
        # known shape breaks Flatten. In both, shapes everywhere give what follows a residual addition the wrong layout.
        # So only the tensors around nodes that speak of an axis have one.
        every = graph.shapes()
        around = [t for n in graph.nodes if n.op_type in AXIS_OPERATORS for t in (*n.input, *n.output)]
        computed = set(graph.tensors())
        shapes = {name: every[name] for name in around if name in computed}
    try:
        return onnx2tf.convert(
            onnx_graph=graph.proto(weightless=weightless, shapes=shapes),
            disable_model_save=True,
            disable_strict_mode=True,  # it guesses axes by trying values; we check the result instead
            not_use_onnxsim=True,
            not_use_opname_auto_generate=True,
            non_verbose=True,
            **options,
        )
    except SystemExit:  # its way of reporting an error; the words are in the log
        raise InputError("onnx2tf could not convert the network") from None
    except Exception as error:  # of NumPy, TensorFlow and its own, where a network is unlike those that it knows
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"onnx2tf could not convert the network ({said})") from None


if __name__ == "__main__":
    _main()
