"""The command line: flags to a Config to an experiment. The only reader of flags in the program.

TensorFlow is imported after the flags have been read and the conversion has been started: a wrong flag answers at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from tfinvert.errors import InputError, NonFiniteLossError, choice_error
from tfinvert.runs import many as series
from tfinvert.settings import questions
from tfinvert.settings.config import (
    CHOICES,
    CONFIGS,
    PLACEMENT,
    STARTS,
    ClassVisConfig,
    CompareDecodersConfig,
    Config,
    DecodeConfig,
    DecoderConfig,
    FoolConfig,
    RunConfig,
    SaliencyConfig,
    StyleConfig,
    flag_text,
    flagfile,
    parse_size,
    with_preset,
)
from tfinvert.settings.questions import Baseline, Question
from tfinvert.system import quiet
from tfinvert.system import signals as interruption
from tfinvert.system.files import read_text

if TYPE_CHECKING:
    from tfinvert.runs.directory import RunDirectory

# One sentence for each setting.
HELP = {
    "experiment": "what to do: invert a picture; list the layers of a network; run the homework's questions (suite); print "
    "their diffs (diff); make the page again (report); invert every layer of a network (sweep); "
    "run the same in PyTorch and compare (compare); show what a class score depends on (saliency); "
    "change a picture until it is taken for something else (fool); "
    "paint it like another (style); make what the network takes for a class (class_vis); "
    "train a decoder of a layer's features (train_decoder); invert a picture with one, in one pass (decode); "
    "both ways beside one another (compare_decoders)",
    "model": "network of the ONNX model zoo: vgg16-bn, resnet18, squeezenet1.1 or alexnet",
    "onnx": "an .onnx file to use instead of the zoo's",
    "weights": "pretrained: from the file, downloaded where needed; random: seeded, with calibrated statistics; auto: "
    "pretrained where it can be had, else random",
    "preprocessing": "how the network wants its pictures: torch, caffe, tf or none; by default as the model's authors do",
    "preset": "numbers where none are given: auto by the depth of the layers; mv2015, mv2016 as in the papers of Mahendran & "
    "Vedaldi",
    "layers": "layers whose features to match, comma separated; --experiment=layers lists them",
    "layer_weights": "a weight for each layer; all 1 by default",
    "image": "the picture: a file, or astronaut, chelsea, coffee, rocket",
    "size": "pixels of the picture, 224 or 224x320 (height x width); by default the network's own",
    "pool": "avg replaces max pools by average pools as the homework does; max keeps the network as it was trained",
    "steps": "updates of the picture; of an inversion 0 for the preset's, by depth",
    "optimizer": "adam; sgd with momentum; mv2016, the rule of Mahendran & Vedaldi 2016; lbfgs, which has no learning rate",
    "learning_rate": "step size at the start, or at the top of the warm-up; 0 for what the depth of the layers wants; of "
    "fool the length of a step in normalized pixels (gradient) or in 1/255 (pgd); of class_vis 0 for the recipe's own, 25 "
    "(course) and 0.05 (fourier)",
    "epsilon": "Adam's epsilon; 1e-8 as in TensorFlow 1 and PyTorch, which matters with --feature_loss=mse",
    "momentum": "of --optimizer=sgd",
    "momentum_reset": "of --optimizer=sgd: zero the momentum when the learning rate changes",
    "schedule": "learning rate over the steps: auto (by depth), constant, exponential, piecewise, cosine, warmup_cosine",
    "decay_rate": "of --schedule=exponential: factor every --decay_steps",
    "decay_steps": "of --schedule=exponential; 0 for the whole run",
    "decay_boundaries": "of --schedule=piecewise: steps after which the rate changes",
    "decay_factors": "of --schedule=piecewise: factor of --learning_rate after each boundary",
    "warmup_steps": "of --schedule=warmup_cosine: steps from 0 to --learning_rate",
    "final_fraction": "of the cosine schedules: the last rate as a fraction of --learning_rate",
    "feature_loss": "mse as the homework, or normalized by the mean square of the target's features",
    "tv_weight": "weight of total variation; -1 for what the depth of the layers wants",
    "tv_kind": "total variation of absolute (l1) or squared (l2) differences, or of their length to the power of --tv_beta",
    "tv_reduction": "sum as the homework's diffs, or mean over pixels and channels",
    "tv_beta": "of --tv_kind=beta",
    "alpha_weight": "weight of the alpha norm, which keeps the colors near their mean",
    "alpha": "its power",
    "alpha_kind": "of values (Mahendran & Vedaldi 2015) or of pixels as color vectors (2016)",
    "alpha_reduction": "sum, or mean over pixels and channels",
    "regularizer_final": "total variation and alpha norm fall to this fraction of their weights by the last step; "
    "-1 for what their depth wants",
    "jitter": "places along each axis at which the network may see the picture, another one each step; 1 for no jitter, 0 for "
    "the preset's",
    "jitter_steps": "steps with jitter; 0 for all",
    "backoff": "where the loss diverges, go back to the best picture and halve the step size",
    "parameterization": "pixels: free as the homework, clip to [0, 1] after each step, bounded around the mean color, "
    "sigmoid; pyramid (a sum of resolutions, clipped) or sigmoid_pyramid; fourier (decorrelated colors); deep_prior (a "
    "convolutional generator); auto for the pyramid that the depth of the layers wants",
    "pyramid_levels": "resolutions below the full one; -1 for what the depth of the layers wants",
    "init": "start: noise as the homework, grey with a little noise, mv2015 or mv2016 (noise around the mean color), or a "
    "picture file; of style also content, for the picture itself, or uniform, for the course's noise",
    "seed": "of the start",
    "seeds": "starts that are run in one batch, from --seed on; the one with the smallest feature error is kept",
    "images": "of sweep: a folder of pictures, each of which is inverted",
    "batch": "of sweep: pictures of --images that are inverted in one batch",
    "save_every": "steps between pictures and lines of metrics",
    "precision": "float32; tf32 on a GPU; bfloat16 on a processor, with a tenth of the steps in float32 at the end",
    "tensorboard": "also write scalars and pictures for TensorBoard",
    "output_dir": "run directory; by default out/<network>-<layers>, or out/<experiment>",
    "resume": "go on from the run directory's newest checkpoint",
    "overwrite": "replace the run in the run directory",
    "questions": "of suite and diff: all, a group (q2), names (q2.1,q3.2), or flagfiles",
    "runs": "of report: run directories, comma separated",
    "torch_variants": "of compare: ways to run PyTorch; the first makes all steps, the others 30 to show their speed",
    "pictures": "several pictures, comma separated, instead of --image; of an inversion in one batch, each with its "
    "own run directory",
    "classes": "ImageNet classes by name, index or WordNet id, comma separated; --class is the same flag; "
    "of saliency by default what the network sees in each picture, of fool the targets (none: anything else)",
    "attack": "gradient: along the target's score, normalized, as in CS231n; fgsm: one signed step; pgd: many, within --bound",
    "bound": "of fgsm and pgd: how far any value may move, in 1/255; the picture that is written keeps to it",
    "methods": "maps to make: gradient, smoothgrad, integrated, guided, grad_cam",
    "style_images": "pictures whose style to take, comma separated",
    "style_image_weights": "a weight for each of them; equal by default",
    "side": "pixels of the shorter side of the picture, whose proportions are kept",
    "style_side": "the same of the style pictures",
    "content_weight": "weight of the sum of squared differences of the features of --layers; 0 for the texture alone",
    "style_layers": "layers whose Gram matrices to match, comma separated",
    "style_weights": "a weight for each of them; all 0 for no style",
    "keep_color": "keep the content's colors: transfer luminance alone",
    "scales": "of style: sizes from coarse to fine, each twice the one before, --steps at each",
    "recipe": "course: normalized ascent on pixels, jitter, blur; fourier: Adam on a decorrelated spectrum, seen through "
    "jitter, turns and changes of size",
    "channels": "channels of --layers to visualize instead of classes, comma separated",
    "neuron": "the middle neuron of each channel instead of all of them",
    "l2_weight": "of the course's recipe: weight of the sum of squares in normalized pixels",
    "blur_every": "of the course's recipe: steps between blurs; 0 for none",
    "blur_deviation": "deviation of that blur in pixels",
    "samples": "noisy copies of SmoothGrad",
    "noise": "deviation of SmoothGrad's noise as a fraction of the picture's range",
    "integration_parts": "parts of the way of integrated gradients; doubled until the attributions add up to 1 %",
    "data": "pictures to train on: samples for scikit-image's photographs, tiny-imagenet to download it, or a folder, "
    "laid out as Tiny ImageNet or not",
    "class_count": "classes of Tiny ImageNet, drawn with the seed",
    "held_out": "fraction of the pictures, or of each class, that is tested with and never trained on",
    "augment": "train on random crops, mirrored half of the time, instead of the center of each picture",
    "cache_features": "keep the encoder's features of the pictures on disk instead of making them in each epoch; needs "
    "--noaugment",
    "upsampling": "of the decoder: transposed for 4x4 transposed convolutions of stride 2, resize for nearest neighbors "
    "and a 3x3 convolution",
    "width": "channels of the decoder at half the picture's size, twice as many at each further halving, up to 256",
    "picture_loss": "mse for squared or l1 for absolute differences of pixels",
    "feature_weight": "weight of the normalized feature error of the decoded picture in the loss; 0 for none",
    "epochs": "passes over the pictures",
    "epoch_pictures": "pictures in an epoch; 0 for as many as there are, or 512 where there are fewer",
    "batch_size": "pictures in an update, of all devices and workers together",
    "halve_every": "epochs after which the learning rate is halved; 0 for a cosine down to 0 instead",
    "beta_1": "Adam's decay of the mean gradient",
    "beta_2": "Adam's decay of the mean squared gradient",
    "weight_decay": "this times each weight is added to its gradient",
    "patience": "epochs without progress on the held-out pictures after which the training ends; 0 for none",
    "decoders": "of compare_decoders: what --decoder takes, several comma separated, each for another layer of one network",
    "fewer_steps": "of compare_decoders: this many times fewer steps where the optimization starts from what the decoder gives",
    "warm_rate": "of compare_decoders: factor of the learning rate there",
    "decoder": "what decodes: a run of --experiment=train_decoder, or its decoder.keras or decoder.onnx",
}
LARGEST_FLAGFILE, LONGEST_ARGUMENT = 2**20, 10**5  # bytes, characters
LONGEST_FLAG = 60  # characters of its name
MOST_ARGUMENTS, DEEPEST_FLAGFILE = 10**4, 20  # with those of included flagfiles
HELP_FLAGS = ("--help", "-help", "-h", "--helpfull", "--helpshort")
ALL_LAYERS: dict[str, tuple[str, ...]] = {"layers": (), "sweep": ("all",)}  # what these take where no --layers are given
ALIASES = {"class": "classes", "keep_colour": "keep_color"}
LISTS = {
    **dict.fromkeys(("questions", "runs", "torch_variants", "decoders", "pictures", "style_images"), str),
    **dict.fromkeys(("layers", "style_layers", "classes", "methods"), str),
    **dict.fromkeys(("layer_weights", "style_weights", "style_image_weights", "decay_factors"), float),
    **dict.fromkeys(("decay_boundaries", "channels"), int),
}


def settings() -> dict[str, dataclasses.Field]:
    """Every setting by name, those of all experiments first."""
    kinds: tuple[type[RunConfig], ...] = (RunConfig, *CONFIGS.values())
    return {field.name: field for kind in kinds for field in dataclasses.fields(kind)}


def defined_flags() -> flags.FlagValues:
    """A flag for each setting. Their defaults are the experiments' own, so that here there are none."""
    values = flags.FlagValues()
    for name, field in settings().items():
        text = HELP[name]
        if name in LISTS:
            flags.DEFINE_list(name, None, text, values)
        elif name in CHOICES:
            flags.DEFINE_enum(name, None, list(CHOICES[name]), text, values)
        elif isinstance(field.default, bool):
            flags.DEFINE_boolean(name, None, text, values)
        elif isinstance(field.default, int):
            flags.DEFINE_integer(name, None, text, flag_values=values)
        elif isinstance(field.default, float):
            flags.DEFINE_float(name, None, text, flag_values=values)
        else:
            flags.DEFINE_string(name, None, text, values)
    return values


