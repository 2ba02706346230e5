"""Decoders: networks that map a layer's features back to the picture in one pass (Dosovitskiy & Brox 2016, arXiv 1506.02753).

A decoder belongs to one layer of one encoder. What that encoder is goes with it into its files, and it is refused with any
other.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinvert.errors import InputError
from tfinvert.networks.conversion.convert import Layer, Request
from tfinvert.settings.config import RunConfig
from tfinvert.system import quiet
from tfinvert.system.files import replacing

if TYPE_CHECKING:
    import keras
    import onnx

RECORD = "tfinvert.json"  # inside the .keras file
CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # likewise, by Keras
# What a decoder is made of, and all that is made of a file: a layer such as Lambda brings code with it.
CLASSES = frozenset(
    "Functional InputLayer Rescaling Conv2D Conv2DTranspose LeakyReLU UpSampling2D Dense Reshape Resizing ZeroPadding2D"
    " Cropping2D DTypePolicy VarianceScaling Zeros __keras_tensor__".split()
)
LARGEST_TEXT, LARGEST_DECODER = 2**22, 2**31  # bytes
LARGEST_CHANNELS = 256
SLOPE = 0.2  # of the leaky ReLUs
HALVINGS_OF_VECTORS = 5  # the picture's size over the size that a vector is given
RESIZE_BEYOND = 1.3  # how far from a power of two the layer's stride may be before its features are resized
ONNX_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The layer that a decoder inverts.

    Attributes:
      layer, tensor, shape: its name, its name in the .onnx file, [height, width, channels] or [channels].
      size: (height, width) of the encoder's pictures.
      network, onnx: the encoder as a run is told of it; the file may have moved since.
      sha256: of the .onnx file; None for a zoo model's graph with random weights.
      weights, pool, preprocessing: as in `Request`.
    """

    layer: str
    tensor: str
    shape: tuple[int, ...]
    size: tuple[int, int]
    network: str
    onnx: str | None
    sha256: str | None
    weights: str
    pool: str
    preprocessing: str

    @staticmethod
    def of(config: RunConfig, layer: Layer, size: tuple[int, int], request: Request) -> Encoder:
        """The encoder of a run."""
        return Encoder(
            layer=layer.name,
            tensor=layer.tensor,
            shape=layer.shape,
            size=size,
            network=config.model,
            onnx=str(Path(config.onnx).absolute()) if config.onnx else None,
            sha256=request.sha256,
            weights=request.weights,
            pool=request.pool,
            preprocessing=request.preprocessing,
        )

    def settings(self) -> dict[str, Any]:
        """The flags that name this encoder."""
        onnx = {"onnx": self.onnx} if self.onnx else {}
        names = ("weights", "pool", "preprocessing", "size")
        return {"model": self.network, **onnx, "layers": (self.layer,), **{name: getattr(self, name) for name in names}}

    def refuse_other(self, found: Mapping[str, object], source: str) -> None:
        """Refuses features that a decoder of this encoder, read from `source`, was not made for.

        Args:
          found: what is known of the features' encoder, by the names of the attributes.
          source: for the message.

        Raises:
          InputError: one of them differs, other than where the file lies.
        """
        ignored = {"onnx", "network" if self.sha256 else "sha256"}
        wrong = [
            f"{name} {_short(getattr(self, name))}, not {_short(value)}"
            for name, value in found.items()
            if name not in ignored and value != getattr(self, name)
        ]
        if wrong:
            raise InputError(f"the decoder {source} is for another encoder: {'; '.join(wrong)}")

    def refuse_request(self, config: RunConfig, request: Request, source: str) -> None:
        """As `refuse_other`, by what is known before the encoder is converted."""
        names = ("sha256", "weights", "pool", "preprocessing")
        known: dict[str, object] = {name: getattr(request, name) for name in names}
        if request.size is not None:
            known["size"] = request.size
        self.refuse_other({"layer": ", ".join(request.layers), "network": config.model, **known}, source)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def parse(text: str, source: str) -> Encoder:
        """The reverse of `text`; raises InputError."""
        try:
            fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in json.loads(text).items()}
            encoder = Encoder(**fields)
            sides = (*encoder.shape, *encoder.size)
            missing = {name for name in ("onnx", "sha256") if fields[name] is None}
            texts = [value for name, value in fields.items() if name not in {"shape", "size", *missing}]
            if not all(isinstance(one, str) for one in texts) or not all(type(n) is int and 0 < n < 2**31 for n in sides):
                raise ValueError
            if len(encoder.shape) not in (1, 3) or len(encoder.size) != 2:
                raise ValueError
            return encoder
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise InputError(f"{source} says nothing readable of the layer that it decodes") from None


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def build(
    shape: tuple[int, ...],
    size: tuple[int, int],
    *,
    upsampling: str = "transposed",
    width: int = 32,
    scale: float = 1.0,
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """A decoder for features of a shape.

    Spatial features: two 3x3 convolutions, then one up-sampling by 2 after another, the last of which gives the RGB picture;
    vectors go through two dense layers to a grid first. Leaky ReLUs of slope 0.2 between them.

    The grid is padded beyond the picture and the result cropped about its center, so that features stay over the pixels
    that they came from.

    Args:
      shape: [height, width, channels] or [channels], without the batch.
      size: (height, width) of the picture.
      upsampling: "transposed" for 4x4 transposed convolutions of stride 2 as in the paper, "resize" for nearest neighbors
        and a 3x3 convolution, which has no checkerboard.
      width: channels at half the picture's size; twice as many at each further halving, up to 256.
      scale: what features are divided by, such as their root mean square.
      precision: "float32", or "bfloat16" for bfloat16 arithmetic with float32 variables and output.
      seed: of the initial weights.

    Returns:
      features [batch, *shape] -> RGB [batch, height, width, 3], about [0, 1], not clipped.
    """
    import keras

    layers = keras.layers
    policy = keras.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    seeds = iter(range(seed * 100, seed * 100 + 100))

    def weighted(layer: type[keras.Layer], *arguments: Any, slope: float | None = SLOPE, **options: Any) -> keras.Layer:
        # He's deviation for what follows, a leaky ReLU or nothing.
        gain = 2.0 / (1 + slope**2) if slope is not None else 1.0
        initializer = keras.initializers.VarianceScaling(gain, "fan_in", "untruncated_normal", seed=next(seeds))
        return layer(*arguments, kernel_initializer=initializer, **{"dtype": policy, **options})

    def active(value: keras.KerasTensor) -> keras.KerasTensor:
        return layers.LeakyReLU(negative_slope=SLOPE, dtype=policy)(value)

    def doubled(value: keras.KerasTensor, count: int, **options: Any) -> keras.KerasTensor:
        if upsampling == "transposed":
            return weighted(layers.Conv2DTranspose, count, 4, 2, padding="same", **options)(value)
        return weighted(layers.Conv2D, count, 3, padding="same", **options)(layers.UpSampling2D(2, dtype=policy)(value))

    features = keras.Input(shape, name="features")
    value = layers.Rescaling(1.0 / scale, dtype=policy)(features)
    halvings = HALVINGS_OF_VECTORS if len(shape) == 1 else _halvings(shape, size)
    channels = [min(width * 2**i, LARGEST_CHANNELS) for i in reversed(range(max(halvings, 1)))]
    cells = tuple(math.ceil(side / 2**halvings) for side in size)
    if len(shape) == 1:
        value = active(weighted(layers.Dense, 32 * width)(value))
        value = active(weighted(layers.Dense, math.prod(cells) * channels[0])(value))
        value = layers.Reshape((*cells, channels[0]), dtype=policy)(value)
    else:
        if not all(
            1 / RESIZE_BEYOND < side * 2**halvings / whole < RESIZE_BEYOND for side, whole in zip(shape, size, strict=False)
        ):
            value = layers.Resizing(*cells, interpolation="bilinear", dtype=policy)(value)
        padding = [max(math.ceil((cell - side) / 2), 0) for cell, side in zip(cells, value.shape[1:3], strict=True)]
        if any(padding):
            value = layers.ZeroPadding2D(tuple(padding), dtype=policy)(value)
        for _ in range(2):
            value = active(weighted(layers.Conv2D, channels[0], 3, padding="same")(value))
    for count in channels[1:]:
        value = active(doubled(value, count))
    last: dict[str, Any] = {"slope": None, "dtype": "float32"}
    value = doubled(value, 3, **last) if halvings else weighted(layers.Conv2D, 3, 3, padding="same", **last)(value)
    beyond = [side - whole for side, whole in zip(value.shape[1:3], size, strict=True)]
    if any(beyond):
        value = layers.Cropping2D(tuple((n // 2, n - n // 2) for n in beyond))(value)
    return keras.Model(features, layers.Rescaling(0.5, 0.5, name="picture")(value), name="decoder")


def _halvings(shape: tuple[int, ...], size: tuple[int, int]) -> int:
    """How often the picture was halved on the way to these features, to the nearest whole number."""
    return max(round(sum(math.log2(whole / side) for side, whole in zip(shape, size, strict=False)) / 2), 0)


def save(decoder: keras.Model, encoder: Encoder, path: Path) -> None:
    """Writes a .keras file with the encoder's record in it; it appears whole or not at all. Raises OSError."""
    with replacing(path) as part:
        # Keras looks at the suffix.
        whole = part.with_name(f"{part.name}.keras")
        try:
            decoder.save(whole)
            with zipfile.ZipFile(whole, "a") as archive:
                archive.writestr(RECORD, encoder.text())
            os.replace(whole, part)
        finally:
            whole.unlink(missing_ok=True)


def file_of(source: str) -> Path:
    """The file that --decoder means: a .keras or .onnx file, or that of a run directory; raises InputError."""
    path = Path(source)
    if path.is_dir():
        path = path / "decoder.keras"
        if not path.is_file():
            raise InputError(
                f"{source} holds no decoder.keras; --decoder expects a run of --experiment=train_decoder, or a file"
            )
    if not path.is_file():
        raise InputError(f"there is no decoder {source!r}; expected a run directory, a .keras or an .onnx file")
    if path.suffix not in (".keras", ".onnx"):
        raise InputError(f"--decoder is {source!r}; expected a run directory, a .keras or an .onnx file")
    return path


def encoder_of(source: str) -> Encoder:
    """The encoder that a decoder's files name. TensorFlow is not needed for it.

    Raises:
      InputError: there is no such decoder, or it names no encoder.
    """
    path = file_of(source)
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return Encoder.parse(_text(archive, RECORD), source)
        found = {entry.key: entry.value for entry in _onnx(path).metadata_props}
        return Encoder.parse(found["tfinvert"], source)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception:  # of zipfile, zlib and protobuf
        raise InputError(f"{path} is no decoder of tfinvert's, or it is damaged") from None


def _text(archive: zipfile.ZipFile, name: str) -> str:
    """A text of a .keras file; raises ValueError, or one of zipfile's errors."""
    if archive.getinfo(name).file_size > LARGEST_TEXT:
        raise ValueError(f"{name} has {archive.getinfo(name).file_size} bytes")
    return archive.read(name).decode()


def _onnx(path: Path) -> onnx.ModelProto:
    """An .onnx file that stands by itself; raises InputError, OSError, or one of protobuf's errors."""
    import onnx

    if path.stat().st_size > LARGEST_DECODER:
        raise InputError(f"{path} has {path.stat().st_size} bytes; a decoder has at most {LARGEST_DECODER}")
    model = onnx.load(str(path), load_external_data=False)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer) or model.functions:
        raise InputError(f"{path} is no decoder of tfinvert's: it keeps weights in other files, or has functions of its own")
    return model


def load(source: str) -> Callable[[np.ndarray], np.ndarray]:
    """The decoder of a run or file: features [batch, ...] -> RGB [batch, height, width, 3].

    Raises:
      InputError: it cannot be read; what is returned raises it as well, where the decoder does not run or gives other shapes.
    """
    path, size = file_of(source), encoder_of(source).size
    decode = _onnx_session(path) if path.suffix == ".onnx" else _keras_function(path)

    def decoded(features: np.ndarray) -> np.ndarray:
        try:
            pictures = decode(np.asarray(features, np.float32))
        except Exception as error:  # those of onnxruntime share no base class
            raise InputError(f"the decoder {path} does not run: {' '.join(str(error).split())[:200]}") from None
        expected = (len(features), *size, 3)
        if pictures.shape != expected:
            raise InputError(f"the decoder {path} gives pictures of shape {pictures.shape}; expected {expected}")
        return pictures

    return decoded


def _onnx_session(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    try:
        data = _onnx(path).SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot read the decoder {path}: {' '.join(str(error).split())[:200]}") from None
    return lambda features: session.run(None, {"features": features})[0]


def _keras_function(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    decoder = load_model(path)
    decode = tf.function(lambda features: decoder(features, training=False))
    return lambda features: decode(tf.constant(features)).numpy()


def load_model(path: Path) -> keras.Model:
    """The decoder of a .keras file. Nothing else is made of the file: see `CLASSES`; raises InputError."""
    import keras

    try:
        _check_archive(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of zipfile, h5py, JSON and Keras
        raise InputError(f"cannot read the decoder {path}: {' '.join(str(error).split())[:200]}") from None


def _check_archive(path: Path) -> None:
    """Refuses a .keras file that holds other classes, other files or much more than a decoder; raises ValueError."""
    import h5py

    with zipfile.ZipFile(path) as archive:
        strange = set(archive.namelist()) - {"metadata.json", CONFIG, WEIGHTS, RECORD}
        if strange:
            raise ValueError(f"it holds {min(strange)[:60]!r}, which is no part of a decoder")
        if sum(one.file_size for one in archive.infolist()) > LARGEST_DECODER:
            raise ValueError(f"it holds more than {LARGEST_DECODER} bytes")
        pending = [json.loads(_text(archive, CONFIG))]
        while pending:
            value = pending.pop()
            if isinstance(value, dict):
                name, module = value.get("class_name"), str(value.get("module") or "keras")
                if name is not None and not (name in CLASSES and module.split(".")[0] == "keras"):
                    raise ValueError(f"it holds a {str(name)[:60]!r} of {module[:60]!r}, which is no part of a decoder")
            pending += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        with archive.open(WEIGHTS) as file, h5py.File(file, "r") as weights:
            groups = [weights]
            while groups:
                group = groups.pop()
                for name in group:
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        raise ValueError("its weights name other files")
                    one = group[name]
                    if isinstance(one, h5py.Group):
                        groups.append(one)
                    elif one.external or one.is_virtual or one.nbytes > LARGEST_DECODER:
                        raise ValueError("its weights lie in other files, or are far too many")


def _in_float32(decoder: keras.Model) -> keras.Model:
    """The decoder with its own weights and float32 arithmetic: onnxruntime has no bfloat16 on most devices."""
    import keras

    if all(layer.compute_dtype == "float32" for layer in decoder.layers):
        return decoder
    made = keras.models.clone_model(
        decoder, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    )
    made.set_weights(decoder.get_weights())
    return made


def export(decoder: keras.Model, encoder: Encoder, path: Path) -> float:
    """Writes a decoder as ONNX, from features in TensorFlow's order of axes, and checks it with onnxruntime.

    Returns:
      The largest difference between the two on random features, for pictures in [0, 1].

    Raises:
      InputError: the two differ.
      OSError: of the disk.
    """
    import onnx
    import onnxruntime
    import tensorflow as tf

    decoder = _in_float32(decoder)
    signature = [tf.TensorSpec((None, *encoder.shape), tf.float32, name="features")]
    function = tf.function(lambda features: tf.identity(decoder(features, training=False), name="picture"))
    with quiet.standard_error_held_back():
        import tf2onnx

        proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)
    onnx.helper.set_model_props(proto, {"tfinvert": encoder.text()})
    data = proto.SerializeToString()
    features = np.abs(np.random.default_rng(0).standard_normal((2, *encoder.shape))).astype(np.float32)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = decoder(tf.constant(features), training=False).numpy()
    difference = float(np.abs(session.run(None, {"features": features})[0] - expected).max())
    if not difference <= ONNX_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise InputError(f"the decoder's ONNX differs from it by {difference:.1e}; expected at most {ONNX_TOLERANCE:.0e}")
    with replacing(path) as part:
        part.write_bytes(data)
    return difference
