"""The files that a decoder is kept in, .keras and .onnx, and every check of them: they may come from strangers.

TensorFlow is imported only where a decoder is loaded or saved.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinvert.decoders.encoder import Encoder, parse_encoder
from tfinvert.system.errors import InputError
from tfinvert.system.files import replacing
from tfinvert.system.received import located

if TYPE_CHECKING:
    import h5py
    import keras
    import onnx

RECORD = "tfinvert.json"  # the encoder's record, inside the .keras file
RECORD_KEY = "tfinvert"  # the same, among the metadata of the .onnx file
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"  # inside the .keras file, written by Keras
# The classes that a decoder consists of. No others are made from a file: a layer such as Lambda would bring code with it.
CLASSES = frozenset(
    "Functional InputLayer Rescaling Conv2D Conv2DTranspose LeakyReLU UpSampling2D Dense Reshape Resizing ZeroPadding2D"
    " Cropping2D DTypePolicy VarianceScaling Zeros __keras_tensor__".split()
)
LARGEST_TEXT, LARGEST_DECODER = 2**22, 2**31  # bytes


def find_file(source: str) -> Path:
    """The file that --decoder means.

    Args:
      source: a .keras or .onnx file, or a run directory that holds a decoder.keras.

    Raises:
      InputError: there is no such file, or it is of another kind.
    """
    path = located(Path(source))
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
    """The encoder that a decoder's file names. TensorFlow is not needed for it.

    Args:
      source: as of `find_file`.

    Raises:
      InputError: there is no such decoder, or it names no encoder.
    """
    path = find_file(source)
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return parse_encoder(_read_text(archive, RECORD), source)
        metadata = {entry.key: entry.value for entry in _read_onnx(path).metadata_props}
        return parse_encoder(metadata[RECORD_KEY], source)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception:  # those of zipfile, zlib and protobuf share no base class
        raise InputError(f"{path} is not a decoder that tfinvert wrote, or it is damaged") from None


def complete_settings(values: dict[str, Any], sources: Sequence[str]) -> dict[str, Any]:
    """The settings of a run, completed with the encoder of its decoders where they name none.

    Args:
      values: the settings that the user gave, by name.
      sources: as of `find_file`, each for a layer of one network.
    """
    encoders = [encoder_of(source) for source in sources]
    known = encoders[0].settings() | {"layers": tuple(encoder.layer for encoder in encoders)}
    if "model" in values:  # another network than the decoder's file
        known.pop("onnx", None)
    return {**known, **values}


def load_decoder(source: str, encoder: Encoder | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The decoder of a run directory or file.

    Args:
      source: as of `find_file`.
      encoder: where the features come from; None for no check.

    Returns:
      A function from features [batch, ...] to RGB [batch, height, width, 3], about [0, 1]. It raises InputError where
      the decoder does not run or gives images of another shape.

    Raises:
      InputError: the decoder cannot be read, or is for another encoder.
    """
    own = encoder_of(source)
    if encoder is not None:
        own.refuse_other(dataclasses.asdict(encoder), source)
    path = find_file(source)
    decode = _load_onnx_function(path) if path.suffix == ".onnx" else _load_keras_function(path)

    def decode_checked(features: np.ndarray) -> np.ndarray:
        try:
            images = decode(np.asarray(features, np.float32))
        except Exception as error:  # those of onnxruntime share no base class
            raise InputError(f"the decoder {path} does not run: {_one_line(error)}") from None
        expected = (len(features), *own.size, 3)
        if images.shape != expected:
            raise InputError(f"the decoder {path} gives images of shape {images.shape}; expected {expected}")
        return images

    return decode_checked


def load_keras_model(path: Path) -> keras.Model:
    """The decoder of a .keras file, which may hold nothing but a decoder.

    Raises:
      InputError: the file cannot be read, or holds something else.
    """
    import keras

    try:
        _check_archive(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # those of zipfile, h5py, JSON and Keras share no base class
        raise InputError(f"cannot read the decoder {path}: {_one_line(error)}") from None


def save_decoder(decoder: keras.Model, encoder: Encoder, path: Path) -> None:
    """Writes a .keras file with the encoder's record in it. It appears whole or not at all. Raises OSError."""
    with replacing(path) as part:
        with_suffix = part.with_name(f"{part.name}.keras")  # Keras refuses other suffixes
        try:
            decoder.save(with_suffix)
            with zipfile.ZipFile(with_suffix, "a") as archive:
                archive.writestr(RECORD, encoder.to_json())
            os.replace(with_suffix, part)
        finally:
            with_suffix.unlink(missing_ok=True)


def _load_onnx_function(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    try:
        data = _read_onnx(path).SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except InputError:
        raise
    except Exception as error:  # those of onnxruntime share no base class
        raise InputError(f"cannot read the decoder {path}: {_one_line(error)}") from None
    return lambda features: session.run(None, {"features": features})[0]


def _load_keras_function(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    decoder = load_keras_model(path)
    decode = tf.function(lambda features: decoder(features, training=False))
    return lambda features: decode(tf.constant(features)).numpy()


def _read_onnx(path: Path) -> onnx.ModelProto:
    """An .onnx file that needs no other file. Raises InputError, OSError, or an error of protobuf."""
    import onnx

    if path.stat().st_size > LARGEST_DECODER:
        raise InputError(f"{path} has {path.stat().st_size} bytes; a decoder has at most {LARGEST_DECODER}")
    model = onnx.load(str(path), load_external_data=False)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer) or model.functions:
        raise InputError(
            f"{path} is not a decoder that tfinvert wrote: it keeps weights in other files, or has functions of its own"
        )
    return model


def _read_text(archive: zipfile.ZipFile, name: str) -> str:
    """A text of a .keras file. Raises ValueError, or an error of zipfile."""
    if archive.getinfo(name).file_size > LARGEST_TEXT:
        raise ValueError(f"{name} has {archive.getinfo(name).file_size} bytes")
    return archive.read(name).decode()


def _check_archive(path: Path) -> None:
    """Refuses a .keras file that holds other classes, names other files, or is much larger than a decoder.

    Raises:
      ValueError: the reason; or an error of zipfile or h5py.
    """
    import h5py

    with zipfile.ZipFile(path) as archive:
        strange = set(archive.namelist()) - {METADATA, CONFIG, WEIGHTS, RECORD}
        if strange:
            raise ValueError(f"it holds {min(strange)[:60]!r}, which is no part of a decoder")
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_DECODER:
            raise ValueError(f"it holds more than {LARGEST_DECODER} bytes")
        for name, module in _class_names(json.loads(_read_text(archive, CONFIG))):
            if name not in CLASSES or module.split(".")[0] != "keras":
                raise ValueError(f"it holds a {name[:60]!r} of {module[:60]!r}, which is no part of a decoder")
        with archive.open(WEIGHTS) as file, h5py.File(file, "r") as weights:
            _check_weights(weights)


def _class_names(config: Any) -> Iterator[tuple[str, str]]:
    """Every (class, module) that a Keras configuration names, at any depth."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if value.get("class_name") is not None:
                yield str(value["class_name"]), str(value.get("module") or "keras")
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _check_weights(weights: h5py.File) -> None:
    """Refuses weights that lie in other files or are far too many. Raises ValueError."""
    import h5py

    groups: list[h5py.Group] = [weights]
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError("its weights name other files")
            member = group[name]
            if isinstance(member, h5py.Group):
                groups.append(member)
            elif member.external or member.is_virtual or member.nbytes > LARGEST_DECODER:
                raise ValueError("its weights lie in other files, or are far too many")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