def parse(arguments: Sequence[str]) -> RunConfig:
    """The settings that a command line describes (its first element is the program's name); raises InputError."""
    return _config(_parsed(arguments))


def _parsed(arguments: Sequence[str]) -> flags.FlagValues:
    given = defined_flags()
    try:
        rest = given(_with_flagfiles(list(arguments)))
    except flags.Error as error:
        raise InputError(" ".join(str(error).split())) from None
    if len(rest) > 1:
        raise InputError(f"unexpected argument {rest[1]!r}; every setting is a flag, such as --image=PICTURE")
    return given


def _config(given: flags.FlagValues) -> RunConfig:
    values: dict[str, Any] = {name: given[name].value for name in HELP if given[name].present}
    experiment = values.get("experiment", RunConfig.experiment)
    if experiment not in CONFIGS:
        raise choice_error("--experiment", experiment, CONFIGS)
    kind = CONFIGS[experiment]
    known = [field.name for field in dataclasses.fields(kind)]
    for name, value in values.items():
        if name not in known:
            raise InputError(f"--{name} is no flag of --experiment={experiment}; it has --{', --'.join(known)}")
        if name in LISTS:
            values[name] = _parse_list(name, value or ())
        elif name == "size":
            values[name] = parse_size(value)
    if experiment in ALL_LAYERS:
        values.setdefault("layers", ALL_LAYERS[experiment])
    if values.get("decoder") or values.get("decoders"):
        values = _with_encoder(values, values.get("decoders") or (values["decoder"],))
    return kind(**(with_preset(values) if kind is Config else values))


