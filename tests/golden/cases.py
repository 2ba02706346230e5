"""The command lines whose results are recorded, as small as they can be.

Every case runs with `--weights=random`, so that none needs a download. `{pictures}` stands for a folder of two small
pictures, `{data}` for one in the layout of Tiny ImageNet, `{shared}` for the folder of real weights, and `{NAME}` for what
the case of that name has left.
"""

from __future__ import annotations

import dataclasses
import re

SMALL = "--size=32 --steps=8 --save_every=2"
# The results were recorded of images that were squashed, before --resize.
RES = f"--model=resnet18 --layers=res1 --image=chelsea --resize=squash {SMALL}"
SAID = "--image={pictures}/first.png"
SQUASHED = f"{SAID} --resize=squash"
STYLE = f"{SAID} --side=48 --style_side=48 --steps=6 --save_every=2"
DECODER = "--epochs=1 --epoch_pictures=32 --size=64 --width=8"


@dataclasses.dataclass(frozen=True)
class Case:
    """A command line and what it needs.

    Attributes:
      name: of the case.
      flags: the command line, without the flags that all cases share.
      printed: whether the result is what it prints, and there is no run directory.
      quick: whether the tests run it, several of them in one process.
    """

    name: str
    flags: str
    printed: bool = False
    quick: bool = False

    @property
    def after(self) -> tuple[str, ...]:
        """The cases that must have run before this one."""
        return tuple(name for name in re.findall(r"\{([^}]+)\}", self.flags) if name not in ("pictures", "data", "shared"))

    @property
    def needs_shared(self) -> bool:
        """Whether the case needs ../shared/data, and is left out without it."""
        return "{shared}" in self.flags

    @property
    def needs_torch(self) -> bool:
        """Whether the case needs PyTorch, and is left out without it."""
        return "--experiment=compare " in self.flags


def _flagfile(name: str, flags: str, quick: bool = False) -> Case:
    return Case(name, f"--flagfile=flags/{name}.flags {flags}", quick=quick)


