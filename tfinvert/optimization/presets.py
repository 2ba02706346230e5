"""Numbers that depend on how deep the layers are: what `Config` leaves open becomes a number here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from tfinvert.networks.conversion.convert import Layer
from tfinvert.settings.config import Config


@dataclasses.dataclass(frozen=True)
class Depth:
    """What `auto` chooses for a layer.

    Attributes:
      steps, parameterization, pyramid_levels, learning_rate: as in `Config`.
      held: whether the rate is held for the first of the steps (`HELD`), or falls along a cosine.
      tv_weight, alpha_weight: as in `Config`, in the middle of the run: they fall (`ANNEALED`).
    """

    steps: int
    parameterization: str
    pyramid_levels: int
    learning_rate: float
    held: bool
    tv_weight: float
    alpha_weight: float


WHOLE = 64  # counts as the stride of a layer that sees the whole picture
# By the stride in pixels from which it is for; measured on photographs that docs/quality.md does not report on.
AUTO = {
    1: Depth(400, "clip", 0, 0.1, held=False, tv_weight=0.0, alpha_weight=0.0),
    2: Depth(200, "pyramid", 1, 0.1, held=False, tv_weight=0.1, alpha_weight=0.0),
    4: Depth(400, "pyramid", 2, 0.1, held=False, tv_weight=0.1, alpha_weight=0.0),
    8: Depth(400, "sigmoid_pyramid", 6, 0.1, held=True, tv_weight=0.1, alpha_weight=1.0),
    16: Depth(400, "sigmoid_pyramid", 6, 0.05, held=True, tv_weight=0.1, alpha_weight=1.0),
    32: Depth(400, "sigmoid_pyramid", 6, 0.03, held=True, tv_weight=1.0, alpha_weight=7.0),
    WHOLE: Depth(400, "sigmoid_pyramid", 6, 0.03, held=True, tv_weight=1.0, alpha_weight=1e4),
}
HELD, LOWERED = (0.75, 0.9), (0.3, 0.1)  # parts of the steps after which a rate that is held is lowered; its factors
ANNEALED = 10.0, 0.01  # times the weight at the first step, and the part of that which is left at the last
FEWEST = 10  # steps; fewer have no three quarters
OWN_TV = 0.1  # with a learning rate of the user's own


def at_depth(config: Config, layers: Mapping[str, Layer], size: tuple[int, int]) -> Config:
    """The config with its preset's numbers for these layers; what the user has set stays. With a learning rate of the
    user's own, as the homework's flagfiles have, `auto` leaves the regularizers alone as well.

    - auto: the pyramid, its levels, the number of steps, the learning rate and its schedule, and total variation, by the stride
      of the shallowest layer (docs/quality.md); backing off where that rate should be too large; from a stride of 8 on, where
      the features say less and less about contrast, an alpha norm where none is given, a strong one for layers that see
      the whole picture. Regularizers fall, unless one of them is given. At a stride of 1, where the features say
      everything, plain pixels and no total variation;
    - mv2015: the weight of total variation is 1, 10 or 100 times what is given, by depth as in the paper's CaffeNet
      (table 1: up to conv2, up to conv4, beyond);
    - mv2016: the weight C of the features, by depth as in the paper's AlexNet and VGG; jitter of a quarter of the stride;
      a learning rate in proportion to the number of pixels.

    Other networks than the papers' take the factor of the layer with the same receptive field.

    Args:
      config: with `steps`, `learning_rate` or `jitter` 0, `schedule` or `parameterization` auto, `pyramid_levels`,
        `tv_weight` or `regularizer_final` -1 where the preset is to decide.
      layers: of the converted network.
      size: (height, width) of the picture.
    """
    stride = min(max(layer.stride) if layer.stride and layer.receptive_field else WHOLE for layer in layers.values())
    depth = AUTO[max(least for least in AUTO if least <= stride)]
    steps = config.steps or depth.steps
    free = config.schedule == "auto" and not config.learning_rate and steps >= FEWEST
    held = free and depth.held
    changes: dict[str, object] = {"steps": steps, **_regularizers(config, depth, falling=free)}
    if config.preset == "mv2015":
        changes["tv_weight"] = config.tv_weight * _tv_factor(_receptive_field(layers))
    if config.preset == "mv2016":
        weights = config.layer_weights or (1.0,) * len(layers)
        factor = _feature_factor(_receptive_field(layers), stride)
        changes["layer_weights"] = tuple(weight * factor for weight in weights)
    if not config.jitter:
        changes["jitter"] = max(math.floor(stride / 4 + 0.5), 1) if config.preset == "mv2016" else 1
    if held:
        boundaries = tuple(round(part * steps) for part in HELD)
        changes |= {"schedule": "piecewise", "decay_boundaries": boundaries, "decay_factors": LOWERED}
    elif config.schedule == "auto":
        changes["schedule"] = "cosine"
    if not config.learning_rate:
        # 0.05 B^2 / alpha for each pixel, B = 80 grey levels and alpha = 6; for images in [0, 1].
        journal = 0.05 * 80**2 / 6 / 255**2 * size[0] * size[1]
        changes["learning_rate"] = journal if config.preset == "mv2016" else depth.learning_rate
        if config.preset == "auto":
            changes["backoff"] = True  # whoever chooses the rate watches over it
    if config.parameterization == "auto":
        changes["parameterization"] = depth.parameterization
    if config.pyramid_levels < 0:
        changes["pyramid_levels"] = depth.pyramid_levels
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def _regularizers(config: Config, depth: Depth, falling: bool) -> dict[str, float]:
    """The weights at the first step, and the part of them that is left at the last."""
    tv, alpha, final = config.tv_weight, config.alpha_weight, config.regularizer_final
    given = (tv, alpha, final) != (-1, 0, -1)
    if tv == -1:
        tv = OWN_TV if config.learning_rate else depth.tv_weight
    if not alpha and config.preset == "auto" and not config.learning_rate:
        alpha = depth.alpha_weight
    if falling and not given and (tv or alpha):
        start, final = ANNEALED
        tv, alpha = start * tv, start * alpha
    return {"tv_weight": tv, "alpha_weight": alpha, "regularizer_final": 1.0 if final == -1 else final}


def _receptive_field(layers: Mapping[str, Layer]) -> float:
    return max(max(layer.receptive_field) if layer.receptive_field else math.inf for layer in layers.values())


def _tv_factor(receptive_field: float) -> float:
    """CaffeNet: conv2 sees 51 pixels, conv4 131 (Mahendran & Vedaldi 2015, table 1)."""
    return 1.0 if receptive_field <= 51 else 10.0 if receptive_field <= 131 else 100.0


def _feature_factor(receptive_field: float, stride: int) -> float:
    """C: AlexNet's conv3 sees 99 pixels, conv4 131, conv5 163; VGG-16's conv4_3 92, conv5_1 132, conv5_3 196."""
    if stride >= 32:  # from the last pool on
        return 1.0
    return 300.0 if receptive_field < 100 else 100.0 if receptive_field <= 132 else 20.0