def asked_questions(arguments: Sequence[str]) -> list[Question]:
    """The questions of a command line of the suite; its other flags change all of them alike."""
    given = _parsed(arguments)
    config = _config(given)
    changes = [
        f"--{field.name}={','.join(value) if isinstance(value := given[field.name].value, list) else value}"
        for field in dataclasses.fields(Config)
        if given[field.name].present and field.name not in ("experiment", *PLACEMENT)
    ]
    assert isinstance(config, Config)
    found = []
    for name, path in questions.flagfiles(config.questions).items():
        own = parse(["tfinvert", f"--flagfile={path}"])
        changed = parse(["tfinvert", f"--flagfile={path}", *changes])
        if not (isinstance(own, Config) and isinstance(changed, Config)):
            raise InputError(f"{path} is no inversion; the suite and its diffs take flagfiles of --experiment=invert")
        if changed.pictures:
            raise InputError(f"{path} asks for several --pictures; the suite and its diffs take flagfiles of one --image")
        changed = dataclasses.replace(changed, output_dir=str(config.run_folder() / name), overwrite=config.overwrite)
        found.append(Question(name, questions.sentence(path), own, changed))
    return found


def _baseline() -> Baseline:
    path = questions.flags_folder() / f"{questions.BASELINE}.flags"
    config = parse(["tfinvert", f"--flagfile={path}"])
    assert isinstance(config, Config)
    return Baseline(path.read_text(encoding="utf-8"), config)


