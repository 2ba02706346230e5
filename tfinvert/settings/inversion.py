"""The settings of an inversion, in groups."""

from __future__ import annotations

import difflib
import os
from typing import Any

from tfinvert.settings.fields import LARGEST_NUMBER, Settings, define, setting
from tfinvert.settings.groups import is_array
from tfinvert.settings.presets import PRESETS
from tfinvert.system.errors import InputError, choice_error
from tfinvert.system.functions import check_function

PARAMETERIZATIONS = ("free", "clip", "bounded", "sigmoid", "pyramid", "sigmoid_pyramid", "fourier", "deep_prior")
OPTIMIZERS = ("adam", "sgd", "mv2016", "lbfgs")
SCHEDULES = ("constant", "exponential", "piecewise", "cosine", "warmup_cosine")
PRECISIONS = ("float32", "tf32", "bfloat16")
STARTS = ("noise", "grey", "mv2015", "mv2016")  # --init is one of these or an image file
ADAM_BETA_2 = 0.999  # of Kingma & Ba 2015
FLOAT32_FINISH = 10  # a run in a reduced precision ends with this part of its steps in float32


@define
class FeatureSettings(Settings):
    """The features to match"""

    layers: tuple[str, ...] = setting(
        default=("conv3_1",), doc="Layers whose features to match, separated by commas. --experiment=layers lists them."
    )
    layer_weights: tuple[float, ...] = setting(default=(), doc="A weight for each layer. Default: 1.", at_least=0)
    feature_loss: str = setting(
        default="normalized",
        doc="normalized divides the squared error by the mean square of the target features. mse does not, as in the homework.",
        choices=("mse", "normalized"),
    )

    def check(self) -> None:
        super().check()
        if not self.layers:
            raise InputError("--layers is empty; expected at least one layer, such as conv3_1")
        if len(set(self.layers)) < len(self.layers):
            raise InputError(f"--layers names a layer twice: {', '.join(self.layers)}; give each once, with --layer_weights")
        check_one_for_each("layer_weights", self.layer_weights, len(self.layers), "layers", or_none=True)
        if self.layer_weights and not any(self.layer_weights):
            raise InputError("--layer_weights are all 0; expected at least one above 0")

    def layers_name(self) -> str:
        """The layers as the name of a folder."""
        return "+".join(self.layers).replace("/", "_")


@define
class RegularizerSettings(Settings):
    """Regularizers and own terms"""

    tv_weight: float | None = setting(
        default=None,
        doc="Weight of total variation, which smooths the image. Default: chosen from the layer's stride.",
        at_least=0,
    )
    tv_kind: str = setting(
        default="l1",
        doc="l1 sums absolute differences of neighboring pixels, l2 squared ones, and beta their length to the power of "
        "--tv_beta.",
        choices=("l1", "l2", "beta"),
    )
    tv_reduction: str = setting(
        default="mean",
        doc="sum adds the differences up, as the homework does. mean divides by pixels and channels.",
        choices=("sum", "mean"),
    )
    tv_beta: float = setting(default=2.0, doc="The power of --tv_kind=beta.", at_least=1)
    alpha_weight: float | None = setting(
        default=None,
        doc="Weight of the alpha norm, which keeps colors near their mean. 0 turns it off. Default: chosen from the stride.",
        at_least=0,
    )
    alpha: float = setting(default=6.0, doc="The power of the alpha norm.", at_least=1)
    alpha_kind: str = setting(
        default="values",
        doc="values takes the norm of each value (Mahendran & Vedaldi 2015), pixels that of each pixel's color (2016).",
        choices=("values", "pixels"),
    )
    alpha_reduction: str = setting(
        default="mean", doc="sum adds the powers up. mean divides by pixels and channels.", choices=("sum", "mean")
    )
    regularizer_final: float | None = setting(
        default=None,
        doc="Total variation and alpha norm fall to this fraction of their weights by the last step. "
        "Default: 0.01 where their weights are chosen from the stride, else 1.",
        above=0,
    )
    term: tuple[str, ...] = setting(
        default=(),
        doc="Own terms of the loss, as file.py:function. A function takes (image, features) and returns [batch].",
        file=True,
    )
    term_weights: tuple[float, ...] = setting(default=(), doc="A weight for each of --term. Default: 1.")

    def check(self) -> None:
        super().check()
        for name in self.term:
            check_function("--term", name)
        check_one_for_each("term_weights", self.term_weights, len(self.term), "terms", or_none=True)


