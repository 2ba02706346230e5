"""Values that depend on how deep the layers are: what the settings leave open gets its value here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tfinvert.networks.layer import Layer
from tfinvert.settings.inversion import ADAM_BETA_2, InversionSettings, Resolved
from tfinvert.settings.presets import PRESETS


@dataclasses.dataclass(frozen=True)
class Depth:
    """What `--preset=auto` chooses for a layer.

    Attributes:
      steps, parameterization, pyramid_levels, learning_rate: as in the settings.
      beta_2: as in the settings. Gradients fall in the course of a run: with 0.999, the first ones would keep its steps small.
      held: whether the learning rate is held for the first of the steps (`HELD`), or falls along a cosine.
      tv_weight, alpha_weight: as in the settings, in the middle of the run: they fall (`ANNEALED`).
      hurries: whether a run of few steps (`FEW`) holds the learning rate (`HURRIED`) and lets the regularizers fall less far,
        which is better there. At a stride of 8 and 16 it is worse.
    """

    steps: int
    parameterization: str
    pyramid_levels: int
    learning_rate: float
    beta_2: float
    held: bool
    tv_weight: float
    alpha_weight: float
    hurries: bool = False


WHOLE = 64  # stands for the stride of a layer whose values have no place in the image
# The key is the stride in pixels from which the values hold. They were chosen on photographs that docs/benchmark.md does not
# report on.
AUTO = {
    1: Depth(400, "clip", 0, 0.1, 0.9, held=False, tv_weight=0.0, alpha_weight=0.0),
    2: Depth(200, "pyramid", 1, 0.1, 0.9, held=False, tv_weight=0.1, alpha_weight=0.0),
    4: Depth(400, "pyramid", 2, 0.1, 0.9, held=False, tv_weight=0.1, alpha_weight=0.0, hurries=True),
    8: Depth(400, "sigmoid_pyramid", 6, 0.1, 0.9, held=True, tv_weight=0.1, alpha_weight=1.0),
    16: Depth(400, "sigmoid_pyramid", 6, 0.05, 0.95, held=True, tv_weight=0.1, alpha_weight=1.0),
    32: Depth(400, "sigmoid_pyramid", 6, 0.03, 0.95, held=True, tv_weight=1.0, alpha_weight=7.0),
    WHOLE: Depth(400, "sigmoid_pyramid", 6, 0.03, 0.95, held=True, tv_weight=1.0, alpha_weight=1e4),
}
HELD, LOWERED = (0.75, 0.9), (0.3, 0.1)  # a rate that is held is lowered after these parts of the steps, by these factors
ANNEALED = 10.0, 0.01  # a regularizer starts at ten times its weight and ends at a hundredth of that
FEW = 0.25  # of the usual steps, up to which a run is one of few
# It holds its rate for this part of the usual steps, or three quarters of its own, and lowers it after each third of the rest.
HURRIED, SLOWED = 0.125, (0.5, 0.25, 0.1)
FEWEST = 10  # steps; a run of fewer has no three quarters
OWN_TV = 0.1  # weight of total variation beside a learning rate that the user chose


def resolve(settings: InversionSettings, layers: Mapping[str, Layer], size: tuple[int, int]) -> Resolved:
    """The settings with a value for everything that was not given; what the user gave stays.

    - auto takes parameterization, pyramid levels, number of steps, learning rate and schedule, total variation and alpha norm
      from the stride of the shallowest layer (docs/benchmark.md), and turns backing off on in case that rate is too large.
      The regularizers fall over the run, unless one of them is given. At a stride of 4, a run of few steps holds its rate at
      first. A learning rate that the user gives, as the homework's flagfiles do, leaves the regularizers and Adam's own
      numbers alone.
    - mv2015 multiplies total variation by 1, 10 or 100, by depth as in the paper's CaffeNet (table 1: up to conv2, up to conv4,
      beyond).
    - mv2016 weights the features by C, by depth as in the paper's AlexNet and VGG; jitters by a quarter of the stride; and
      takes a learning rate in proportion to the number of pixels.

    Networks that the papers do not have take the factor of the layer with the same receptive field.

    Args:
      settings: the settings of an inversion.
      layers: the layers that are matched, by name.
      size: (height, width) of the image.
    """
    stride = _stride(layers)
    depth = _depth(stride)
    steps = settings.steps or depth.steps
    free = settings.schedule is None and settings.learning_rate is None and steps >= FEWEST
    hurried = depth.hurries and steps <= FEW * depth.steps
    part = math.sqrt(steps / depth.steps) if hurried else 1.0
    changes: dict[str, Any] = {"steps": steps, **_regularizers(settings, depth, part, falling=free)}
    if settings.preset == "mv2015":
        changes["tv_weight"] *= _tv_factor(_receptive_field(layers))
    if settings.preset == "mv2016":
        factor = _feature_factor(_receptive_field(layers), stride)
        changes["layer_weights"] = tuple(weight * factor for weight in settings.layer_weights or (1.0,) * len(layers))
    if settings.jitter is None:
        changes["jitter"] = max(math.floor(stride / 4 + 0.5), 1) if settings.preset == "mv2016" else 1
    if settings.schedule is None:
        held, lowered = (_hurried(steps / depth.steps), SLOWED) if hurried else (HELD, LOWERED)
        changes |= _schedule(steps, held if free and (depth.held or hurried) else (), lowered)
    if settings.beta_2 is None:
        changes["beta_2"] = depth.beta_2 if settings.preset == "auto" and settings.learning_rate is None else ADAM_BETA_2
    if settings.learning_rate is None:
        # 0.05 B^2 / alpha for each pixel, B = 80 grey levels and alpha = 6; for images in [0, 1].
        journal = 0.05 * 80**2 / 6 / 255**2 * size[0] * size[1]
        changes["learning_rate"] = journal if settings.preset == "mv2016" else depth.learning_rate
        if settings.preset == "auto":
            changes["backoff"] = True  # the rate is ours, so that we watch over it
    if settings.parameterization is None:
        changes["parameterization"] = depth.parameterization
    if settings.pyramid_levels is None:
        changes["pyramid_levels"] = depth.pyramid_levels
    return dataclasses.replace(settings, **changes)


def usual_steps(preset: str, layers: Mapping[str, Layer]) -> int:
    """The number of steps that a preset takes for layers where the user names none."""
    return PRESETS.get(preset, {}).get("steps") or _depth(_stride(layers)).steps


def chosen(given: InversionSettings, resolved: Resolved) -> dict[str, Any]:
    """The settings that `resolve` chose, by name."""
    names = [field.name for field in dataclasses.fields(resolved)]
    return {name: getattr(resolved, name) for name in names if getattr(resolved, name) != getattr(given, name)}


def _stride(layers: Mapping[str, Layer]) -> int:
    """The stride of the shallowest layer."""
    return min(max(layer.stride) if layer.stride else WHOLE for layer in layers.values())


def _depth(stride: int) -> Depth:
    return AUTO[max(least for least in AUTO if least <= max(stride, 1))]


def _hurried(few: float) -> tuple[float, ...]:
    """The parts of a run after which its rate is lowered, where it has `few` of the usual steps."""
    first = min(HELD[0], HURRIED / few)
    return tuple(first + (1 - first) * third / 3 for third in range(3))


def _schedule(steps: int, held: tuple[float, ...], lowered: tuple[float, ...]) -> dict[str, Any]:
    """A rate that is lowered after parts of the steps, or that falls along a cosine where there are none."""
    if not held:
        return {"schedule": "cosine"}
    return {"schedule": "piecewise", "decay_boundaries": tuple(round(part * steps) for part in held), "decay_factors": lowered}


def _regularizers(settings: InversionSettings, depth: Depth, part: float, *, falling: bool) -> dict[str, float]:
    """The weights at the first step, and the fraction of them that is left at the last, after `part` of their whole fall."""
    tv, alpha, final = settings.tv_weight, settings.alpha_weight, settings.regularizer_final
    given = tv is not None or bool(alpha) or final is not None
    own_rate = settings.learning_rate is not None
    if tv is None:
        tv = OWN_TV if own_rate else depth.tv_weight
    if alpha is None:
        alpha = depth.alpha_weight if settings.preset == "auto" and not own_rate else 0.0
    if falling and not given and (tv or alpha):
        start, final = ANNEALED
        tv, alpha, final = start * tv, start * alpha, final**part
    return {"tv_weight": tv, "alpha_weight": alpha, "regularizer_final": 1.0 if final is None else final}


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