def _with_encoder(values: dict[str, Any], sources: Sequence[str]) -> dict[str, Any]:
    """The settings with the encoder of the decoders where they name none."""
    from tfinvert.decoders import model as decoders

    encoders = [decoders.encoder_of(source) for source in sources]
    known = encoders[0].settings()
    known["layers"] = tuple(encoder.layer for encoder in encoders)
    if "model" in values:  # another network than the decoder's file
        known.pop("onnx", None)
    return {**known, **values}


def _parse_list(name: str, texts: Sequence[str]) -> tuple:
    texts = [text.strip() for text in texts if text.strip()]
    try:
        return tuple(LISTS[name](text) for text in texts)
    except ValueError:
        raise InputError(f"--{name} is {','.join(texts)!r}; expected numbers separated by commas") from None


def _with_flagfiles(arguments: Sequence[str], including: tuple[str, ...] = (), budget: list[int] | None = None) -> list[str]:
    """The arguments with each --flagfile replaced by its lines.

    absl would look for an included file from the working directory; here it is also looked for beside the file that
    includes it, so that flags/q2.1.flags works from anywhere.
    """
    expanded = []
    budget = [MOST_ARGUMENTS] if budget is None else budget  # what is left for all files together
    pending = iter(arguments)
    for argument in pending:
        budget[0] -= 1
        if budget[0] < 0 or len(argument) > LONGEST_ARGUMENT:
            what = f"a flag of {len(argument)} characters" if budget[0] >= 0 else f"more than {MOST_ARGUMENTS} flags"
            where = f"the flagfile {including[-1]} has" if including else "there is"
            raise InputError(f"{where} {what}, files that it includes counted too; that is no description of a run")
        name, equals, value = argument.partition("=")
        if name.startswith("-") and len(name) > LONGEST_FLAG:  # absl would look for what it resembles, for very long
            raise InputError(f"unknown flag {name[:LONGEST_FLAG]!r}...; --help lists those that there are")
        if name not in ("--flagfile", "-flagfile"):
            bare = name.lstrip("-")
            expanded.append(f"--{ALIASES[bare]}{equals}{value}" if name.startswith("-") and bare in ALIASES else argument)
            continue
        if not equals:
            value = next(pending, "")
        if not value:
            raise InputError("--flagfile needs a file, as in --flagfile=flags/q1.flags")
        path = os.path.expanduser(value)
        if including and not os.path.exists(path):
            path = os.path.join(os.path.dirname(os.path.dirname(including[-1])), value)
        path = os.path.abspath(path)
        if path in including or len(including) > DEEPEST_FLAGFILE:
            raise InputError(f"the flagfile {value} includes itself, or far too many others")
        try:
            text = read_text(Path(path), LARGEST_FLAGFILE)
        except OSError as error:
            raise InputError(f"cannot read the flagfile {value[:200]}: {error.strerror}") from None
        except ValueError:  # a null byte
            raise InputError(f"cannot read the flagfile {value[:200]!r}: that is no path") from None
        if "\ufffd" in text or "\0" in text:
            raise InputError(f"the flagfile {value} is not text")
        lines = [line.strip() for line in text.split("\n")]
        given = [line for line in lines if line and not line.startswith(("#", "//"))]
        wrong = next((line for line in given if not line.startswith("-")), None)
        if wrong is not None:
            raise InputError(f"the flagfile {value} has the line {wrong[:60]!r}; expected --flag=value")
        expanded += _with_flagfiles(given, (*including, path), budget)
    return expanded