@define
class OptimizerSettings(Settings):
    """Steps and learning rate"""

    steps: int | None = setting(default=None, doc="Number of steps. Default: chosen from the layer's stride.", at_least=1)
    optimizer: str = setting(
        default="adam",
        doc="adam, sgd with momentum, mv2016 (the update rule of Mahendran & Vedaldi 2016), or lbfgs, which has no "
        "learning rate.",
        choices=OPTIMIZERS,
    )
    learning_rate: float | None = setting(
        default=None,
        doc="Step size at the first step, or at the end of the warm-up. Default: chosen from the layer's stride.",
        above=0,
    )
    epsilon: float = setting(
        default=1e-8,
        doc="Adam's epsilon. 1e-8 is the value of TensorFlow 1 and PyTorch, and matters with --feature_loss=mse.",
        above=0,
    )
    beta_2: float | None = setting(
        default=None,
        doc="Adam's memory of squared gradients: the part that is left after a step. Default: chosen from the layer's stride, "
        "or 0.999 where --learning_rate is given.",
        above=0,
        below=1,
    )
    momentum: float = setting(default=0.9, doc="Momentum of --optimizer=sgd.", at_least=0, below=1)
    momentum_reset: bool = setting(
        default=False, doc="Set the momentum of --optimizer=sgd to zero whenever the learning rate changes."
    )
    schedule: str | None = setting(
        default=None,
        doc="How the learning rate changes over the steps: constant, exponential, piecewise, cosine, or warmup_cosine, which "
        "rises first. Default: chosen from the layer's stride.",
        choices=SCHEDULES,
    )
    decay_rate: float = setting(default=0.1, doc="The factor of --schedule=exponential for every --decay_steps.", above=0)
    decay_steps: int | None = setting(
        default=None, doc="The number of steps for one factor of --schedule=exponential. Default: the whole run.", at_least=1
    )
    decay_boundaries: tuple[int, ...] = setting(default=(), doc="Steps after which --schedule=piecewise changes the rate.")
    decay_factors: tuple[float, ...] = setting(
        default=(), doc="The factor of --learning_rate after each boundary of --schedule=piecewise.", above=0
    )
    warmup_steps: int | None = setting(
        default=None, doc="The number of steps in which --schedule=warmup_cosine rises from 0 to --learning_rate.", at_least=1
    )
    final_fraction: float = setting(
        default=0.0, doc="The last rate of the cosine schedules, as a fraction of --learning_rate.", at_least=0, at_most=1
    )
    backoff: bool = setting(default=False, doc="Where the loss diverges, return to the best image and halve the step size.")
    precision: str = setting(
        default="float32",
        doc="float32, tf32 (on a GPU), or bfloat16 (on a processor; the last tenth of the steps is in float32).",
        choices=PRECISIONS,
    )

    def check(self) -> None:
        super().check()
        if self.schedule == "piecewise":
            check_boundaries(self.decay_boundaries, self.decay_factors, needed=True)
        if self.schedule == "warmup_cosine" and not 0 < (self.warmup_steps or 0) < (self.steps or LARGEST_NUMBER):
            expected = f"1 to {self.steps - 1} of {self.steps} steps" if self.steps else "at least 1, and fewer than --steps"
            raise InputError(f"--warmup_steps is {self.warmup_steps}; --schedule=warmup_cosine expects {expected}")

    def reduced_steps(self) -> int:
        """The number of steps in `precision`, where that is not float32; the rest is in float32."""
        assert self.steps is not None
        return self.steps - max(self.steps // FLOAT32_FINISH, 1)


@define
class ImageModelSettings(Settings):
    """How variables make the image, and where it starts"""

    parameterization: str | None = setting(
        default=None,
        doc="free: unconstrained pixels, as in the homework. clip: pixels clipped to [0, 1] after each step. bounded: "
        "pixels kept near the mean color. sigmoid: logits of pixels. pyramid and sigmoid_pyramid: a sum of "
        "resolutions. fourier: a spectrum with decorrelated colors. deep_prior: the weights of a convolutional "
        "generator. file.py:function: a function of yours that returns a Parameterization. Default: chosen from the "
        "layer's stride.",
        choices=PARAMETERIZATIONS,
        file=True,
    )
    pyramid_levels: int | None = setting(
        default=None, doc="Number of resolutions below the full one. Default: chosen from the layer's stride.", at_least=0
    )
    init: str = setting(
        default="grey",
        doc="The first image: noise as in the homework, grey with a little noise, mv2015 or mv2016 (noise around the mean"
        " color), or an image file.",
        file=True,
    )
    seed: int = setting(default=12345, doc="Seed of the random numbers.", at_least=0)
    seeds: int = setting(
        default=1,
        doc="Number of restarts, each with its own noise. The image with the smallest feature error is kept.",
        at_least=1,
    )
    jitter: int | None = setting(
        default=None,
        doc="Number of places along each axis at which the network may see the image, another one in each step. 1 means "
        "no jitter. Default: 1, or a quarter of the stride for --preset=mv2016.",
        at_least=1,
    )
    jitter_steps: int | None = setting(default=None, doc="Number of steps with jitter. Default: all.", at_least=1)


@define
class InversionSettings(ImageModelSettings, OptimizerSettings, RegularizerSettings, FeatureSettings):
    """The inversion"""

    preset: str = setting(
        default="auto",
        doc="Chooses what no flag gives. auto chooses by the layer's stride; mv2015 and mv2016 take the values of the papers "
        "of Mahendran & Vedaldi.",
        choices=tuple(PRESETS),
    )

    def check(self) -> None:
        super().check()
        near = difflib.get_close_matches(self.init.lower(), STARTS, n=1, cutoff=0.7)
        if near and self.init not in STARTS and not os.path.exists(self.init):
            raise InputError(f"--init is {self.init!r}; did you mean {near[0]}? Expected {', '.join(STARTS)}, or an image file")
        if self.seeds > 1 and (self.optimizer == "lbfgs" or self.parameterization == "deep_prior"):
            raise InputError(
                f"--seeds is {self.seeds}; --optimizer=lbfgs and --parameterization=deep_prior make one image at a time"
            )

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        name = values.get("preset", "auto")
        if name not in PRESETS:
            raise choice_error("--preset", str(name), PRESETS)
        return super().complete({**PRESETS[name], **values})

    def image_files(self) -> tuple[str, ...]:
        return super().image_files() if self.init in STARTS or is_array((self.init,)) else (*super().image_files(), self.init)


# Settings of an inversion in which nothing is left open (`presets.resolve`): no field is None any more, which the types of
# the fields cannot say.
Resolved = Any


def check_one_for_each(name: str, values: tuple, count: int, what: str, *, or_none: bool = False) -> None:
    """Raises InputError where there is not one value for each of `count` things."""
    if len(values) != count and not (or_none and not values):
        raise InputError(f"--{name} has {len(values)} numbers for {count} {what}; expected one for each")


def check_boundaries(boundaries: tuple[int, ...], factors: tuple[float, ...], *, needed: bool = False) -> None:
    """Raises InputError where the boundaries of a piecewise schedule do not rise, or have not one factor each."""
    rising = list(boundaries) == sorted(set(boundaries)) and min(boundaries, default=1) >= 1
    if not rising or (needed and not boundaries):
        raise InputError(
            f"--decay_boundaries is {list(boundaries)}; --schedule=piecewise expects rising steps, such as 1000,1500"
        )
    check_one_for_each("decay_factors", factors, len(boundaries), "boundaries")
