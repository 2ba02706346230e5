"""The record of the layer that a decoder inverts.

It lies in the decoder's files, so that a decoder is refused for any other layer, network or preprocessing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.networks.conversion.request import Request
    from tfinvert.networks.layer import Layer
    from tfinvert.settings.groups import NetworkSettings

LARGEST_SIDE = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The layer of a network that a decoder inverts.

    Attributes:
      layer: name of the layer.
      tensor: name of its tensor in the .onnx file.
      shape: of the features of an image, [height, width, channels] or [channels].
      size: (height, width) of the network's images.
      network: the value of --model with which the decoder was trained.
      onnx: the .onnx file with which it was trained; it may have moved since.
      sha256: checksum of the .onnx file; None for a zoo model's graph with random weights.
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

    def settings(self) -> dict[str, Any]:
        """The settings of a run that uses this encoder, by the names of the flags."""
        onnx = {"onnx": self.onnx} if self.onnx else {}
        names = ("weights", "pool", "preprocessing", "size")
        return {"model": self.network, **onnx, "layers": (self.layer,), **{name: getattr(self, name) for name in names}}

    def refuse_other(self, known: Mapping[str, object], source: str) -> None:
        """Refuses features that come from another encoder than this one.

        Args:
          known: what is known of the features' encoder, by the names of the attributes.
          source: where this record was read, for the message.

        Raises:
          InputError: a value differs, other than the place of the .onnx file.
        """
        ignored = {"onnx", "network" if self.sha256 else "sha256"}
        wrong = [
            f"{name} {_shorten(getattr(self, name))}, not {_shorten(value)}"
            for name, value in known.items()
            if name not in ignored and value != getattr(self, name)
        ]
        if wrong:
            raise InputError(f"the decoder {source} is for another encoder: {'; '.join(wrong)}")

    def refuse_settings(self, settings: NetworkSettings, layer: str, source: str) -> None:
        """Does what `refuse_other` does with what the settings of a run say, before a file is downloaded."""
        known: dict[str, object] = {"layer": layer, "network": settings.model, "pool": settings.pool}
        known |= {name: value for name in ("size", "preprocessing") if (value := getattr(settings, name)) is not None}
        self.refuse_other(known, source)

    def refuse_request(self, settings: NetworkSettings, request: Request, source: str) -> None:
        """Does what `refuse_other` does with what is known before the network is converted."""
        names = ("sha256", "weights", "pool", "preprocessing")
        known: dict[str, object] = {name: getattr(request, name) for name in names}
        if request.size is not None:
            known["size"] = request.size
        self.refuse_other({"layer": ", ".join(request.layers), "network": settings.model, **known}, source)

    def to_json(self) -> str:
        """The record as text, which `parse_encoder` reads."""
        return json.dumps(dataclasses.asdict(self))


def describe_encoder(settings: NetworkSettings, layer: Layer, size: tuple[int, int], request: Request) -> Encoder:
    """The record of a layer of the network of a run.

    Args:
      settings: the settings of the run.
      layer: the layer that is decoded.
      size: (height, width) of the network's images.
      request: what the network was converted from.
    """
    return Encoder(
        layer=layer.name,
        tensor=layer.tensor,
        shape=layer.shape,
        size=size,
        network=settings.model,
        onnx=str(Path(settings.onnx).absolute()) if settings.onnx else None,
        sha256=request.sha256,
        weights=request.weights,
        pool=request.pool,
        preprocessing=request.preprocessing,
    )


def parse_encoder(text: str, source: str) -> Encoder:
    """The record that `Encoder.to_json` wrote.

    Args:
      text: JSON; it may come from a stranger.
      source: where it was read, for the message.

    Raises:
      InputError: it is no such record, or a value has the wrong type.
    """
    try:
        fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in json.loads(text).items()}
        encoder = Encoder(**fields)
        sides = (*encoder.shape, *encoder.size)
        missing = {name for name in ("onnx", "sha256") if fields[name] is None}
        texts = [value for name, value in fields.items() if name not in {"shape", "size", *missing}]
        if not all(isinstance(value, str) for value in texts):
            raise ValueError
        if not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
            raise ValueError
        if len(encoder.shape) not in (1, 3) or len(encoder.size) != 2:
            raise ValueError
        return encoder
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{source} has no readable record of the layer that it decodes; train the decoder again") from None


def _shorten(value: object) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