def help_text() -> str:
    """The flags, one a line, with their defaults."""
    lines = [
        "tfinvert: see what a convolutional network keeps of a picture.",
        "",
        "  python run_experiments.py --image=photo.jpg --layers=conv3_1",
        "  python run_experiments.py --flagfile=flags/q2.1.flags",
        "",
        "flags (a flagfile holds one a line):",
    ]
    lines += [_help_line(field) for field in dataclasses.fields(Config)]
    for names, fields in other_settings():
        lines += ["", f"of --experiment={names}, beside --{', --'.join(f.name for f in dataclasses.fields(RunConfig))}:"]
        lines += [_help_line(field) for field in fields]
    return "\n".join(lines)


def _help_line(field: dataclasses.Field) -> str:
    default = "" if field.default in (None, False) else flag_text(field.name, field.default)
    return f"  --{field.name}: {HELP[field.name]}{f' (default: {default})' if default else ''}"


def other_settings() -> list[tuple[str, list[dataclasses.Field]]]:
    """(experiments, settings) of those that are no inversions: what they have beside RunConfig, or with other defaults."""
    common = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    return [
        (
            ", ".join(name for name, one in CONFIGS.items() if one is kind),
            [
                field
                for field in dataclasses.fields(kind)
                if field.name != "experiment" and (field.name not in common or field.default != common[field.name])
            ],
        )
        for kind in dict.fromkeys(CONFIGS.values())
        if kind is not Config
    ]


def execute(arguments: Sequence[str]) -> int:
    """Runs the experiment of a command line; gives the exit code. Raises InputError, NonFiniteLossError or Interrupted."""
    config = parse(arguments)
    if isinstance(config, (SaliencyConfig, FoolConfig, ClassVisConfig)):
        _classify(config)
        return 0
    if isinstance(config, StyleConfig):
        _style(config)
        return 0
    if isinstance(config, DecoderConfig):
        _train_decoder(config)
        return 0
    if isinstance(config, DecodeConfig):
        _decode(config)
        return 0
    if isinstance(config, CompareDecodersConfig):
        _compare_decoders(config)
        return 0
    assert isinstance(config, Config)
    if config.experiment == "diff":
        from tfinvert.experiments import diff

        diff.run(_baseline(), asked_questions(arguments))
    elif config.experiment == "suite":
        from tfinvert.experiments import suite

        return suite.run(config, _baseline(), asked_questions(arguments))
    elif config.experiment == "report":
        from tfinvert.experiments import report

        report.run(config)
    elif config.experiment == "sweep":
        from tfinvert.experiments import sweep

        return sweep.run(config)
    elif config.experiment == "layers":
        from tfinvert.experiments import layers
        from tfinvert.networks.conversion import convert

        with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
            layers.run(config, conversion)
    elif config.experiment == "compare":
        from tfinvert.networks.conversion import convert

        with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
            from tfinvert.experiments import compare

            compare.run(config, conversion)
    else:
        _invert(config)
    return 0