FLAGFILES = [
    # Trained first, because other cases wait for it.
    _flagfile("decoder", DECODER),
    *(_flagfile(name, SMALL) for name in ("baseline", "q1", "q1-cosine", "q3.1", "q3.2", "q4", "q4-middle1", "quickstart")),
    # fc6 takes 7x7 places of pool5, so that the picture has to have its usual size.
    _flagfile("q3.3", "--steps=2 --save_every=1"),
    _flagfile("auto", f"{SMALL} --model=resnet18 --layers=res3 --steps=12"),
    # Diverges at a smaller size: its weights are for the sum over a usual picture.
    _flagfile("mv2015", "--model=resnet18 --layers=res2 --size=160 --steps=6 --save_every=2"),
    _flagfile("mv2016", f"{SMALL} --model=resnet18 --layers=res2"),
    _flagfile("class-vis", "--size=64 --steps=6 --save_every=2 --blur_every=2 --classes=tarantula,oboe"),
    _flagfile("class-vis-fourier", "--size=64 --steps=6 --save_every=2 --classes=tarantula,oboe"),
    _flagfile("fool", "--size=64 --steps=6 --resize=squash"),
    _flagfile("fool-pgd", "--size=64 --steps=6 --resize=squash"),
    _flagfile("saliency", "--resize=squash --pictures=chelsea,coffee --size=64 --samples=4 --integration_parts=8"),
    _flagfile("feature-inversion", STYLE),
    *(
        _flagfile(name, f"{STYLE} --style_images={{pictures}}/second.png")
        for name in ("style-composition", "style-scream", "style-starry", "texture")
    ),
    _flagfile("decoder-published", "--data={data} --class_count=2 --epochs=1 --epoch_pictures=32 --size=64 --batch_size=8"),
    # Not that of conv2: TensorFlow has no gradient of its convolution in groups on a processor.
    _flagfile("decoder-compare", "--decoders={decoder-resize} --steps=10 --resize=squash"),
]
# Those of question 2 are in the suite: it runs each of their flagfiles.
OTHERS = [
    Case("suite-q2", "--experiment=suite --questions=q2 --size=32 --steps=6 --save_every=2"),
    Case("sweep-layers", "--experiment=sweep --model=squeezenet1.1 --layers=fire2,pool3 --size=64 --steps=6 --save_every=2"),
    Case(
        "sweep-folder",
        f"--experiment=sweep --model=resnet18 --layers=res1 --images={{pictures}} --batch=2 --resize=squash {SMALL}",
    ),
    Case("pictures", f"--model=resnet18 --layers=res1 --pictures={{pictures}}/first.png,chelsea --resize=squash {SMALL}"),
    Case("seeds", f"{RES} --seeds=2 --init=noise"),
    Case("two-layers", f"{RES} --layers=res1,middle1 --layer_weights=1,0.5 --pool=max --init={{pictures}}/second.png"),
    Case("bfloat16", f"{RES} --precision=bfloat16 --steps=12"),
    Case(
        "free-constant-sgd",
        f"{RES} --parameterization=free --schedule=constant --optimizer=sgd --learning_rate=0.5 --tv_kind=l2 --tv_weight=0.5",
        quick=True,
    ),
    Case(
        "clip-exponential-adam",
        f"{RES} --parameterization=clip --schedule=exponential --decay_steps=4 --learning_rate=0.05 --tv_kind=beta "
        "--tv_beta=1.5",
        quick=True,
    ),
    Case(
        "bounded-piecewise-mv2016",
        f"{RES} --parameterization=bounded --schedule=piecewise --decay_boundaries=3,6 --decay_factors=0.5,0.1 "
        "--optimizer=mv2016 --learning_rate=0.5 --tv_weight=0.1 --tv_reduction=sum",
        quick=True,
    ),
    Case(
        "sigmoid-cosine-backoff",
        f"{RES} --parameterization=sigmoid --schedule=cosine --final_fraction=0.1 --learning_rate=3 --backoff "
        "--alpha_weight=0.5 --alpha_kind=pixels",
        quick=True,
    ),
    Case(
        "pyramid-warmup-mse",
        f"{RES} --parameterization=pyramid --pyramid_levels=1 --schedule=warmup_cosine --warmup_steps=3 --learning_rate=0.1 "
        "--feature_loss=mse",
        quick=True,
    ),
    Case(
        "pyramid-sgd-reset",
        f"{RES} --parameterization=pyramid --optimizer=sgd --momentum_reset --schedule=piecewise --decay_boundaries=4 "
        "--decay_factors=0.1 --learning_rate=0.5",
    ),
    Case("sigmoid-pyramid-lbfgs", f"{RES} --parameterization=sigmoid_pyramid --optimizer=lbfgs"),
    Case("fourier-jitter", f"{RES} --parameterization=fourier --jitter=4 --jitter_steps=5 --regularizer_final=0.1", quick=True),
    Case("deep-prior", f"{RES} --parameterization=deep_prior --learning_rate=0.01"),
    Case(
        "compare",
        "--experiment=compare --model=resnet18 --layers=res1 --image=chelsea --resize=squash --size=32 --steps=8 "
        "--torch_variants=eager",
    ),
    Case("fool-fgsm", f"--experiment=fool {SQUASHED} --attack=fgsm --classes=stingray --size=64"),
    Case("channels", "--experiment=class_vis --layers=fire3 --channels=2,5 --neuron --size=64 --steps=4 --save_every=2"),
    Case(
        "style-scales",
        f"--experiment=style {STYLE} --style_images={{pictures}}/second.png,chelsea --style_image_weights=2,1 --scales=2 "
        "--steps=4 --keep_colour --optimizer=lbfgs",
    ),
    Case(
        "decoder-resize",
        "--experiment=train_decoder --layers=conv1 --upsampling=resize --picture_loss=l1 --feature_weight=0.1 --noaugment "
        f"{DECODER}",
    ),
    Case("decode", "--experiment=decode --decoder={decoder} --image=chelsea --resize=squash"),
    Case("layers", "--experiment=layers --model=squeezenet1.1 --size=64", printed=True),
    Case("diff", "--experiment=diff", printed=True),
    Case(
        "onnx",
        "--onnx={shared}/models/resnet18-torchvision-trunk.onnx --layers=res2 --image=chelsea --resize=squash " + SMALL,
    ),
    Case(
        "saliency-onnx",
        "--experiment=saliency --onnx={shared}/models/squeezenet1.1-gluon.onnx --image=chelsea --resize=squash --size=64 "
        "--samples=4 --integration_parts=8",
    ),
]
CASES = {case.name: case for case in (*FLAGFILES, *OTHERS)}
