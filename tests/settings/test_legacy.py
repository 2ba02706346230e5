"""The run.flags of version 0.1, as it wrote them."""

import pytest

from tfinvert.settings.legacy import modernized


def flags(text):
    """A run.flags: one flag a line."""
    return "".join(f"--{flag}\n" for flag in text.split())


INVERT = """experiment=invert model=vgg16-bn weights=auto image=astronaut pool=avg seed=12345 preset=auto layers=conv3_1
    layer_weights= steps=0 optimizer=adam learning_rate=0.0 epsilon=1e-08 momentum=0.9 momentum_reset=false schedule=auto
    decay_rate=0.1 decay_steps=0 decay_boundaries= decay_factors= warmup_steps=0 final_fraction=0.0 feature_loss=normalized
    tv_weight=-1.0 tv_kind=l1 tv_reduction=mean tv_beta=2.0 alpha_weight=0.0 alpha=6.0 alpha_kind=values alpha_reduction=mean
    regularizer_final=-1.0 jitter=0 jitter_steps=0 backoff=false parameterization=auto pyramid_levels=-1 init=grey seeds=1
    pictures= save_every=10 precision=float32 tensorboard=false"""
NOT_GIVEN = """steps=0 learning_rate=0.0 decay_steps=0 warmup_steps=0 tv_weight=-1.0 alpha_weight=0.0
    regularizer_final=-1.0 jitter=0 jitter_steps=0 pyramid_levels=-1 schedule=auto parameterization=auto"""
CLASS_VIS = """experiment=class_vis model=squeezenet1.1 weights=auto image=astronaut pool=max seed=12345 recipe=course
    classes=tarantula,oboe layers= channels= neuron=false steps=100 learning_rate=0.0 l2_weight=0.001 jitter=17 blur_every=0
    blur_deviation=0.5 save_every=10"""
STYLE = """experiment=style model=squeezenet1.1 weights=auto image=astronaut pool=max seed=12345 style_images=a.png
    style_image_weights= side=192 style_side=192 layers=features.3 content_weight=0.0 style_layers=features.1,features.4
    style_weights=300000.0,0.0 tv_weight=0.0 keep_colour=true scales=1 init=content steps=200 optimizer=adam learning_rate=3.0
    epsilon=1e-08 decay_boundaries=180 decay_factors=0.03333333333333333 save_every=20"""
DECODER = """experiment=train_decoder model=alexnet weights=auto image=astronaut pool=max seed=12345 layers=conv2 data=samples
    class_count=20 held_out=0.1 augment=true cache_features=false upsampling=transposed width=32 picture_loss=mse
    feature_weight=0.0 epochs=20 epoch_pictures=0 batch_size=16 learning_rate=0.001 halve_every=0 beta_1=0.9 beta_2=0.99
    weight_decay=0.0 patience=0 precision=float32 tensorboard=false"""
COMPARE_DECODERS = """experiment=compare_decoders model=vgg16-bn weights=auto image=astronaut pool=avg seed=12345
    decoders=d.keras layers=conv2 pictures= steps=300 learning_rate=0.0 tv_weight=-1.0 fewer_steps=5 warm_rate=0.6"""


def without(text, names):
    return flags(" ".join(flag for flag in text.split() if flag not in names.split()))


@pytest.mark.parametrize("experiment", ["invert", "layers", "suite", "diff", "report", "sweep", "compare"])
def test_numbers_that_stood_for_not_given_are_left_out_of_inversions(experiment):
    text = INVERT.replace("experiment=invert", f"experiment={experiment}")
    added = "--resize=squash\n" if experiment in ("invert", "compare") else ""
    added += "--beta_2=0.999\n" if experiment in ("invert", "sweep", "compare") else ""
    assert modernized(flags(text)) == without(text, NOT_GIVEN) + added


def test_numbers_that_were_given_stay():
    given = INVERT.replace("tv_weight=-1.0", "tv_weight=0.0").replace(" steps=0", " steps=10").replace("jitter=0", "jitter=1")
    kept = without(given, NOT_GIVEN) + "--resize=squash\n--beta_2=0.999\n"
    assert modernized(flags(given)) == kept
    assert "--tv_weight=0.0\n" in kept
    assert "--steps=10\n" in kept


@pytest.mark.parametrize(("preset", "zero"), [("mv2015", "alpha_weight=0.0"), ("mv2016", "jitter_steps=0")])
def test_a_zero_in_the_place_of_a_preset_s_number_is_the_user_s(preset, zero):
    text = INVERT.replace("preset=auto", f"preset={preset}")
    assert f"--{zero}\n" in modernized(flags(text))
    assert "--pyramid_levels" not in modernized(flags(text))


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        (CLASS_VIS, "learning_rate=0.0 image=astronaut"),
        (COMPARE_DECODERS, "learning_rate=0.0 tv_weight=-1.0"),
        (DECODER, "epoch_pictures=0 class_count=20 image=astronaut"),
    ],
)
def test_other_experiments_have_fewer_of_them(text, left_out):
    squashed = "--resize=squash\n" if text == COMPARE_DECODERS else ""
    assert modernized(flags(text)) == without(text, left_out) + squashed


def test_in_style_every_number_is_meant_and_a_flag_has_its_new_name():
    assert modernized(flags(STYLE)) == flags(STYLE.replace("keep_colour", "keep_color"))


def test_the_text_of_a_newer_version_stays():
    text = "# tfinvert 0.2\n--experiment=invert\n--resize=crop\n--alpha_weight=0.0\n--jitter=0\n"
    assert modernized(text) == text
    # Before there was the flag, images were squashed.
    assert modernized(text.replace("--resize=crop\n", "")) == text.replace("--resize=crop\n", "") + "--resize=squash\n"


def test_paths_and_comments_stay_as_they_are():
    text = "--experiment=invert\n--image=/a b/keep_colour=1\u2028.png\n# a comment\n\n--steps=0"
    assert modernized(text) == text.removesuffix("\n--steps=0") + "--resize=squash\n--beta_2=0.999\n"


def test_a_text_that_was_modernized_stays():
    once = modernized(flags(INVERT))
    assert modernized(once) == once