def _invert(config: Config) -> None:
    from tfinvert.images import files as images
    from tfinvert.networks.conversion import convert
    from tfinvert.runs.directory import RunDirectory

    runs = [(one, RunDirectory(one.run_folder())) for one in config.each()]
    for one, run_dir in runs:
        run_dir.check(flagfile(one), resume=one.resume, overwrite=one.overwrite)
    errors: dict[str, NonFiniteLossError | interruption.Interrupted] = {}
    left = [(one, run_dir) for one, run_dir in runs if not (one.resume and run_dir.is_finished(flagfile(one)))]
    for one, _ in left:
        images.check(one.image)
    if config.init not in STARTS:
        images.check(config.init)
    if left:
        with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
            # While the network is being converted. A deep image prior is a network that is optimized.
            _import_tensorflow(fixed_weights=config.parameterization != "deep_prior")
            from tfinvert.experiments import invert

            found = invert.run_together([invert.Job(one, run_dir) for one, run_dir in left], conversion)
            errors = {one.image: outcome.error for (one, _), (_, outcome) in zip(left, found, strict=True) if outcome.error}
    for one, run_dir in runs:
        if one.image not in errors:
            print(f"{Path(one.image).stem}: {run_dir.summary()}" if config.pictures else run_dir.summary())
    for number, (image, error) in enumerate(errors.items(), start=1):
        if config.pictures and isinstance(error, NonFiniteLossError):
            error = NonFiniteLossError(error.step, error.loss, Path(image).stem)
            if number < len(errors):  # the last ends the program
                logging.getLogger("tfinvert").error(error)
                continue
        raise error


def _classify(config: SaliencyConfig | FoolConfig | ClassVisConfig) -> None:
    """The experiments with the class scores of a network."""
    from tfinvert.networks import imagenet
    from tfinvert.networks.conversion import convert

    several = config.pictures if isinstance(config, SaliencyConfig) else ()
    if isinstance(config, ClassVisConfig):
        run_dir = _checked_run(config, (), config.resume)
        if config.resume and run_dir.is_finished(flagfile(config)):
            _print_result(run_dir)
            return
    else:
        run_dir = _checked_run(config, several or (config.image,))
    for name in config.classes:
        imagenet.find(name)
    with convert.Conversion(convert.request_for(config, config.needed_layers())) as conversion:
        _import_tensorflow(fixed_weights=True)
        from tfinvert.experiments import class_vis, fool, saliency

        if isinstance(config, SaliencyConfig):
            saliency.run(config, conversion, run_dir)
        elif isinstance(config, FoolConfig):
            fool.run(config, conversion, run_dir)
        else:
            class_vis.run(config, conversion, run_dir)
    _print_result(run_dir)


def _style(config: StyleConfig) -> None:
    starts = ("content", "uniform", *STARTS)
    run_dir = _checked_run(config, (config.image, *config.style_images, *({config.init} - set(starts))), config.resume)
    if config.resume and run_dir.is_finished(flagfile(config)):
        _print_result(run_dir)
        return
    from tfinvert.networks.scales import scales

    with contextlib.ExitStack() as stack:
        prepared = scales(config, stack)
        _import_tensorflow(fixed_weights=True)
        from tfinvert.experiments import style

        style.run(config, prepared, run_dir)
    _print_result(run_dir)


