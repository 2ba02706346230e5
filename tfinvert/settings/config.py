"""What a run is told, as one frozen value. Flags (cli.py) and the Python API both make a Config; nothing else does."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfinvert.errors import InputError, choice_error

CHOICES = {
    "preset": ("auto", "mv2015", "mv2016"),
    "weights": ("auto", "pretrained", "random"),
    "pool": ("avg", "max"),
    "optimizer": ("adam", "sgd", "mv2016", "lbfgs"),
    "schedule": ("auto", "constant", "exponential", "piecewise", "cosine", "warmup_cosine"),
    "tv_kind": ("l1", "l2", "beta"),
    "tv_reduction": ("sum", "mean"),
    "feature_loss": ("mse", "normalized"),
    "alpha_kind": ("values", "pixels"),
    "alpha_reduction": ("sum", "mean"),
    "parameterization": ("auto", "free", "clip", "bounded", "sigmoid", "pyramid", "sigmoid_pyramid", "fourier", "deep_prior"),
    "precision": ("float32", "tf32", "bfloat16"),
    "attack": ("gradient", "fgsm", "pgd"),
    "recipe": ("course", "fourier"),
    "upsampling": ("transposed", "resize"),
    "picture_loss": ("mse", "l1"),
}
STARTS = ("noise", "grey", "mv2015", "mv2016")  # --init is one of these or a picture file
# What a preset sets where the user does not, in units of images in [0, 1]. `presets.at_depth` adds what depends on the layer.
# Mahendran & Vedaldi work in grey levels around the mean color: of their weights, 255^2 belongs to the differences of
# total variation and 255^6 to the alpha norm; a rate has 1/255^2. sigma is the norm of a photograph there.
SIGMA = 27098.1157
PRESETS: dict[str, dict[str, Any]] = {
    "auto": {},
    "mv2015": {
        "feature_loss": "normalized",
        "tv_kind": "l2",
        "tv_reduction": "sum",
        "tv_weight": 1 / 2 / SIGMA**2 * 255**2,
        "alpha": 6.0,
        "alpha_kind": "values",
        "alpha_reduction": "sum",
        "alpha_weight": 8e-10 / 2 / SIGMA**2 * 255**6,
        "optimizer": "sgd",
        "momentum": 0.9,
        "momentum_reset": True,
        "learning_rate": 0.004 * SIGMA**2 / 255**2,
        "schedule": "piecewise",
        "decay_boundaries": (100, 300),
        "decay_factors": (0.1, 0.01),
        "steps": 400,
        "parameterization": "free",
        "init": "mv2015",
    },
    "mv2016": {
        "feature_loss": "normalized",
        "tv_kind": "l2",
        "tv_reduction": "mean",  # over pixels and channels: the paper's is over pixels
        "tv_weight": 3 * (6.5 / 80) ** 2 * 255**2,
        "alpha": 6.0,
        "alpha_kind": "pixels",
        "alpha_reduction": "mean",
        "alpha_weight": 3 * (255 / 80) ** 6,
        "optimizer": "mv2016",
        "schedule": "piecewise",
        "decay_boundaries": (300,),
        "decay_factors": (0.1,),
        "steps": 350,
        "jitter_steps": 300,
        "parameterization": "bounded",
        "init": "mv2016",
    },
}
# Where a run goes and how it is continued: not part of what the run is.
PLACEMENT = ("output_dir", "resume", "overwrite", "questions", "runs", "torch_variants", "batch")
TORCH_VARIANTS = ("channels_last", "eager", "compile")
FLOAT32_FINISH = 10  # a run in a reduced precision ends with this part of its steps in float32
# What may be the path of a file, or several.
FILES = ("onnx", "image", "images", "pictures", "style_images", "init", "data", "decoder", "decoders")
METHODS = ("gradient", "smoothgrad", "integrated", "guided", "grad_cam")
SMALLEST_SIDE, LARGEST_SIDE = 16, 2048
LARGEST_NUMBER = 2**31 - 1  # of whole numbers: TensorFlow counts in 32 bits in places
LONGEST_TEXT = 4000  # characters of a name or path


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings of every experiment. The fields are flags of the command line; `cli.py` has a sentence on each.

    An experiment that needs other settings, or other defaults, has a subclass of its own, listed in `CONFIGS`.

    Raises:
      InputError: a value is outside its range; the message names the flag, the value and what is expected.
    """

    experiment: str = "invert"
    model: str = "vgg16-bn"
    onnx: str | None = None
    weights: str = "auto"
    preprocessing: str | None = None
    image: str = "astronaut"
    size: tuple[int, int] | None = None
    pool: str = "avg"
    seed: int = 12345
    output_dir: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.experiment not in CONFIGS:
            raise choice_error("--experiment", self.experiment, CONFIGS)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for one in value if isinstance(value, tuple) else (value,):
                _check_value(field.name, one)
        for name, choices in CHOICES.items():
            if hasattr(self, name) and getattr(self, name) not in choices:
                raise choice_error(f"--{name}", str(getattr(self, name)), choices)
        _at_least("seed", self.seed, 0)
        if self.size is not None and not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in self.size):
            raise InputError(
                f"--size is {self.size[0]}x{self.size[1]}; expected sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
            )
        if getattr(self, "resume", False) and self.overwrite:
            raise InputError("--resume and --overwrite exclude each other; give one")

    def network_name(self) -> str:
        """The network in words: the name of the zoo's model, or of the file."""
        return Path(self.onnx).stem if self.onnx else self.model

    def run_folder(self) -> Path:
        """The run directory: `output_dir`, or out/<experiment>."""
        return Path(self.output_dir) if self.output_dir else Path("out") / self.experiment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """The settings of inversions, and of what is made of many of them (suite, sweep, compare)."""

    preset: str = "auto"
    layers: tuple[str, ...] = ("conv3_1",)
    layer_weights: tuple[float, ...] = ()
    steps: int = 0
    optimizer: str = "adam"
    learning_rate: float = 0.0
    epsilon: float = 1e-8
    momentum: float = 0.9
    momentum_reset: bool = False
    schedule: str = "auto"
    decay_rate: float = 0.1
    decay_steps: int = 0
    decay_boundaries: tuple[int, ...] = ()
    decay_factors: tuple[float, ...] = ()
    warmup_steps: int = 0
    final_fraction: float = 0.0
    feature_loss: str = "normalized"
    tv_weight: float = -1.0
    tv_kind: str = "l1"
    tv_reduction: str = "mean"
    tv_beta: float = 2.0
    alpha_weight: float = 0.0
    alpha: float = 6.0
    alpha_kind: str = "values"
    alpha_reduction: str = "mean"
    regularizer_final: float = -1.0
    jitter: int = 0
    jitter_steps: int = 0
    backoff: bool = False
    parameterization: str = "auto"
    pyramid_levels: int = -1
    init: str = "grey"
    seeds: int = 1
    pictures: tuple[str, ...] = ()
    images: str | None = None
    batch: int = 1
    save_every: int = 10
    precision: str = "float32"
    tensorboard: bool = False
    resume: bool = False
    questions: tuple[str, ...] = ("all",)
    runs: tuple[str, ...] = ()
    torch_variants: tuple[str, ...] = TORCH_VARIANTS

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("steps", self.steps, 0)
        _at_least("save_every", self.save_every, 1)
        _at_least("decay_steps", self.decay_steps, 0)
        _at_least("warmup_steps", self.warmup_steps, 0)
        _at_least("learning_rate", self.learning_rate, 0)
        _above_zero("epsilon", self.epsilon)
        _above_zero("decay_rate", self.decay_rate)
        if self.tv_weight != -1:
            _at_least("tv_weight", self.tv_weight, 0)
        _at_least("tv_beta", self.tv_beta, 1)
        _at_least("alpha_weight", self.alpha_weight, 0)
        _at_least("alpha", self.alpha, 1)
        if self.regularizer_final != -1:
            _above_zero("regularizer_final", self.regularizer_final)
        _at_least("jitter", self.jitter, 0)
        _at_least("pyramid_levels", self.pyramid_levels, -1)
        _at_least("seeds", self.seeds, 1)
        _at_least("jitter_steps", self.jitter_steps, 0)
        _at_least("momentum", self.momentum, 0)
        _at_least("final_fraction", self.final_fraction, 0)
        if self.momentum >= 1:
            raise InputError(f"--momentum is {self.momentum}; expected a number from 0 to below 1")
        if self.final_fraction > 1:
            raise InputError(f"--final_fraction is {self.final_fraction}; expected a number from 0 to 1")
        if not self.layers and self.experiment == "invert":
            raise InputError("--layers is empty; expected at least one layer, such as conv3_1")
        if len(set(self.layers)) < len(self.layers):
            raise InputError(f"--layers names a layer twice: {', '.join(self.layers)}; give each once, with --layer_weights")
        if self.layer_weights and len(self.layer_weights) != len(self.layers):
            raise InputError(
                f"--layer_weights has {len(self.layer_weights)} numbers for {len(self.layers)} layers; expected one for each"
            )
        for weight in self.layer_weights:
            _at_least("layer_weights", weight, 0)
        if self.layer_weights and not any(self.layer_weights):
            raise InputError("--layer_weights are all 0; expected at least one above 0")
        if self.schedule == "piecewise":
            ordered = list(self.decay_boundaries) == sorted(set(self.decay_boundaries))
            if not self.decay_boundaries or not ordered or min(self.decay_boundaries) < 1:
                raise InputError(
                    f"--decay_boundaries is {list(self.decay_boundaries)}; --schedule=piecewise expects rising steps, "
                    "such as 1000,1500"
                )
            if len(self.decay_factors) != len(self.decay_boundaries):
                raise InputError(
                    f"--decay_factors has {len(self.decay_factors)} numbers for {len(self.decay_boundaries)} "
                    "boundaries; expected one for each"
                )
            for factor in self.decay_factors:
                _above_zero("decay_factors", factor)
        if self.schedule == "warmup_cosine" and not 0 < self.warmup_steps < (self.steps or LARGEST_NUMBER):
            expected = f"1 to {self.steps - 1} of {self.steps} steps" if self.steps else "at least 1, and fewer than --steps"
            raise InputError(f"--warmup_steps is {self.warmup_steps}; --schedule=warmup_cosine expects {expected}")
        if self.experiment in ("suite", "diff") and not self.questions:
            raise InputError("--questions is empty; expected all, q2, or names such as q2.1,q3.2")
        if self.experiment == "report" and not self.runs:
            raise InputError("--runs is empty; --experiment=report expects run directories, such as --runs=out/q1,out/q4")
        if self.seeds > 1 and (self.optimizer == "lbfgs" or self.parameterization == "deep_prior"):
            raise InputError(
                f"--seeds is {self.seeds}; --optimizer=lbfgs and --parameterization=deep_prior make one picture at a time"
            )
        if self.images is not None and self.experiment != "sweep":
            raise InputError("--images is for --experiment=sweep; give --image=FILE for one picture, --pictures for several")
        _at_least("batch", self.batch, 1)
        if self.batch > 1 and self.images is None:
            raise InputError(f"--batch is {self.batch}; it is for pictures of --images, of --experiment=sweep")
        if self.pictures and self.experiment != "invert":
            raise InputError("--pictures is for --experiment=invert; a sweep takes a folder, --images")
        if self.optimizer == "lbfgs" and (len(self.pictures) > 1 or self.batch > 1):
            raise InputError("--optimizer=lbfgs makes one picture at a time; give one of --pictures, and no --batch")
        pictures_by_name(self.pictures, "--pictures")
        for variant in self.torch_variants or ("",):
            if variant not in TORCH_VARIANTS:
                raise choice_error("--torch_variants", variant, TORCH_VARIANTS)

    def reduced_steps(self) -> int:
        """The number of steps in `precision`, where that is not float32; the rest is in float32."""
        return self.steps - max(self.steps // FLOAT32_FINISH, 1)

    def run_folder(self) -> Path:
        """The run directory: `output_dir`, or out/<network>-<layers>; of several pictures the folder that theirs are in."""
        if self.output_dir or self.experiment != "invert":
            return super().run_folder()
        name = self.network_name() if self.pictures else f"{self.network_name()}-{'+'.join(self.layers)}"
        return Path("out") / re.sub(r"[^A-Za-z0-9._+-]", "_", name)

    def each(self) -> list[Config]:
        """A configuration for each of `pictures`, in <run folder>/<picture>/<layers>; itself where there are none."""
        if not self.pictures:
            return [self]
        return [
            dataclasses.replace(self, pictures=(), image=picture, output_dir=str(self.run_folder() / name / self.layers_name()))
            for name, picture in pictures_by_name(self.pictures, "--pictures").items()
        ]

    def layers_name(self) -> str:
        """The layers as the name of a folder."""
        return "+".join(self.layers).replace("/", "_")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaliencyConfig(RunConfig):
    """The settings of saliency maps."""

    experiment: str = "saliency"
    model: str = "squeezenet1.1"
    pool: str = "max"
    pictures: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    methods: tuple[str, ...] = METHODS
    layers: tuple[str, ...] = ("last",)
    samples: int = 32
    noise: float = 0.15
    integration_parts: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        for method in self.methods:
            if method not in METHODS:
                raise choice_error("--methods", method, METHODS)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(f"--methods is {','.join(self.methods)!r}; expected some of {', '.join(METHODS)}, each once")
        if len(self.layers) != 1:
            raise InputError(f"--layers names {len(self.layers)} layers; Grad-CAM expects one")
        pictures = len(self.pictures) or 1
        if len(self.classes) not in (0, 1, pictures):
            raise InputError(
                f"--class names {len(self.classes)} classes for {pictures} pictures; expected one, or one for each"
            )
        _at_least("samples", self.samples, 1)
        _at_least("integration_parts", self.integration_parts, 1)
        _above_zero("noise", self.noise)

    def needed_layers(self) -> tuple[str, ...]:
        """The layers that the network is cut to."""
        return ("scores", *(self.layers if "grad_cam" in self.methods else ()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoolConfig(RunConfig):
    """The settings of fooling images. The defaults are the constants of CS231n, assignment 3."""

    experiment: str = "fool"
    model: str = "squeezenet1.1"
    pool: str = "max"
    classes: tuple[str, ...] = ("stingray",)
    attack: str = "gradient"
    steps: int = 100
    learning_rate: float = 1.0
    bound: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("steps", self.steps, 1)
        _above_zero("learning_rate", self.learning_rate)
        if not 1 <= self.bound <= 255:
            raise InputError(f"--bound is {self.bound}; expected 1 to 255 levels of 1/255")

    def needed_layers(self) -> tuple[str, ...]:
        """The layers that the network is cut to."""
        return ("scores",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StyleConfig(RunConfig):
    """The settings of style transfer. The defaults are CS231n's, assignment 3, for its third pair of pictures."""

    experiment: str = "style"
    model: str = "squeezenet1.1"
    pool: str = "max"
    style_images: tuple[str, ...] = ()
    style_image_weights: tuple[float, ...] = ()
    side: int = 192
    style_side: int = 192
    layers: tuple[str, ...] = ("features.3",)
    content_weight: float = 6e-2
    style_layers: tuple[str, ...] = ("features.1", "features.4", "features.6", "features.7")
    style_weights: tuple[float, ...] = (300000.0, 1000.0, 15.0, 3.0)
    tv_weight: float = 2e-2
    keep_color: bool = False
    scales: int = 1
    init: str = "content"
    steps: int = 200
    optimizer: str = "adam"
    learning_rate: float = 3.0
    epsilon: float = 1e-8
    decay_boundaries: tuple[int, ...] = (180,)
    decay_factors: tuple[float, ...] = (1 / 30,)
    save_every: int = 20
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("side", "style_side"):
            if not SMALLEST_SIDE <= getattr(self, name) <= LARGEST_SIDE:
                raise InputError(f"--{name} is {getattr(self, name)}; expected {SMALLEST_SIDE} to {LARGEST_SIDE} pixels")
        if self.size is not None:
            raise InputError("--size is no flag of --experiment=style, which keeps proportions; give --side and --style_side")
        if len(self.layers) != 1:
            raise InputError(f"--layers names {len(self.layers)} layers; --experiment=style expects one, for the content")
        if len(self.style_layers) != len(self.style_weights):
            raise InputError(
                f"--style_weights has {len(self.style_weights)} numbers for {len(self.style_layers)} --style_layers; "
                "expected one for each"
            )
        if len(set(self.style_layers)) < len(self.style_layers):
            raise InputError(f"--style_layers names a layer twice: {', '.join(self.style_layers)}; give each once")
        for weight in self.style_weights:
            _at_least("style_weights", weight, 0)
        if any(self.style_weights) and not self.style_images:
            raise InputError("--style_images is empty; expected at least one picture, or --style_weights of 0")
        if self.style_image_weights and len(self.style_image_weights) != len(self.style_images):
            raise InputError(
                f"--style_image_weights has {len(self.style_image_weights)} numbers for {len(self.style_images)} "
                "--style_images; expected one for each"
            )
        for weight in self.style_image_weights:
            _above_zero("style_image_weights", weight)
        _at_least("content_weight", self.content_weight, 0)
        _at_least("tv_weight", self.tv_weight, 0)
        if not (self.content_weight or self.tv_weight or any(self.style_weights)):
            raise InputError("--content_weight, --style_weights and --tv_weight are all 0; expected one above 0")
        if self.optimizer not in ("adam", "lbfgs"):
            raise choice_error("--optimizer", self.optimizer, ("adam", "lbfgs"))
        _at_least("scales", self.scales, 1)
        if min(self.side, self.style_side) >> (self.scales - 1) < SMALLEST_SIDE:
            raise InputError(
                f"--scales is {self.scales}; a side of {min(self.side, self.style_side)} pixels cannot be halved so often"
            )
        _at_least("steps", self.steps, 1)
        _at_least("save_every", self.save_every, 1)
        _above_zero("learning_rate", self.learning_rate)
        _above_zero("epsilon", self.epsilon)
        if list(self.decay_boundaries) != sorted(set(self.decay_boundaries)) or min(self.decay_boundaries, default=1) < 1:
            raise InputError(f"--decay_boundaries is {list(self.decay_boundaries)}; expected rising steps, such as 180")
        if len(self.decay_factors) != len(self.decay_boundaries):
            raise InputError(
                f"--decay_factors has {len(self.decay_factors)} numbers for {len(self.decay_boundaries)} boundaries; "
                "expected one for each"
            )
        for factor in self.decay_factors:
            _above_zero("decay_factors", factor)

    def shares(self) -> tuple[float, ...]:
        """The weight of each style picture; they sum to 1."""
        weights = self.style_image_weights or (1.0,) * len(self.style_images)
        return tuple(weight / sum(weights) for weight in weights)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassVisConfig(RunConfig):
    """The settings of class visualization. The defaults are CS231n's, assignment 3, and its six classes."""

    experiment: str = "class_vis"
    model: str = "squeezenet1.1"
    pool: str = "max"
    recipe: str = "course"
    classes: tuple[str, ...] = ("tarantula", "tick", "Yorkshire terrier", "oboe", "gorilla", "hourglass")
    layers: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    neuron: bool = False
    steps: int = 100
    learning_rate: float = 0.0
    l2_weight: float = 1e-3
    jitter: int = 17
    blur_every: int = 10
    blur_deviation: float = 0.5
    save_every: int = 10
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) > 1:
            raise InputError(f"--layers names {len(self.layers)} layers; --experiment=class_vis expects one, with --channels")
        if bool(self.layers) != bool(self.channels):
            raise InputError("--layers and --channels go together, as in --layers=fire8 --channels=12,40; else give --classes")
        if self.neuron and not self.layers:
            raise InputError("--neuron expects a layer and its channels, as in --layers=fire8 --channels=12,40")
        if not (self.layers or self.classes):
            raise InputError("--classes is empty; expected at least one, such as gorilla")
        for channel in self.channels:
            _at_least("channels", channel, 0)
        _at_least("steps", self.steps, 1)
        _at_least("save_every", self.save_every, 1)
        _at_least("learning_rate", self.learning_rate, 0)
        _at_least("l2_weight", self.l2_weight, 0)
        _at_least("jitter", self.jitter, 1)
        _at_least("blur_every", self.blur_every, 0)
        _above_zero("blur_deviation", self.blur_deviation)

    def needed_layers(self) -> tuple[str, ...]:
        """The layers that the network is cut to."""
        return self.layers or ("scores",)

    def rate(self) -> float:
        """The learning rate; where none is given, the recipe's own."""
        return self.learning_rate or {"course": 25.0, "fourier": 0.05}[self.recipe]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig(RunConfig):
    """The settings of a decoder's training."""

    experiment: str = "train_decoder"
    model: str = "alexnet"
    pool: str = "max"
    layers: tuple[str, ...] = ("conv2",)
    data: str = "samples"
    class_count: int = 20
    held_out: float = 0.1
    augment: bool = True
    cache_features: bool = False
    upsampling: str = "transposed"
    width: int = 32
    picture_loss: str = "mse"
    feature_weight: float = 0.0
    epochs: int = 20
    epoch_pictures: int = 0
    batch_size: int = 16
    learning_rate: float = 1e-3
    halve_every: int = 0
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0
    patience: int = 0
    precision: str = "float32"
    tensorboard: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) != 1:
            raise InputError(f"--layers names {len(self.layers)} layers; a decoder is trained for one, such as conv2")
        for name in ("class_count", "width", "epochs", "batch_size"):
            _at_least(name, getattr(self, name), 1)
        for name in ("epoch_pictures", "halve_every", "patience", "weight_decay", "feature_weight"):
            _at_least(name, getattr(self, name), 0)
        _above_zero("learning_rate", self.learning_rate)
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"--{name} is {getattr(self, name)}; expected a number from 0 to below 1")
        if not 0 < self.held_out < 1:
            raise InputError(f"--held_out is {self.held_out}; expected a fraction between 0 and 1")
        if self.cache_features and self.augment:
            raise InputError("--cache_features needs --noaugment: the features of random crops cannot be kept")

    def run_folder(self) -> Path:
        """The run directory: `output_dir`, or out/decoder-<network>-<layer>."""
        if self.output_dir:
            return super().run_folder()
        return Path("out") / re.sub(r"[^A-Za-z0-9._+-]", "_", f"decoder-{self.network_name()}-{self.layers[0]}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeConfig(RunConfig):
    """The settings of decoding; the encoder's are those of the decoder where they are not given."""

    experiment: str = "decode"
    decoder: str = ""
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decoder:
            raise InputError("--experiment=decode expects --decoder, a run of --experiment=train_decoder or its file")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareDecodersConfig(RunConfig):
    """The settings of a comparison of decoders with optimization; the encoder's as of decoding."""

    experiment: str = "compare_decoders"
    decoders: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    steps: int = 300
    learning_rate: float = 0.0
    tv_weight: float = -1.0
    fewer_steps: int = 5
    warm_rate: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decoders or len(self.layers) != len(self.decoders):
            raise InputError(
                f"--decoders names {len(self.decoders)} decoders for {len(self.layers)} layers; expected at least one, "
                "each for a layer of its own"
            )
        if len(set(self.layers)) < len(self.layers):
            raise InputError(f"--layers names a layer twice: {', '.join(self.layers)}; give one decoder for each")
        _at_least("fewer_steps", self.fewer_steps, 1)
        _above_zero("warm_rate", self.warm_rate)
        self.inversion(self.layers[0])

    def inversion(self, layer: str) -> Config:
        """The settings of the optimization for one layer."""
        names = ("model", "onnx", "weights", "preprocessing", "size", "pool", "seed", "tv_weight")
        return Config(
            **{name: getattr(self, name) for name in names},
            layers=(layer,),
            steps=self.steps,
            learning_rate=self.learning_rate,
            schedule="cosine",  # for both starts, however many steps they make
        )

    def warm(self, config: Config) -> Config:
        """The same where it starts from what the decoder gives: fewer and smaller steps."""
        steps = max(config.steps // self.fewer_steps, 1)
        return dataclasses.replace(config, steps=steps, learning_rate=config.learning_rate * self.warm_rate)


# Experiment -> its settings. Flags that are no field of them are refused.
CONFIGS: dict[str, type[RunConfig]] = {
    **dict.fromkeys(("invert", "layers", "suite", "diff", "report", "sweep", "compare"), Config),
    "saliency": SaliencyConfig,
    "fool": FoolConfig,
    "style": StyleConfig,
    "class_vis": ClassVisConfig,
    "train_decoder": DecoderConfig,
    "decode": DecodeConfig,
    "compare_decoders": CompareDecodersConfig,
}


def with_preset(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an inversion with those of their preset where they say nothing; raises InputError."""
    name = settings.get("preset", Config.preset)
    if name not in PRESETS:
        raise choice_error("--preset", name, PRESETS)
    return {**PRESETS[name], **settings}


def flagfile(config: RunConfig) -> str:
    """The complete flagfile of a run: every setting, one flag a line, but where it goes (`PLACEMENT`)."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in PLACEMENT or value is None:
            continue
        if field.name in FILES:  # the run can be repeated from any folder
            value = tuple(map(_absolute, value)) if isinstance(value, tuple) else _absolute(value)
        lines.append(f"--{field.name}={flag_text(field.name, value)}")
    return "\n".join(lines) + "\n"


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path


def flag_text(name: str, value: object) -> str:
    """A setting as its flag spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if name == "size" and isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, tuple):
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(value)  # a comma in a name is quoted, as absl reads lists
        return text.getvalue()
    return str(value)


def pictures_by_name(pictures: Iterable[str], where: str) -> dict[str, str]:
    """Name -> file; raises InputError where two have the same name, and says that it is `where`."""
    found: dict[str, str] = {}
    for picture in pictures:
        name = Path(picture).stem
        if name in found:
            raise InputError(f"{where} has more than one picture named {name}; give each another name")
        found[name] = picture
    return found


def parse_size(text: str) -> tuple[int, int]:
    """`224` or `224x320` (height x width) as a pair; raises InputError."""
    parts = re.fullmatch(r"(\d{1,5})(?:[xX](\d{1,5}))?", text.strip())
    if not parts:
        raise InputError(f"--size is {text!r}; expected pixels as 224 or 224x320 (height x width)")
    height = int(parts[1])
    return height, int(parts[2] or height)


def _check_value(name: str, value: object) -> None:
    """What holds for every setting: numbers that can be counted with, text that a flagfile can hold."""
    if isinstance(value, str):
        wrong = next((c for c in value if ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000), None)
        if wrong is not None or len(value) > LONGEST_TEXT:
            what = f"holds the character {wrong!r}" if wrong else f"has {len(value)} characters"
            raise InputError(f"--{name} {what}: {value[:60]!r}; expected text of one line, at most {LONGEST_TEXT} characters")
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise InputError(
            f"--{name} is {str(value)[:40] if value.bit_length() < 9999 else 'huge'}; expected at most {LARGEST_NUMBER}"
        )
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"--{name} is {value}; expected a finite number")


def _at_least(name: str, value: float, least: float) -> None:
    if not (math.isfinite(value) and value >= least):
        raise InputError(f"--{name} is {value}; expected a finite number of at least {least}")


def _above_zero(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"--{name} is {value}; expected a finite number above 0")