def _train_decoder(config: DecoderConfig) -> None:
    from tfinvert.decoders import data as pictures
    from tfinvert.networks.conversion import convert
    from tfinvert.runs.directory import RunDirectory

    run_dir = RunDirectory(config.run_folder())
    writes = pictures.Share.told().is_chief  # the other workers find here what the first has begun
    if writes:
        run_dir.check(flagfile(config), resume=config.resume, overwrite=config.overwrite)
    if config.resume and run_dir.flags.exists() and run_dir.is_finished(flagfile(config)):
        _print_result(run_dir)
        return
    data = config.data
    if data == pictures.TINY_IMAGENET and not os.path.exists(data):
        data = str(pictures.tiny_imagenet(convert.cache_folder() / "data"))
    split = pictures.find(data, class_count=config.class_count, held_out=config.held_out, seed=config.seed)
    with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
        _import_tensorflow()
        from tfinvert.experiments import train_decoder

        train_decoder.run(config, conversion, run_dir, split)
    if writes:
        _print_result(run_dir)


def _decode(config: DecodeConfig) -> None:
    from tfinvert.decoders import model as decoders
    from tfinvert.networks.conversion import convert

    run_dir = _checked_run(config, (config.image,))
    request = convert.request_for(config, config.layers)
    decoders.encoder_of(config.decoder).refuse_request(config, request, config.decoder)
    with convert.Conversion(request) as conversion:
        _import_tensorflow()
        from tfinvert.experiments import decode

        decode.run(config, conversion, run_dir)
    _print_result(run_dir)


def _compare_decoders(config: CompareDecodersConfig) -> None:
    from tfinvert.decoders import model as decoders
    from tfinvert.networks.conversion import convert

    run_dir = _checked_run(config, config.pictures or (config.image,))
    for source, layer in zip(config.decoders, config.layers, strict=True):
        decoders.encoder_of(source).refuse_request(config, convert.request_for(config, (layer,)), source)
    _import_tensorflow()
    from tfinvert.experiments import compare_decoders

    compare_decoders.run(config, run_dir)
    print(f"{run_dir.table.read_text(encoding='utf-8')}table: {run_dir.table}\npictures: {run_dir.sheet}, {run_dir.images}")


def _checked_run(config: RunConfig, pictures: Sequence[str], resume: bool = False) -> RunDirectory:
    """The run directory of an experiment and its pictures, found usable."""
    from tfinvert.images import files as images
    from tfinvert.runs.directory import RunDirectory

    run_dir = RunDirectory(config.run_folder())
    run_dir.check(flagfile(config), resume=resume, overwrite=config.overwrite)
    for picture in pictures:
        images.check(picture)
    return run_dir


def _print_result(run_dir: RunDirectory) -> None:
    info = run_dir.read_info()
    for name, value in info.get("result", {}).items():
        for one in value if isinstance(value, list) else [value]:
            text = ", ".join(f"{k} {_short(v)}" for k, v in one.items()) if isinstance(one, dict) else _short(one)
            print(f"{name.replace('_', ' ')}: {text}")
    print(f"weights: {info.get('weights')}\npictures: {run_dir.sheet}, {run_dir.images}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _import_tensorflow(fixed_weights: bool = False) -> None:
    """Imports TensorFlow without what its C++ says on standard error where there is no GPU, unless the import fails.

    Args:
      fixed_weights: the process has no convolution whose weights change.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet.standard_error_held_back():
        import tensorflow as tf

        tf.config.list_physical_devices()  # says most of it
    if fixed_weights:
        from tfinvert.optimization import precision

        precision.pack_weights_once()


def main(arguments: Sequence[str]) -> int:
    """The program; returns its exit code.

    0; 1 where the loss diverged, a run of several failed or a file could not be written; 2 for a mistake of the user's;
    128 + the number of the signal that ended it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("tfinvert: %(message)s"))
    log = logging.getLogger("tfinvert")
    log.setLevel(logging.INFO)
    log.handlers = [handler]
    log.propagate = False
    try:
        with interruption.raising():
            if os.environ.pop(series.STOP_AT_EOF, None):
                threading.Thread(target=_stop_at_eof, daemon=True).start()
            if any(argument in HELP_FLAGS for argument in arguments[1:]):
                print(help_text())
                return 0
            return execute(arguments)
    except InputError as error:
        return _fail(str(error), 2)
    except NonFiniteLossError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # of a reader such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", 1)
    except interruption.Interrupted as interrupted:
        return _fail(f"ended by {interrupted}; --resume goes on", 128 + interrupted.number)


def _stop_at_eof() -> None:
    """Ends a run of a series with a checkpoint when the process that started it is gone or wants it to end."""
    while os.read(0, 1024):  # not sys.stdin, whose lock a thread must not hold when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


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
