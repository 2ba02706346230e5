"""The papers' constants, and what the presets choose by depth."""

import pytest

from tfinvert.networks.layer import Layer
from tfinvert.optimization.presets import chosen, resolve
from tfinvert.optimization.schedules import build_schedule
from tfinvert.settings.inversion import InversionSettings


def layer(stride, field):
    whole = stride is None
    return Layer("x", "x", (4,), None if whole else (stride, stride), None if whole else (field, field), 0.0)


def resolved(name, *layers, **settings):
    names = tuple(map(str, range(len(layers))))
    given = InversionSettings(**InversionSettings.complete({"preset": name, "layers": names, **settings}))
    return resolve(given, dict(zip(names, layers, strict=True)), (224, 224))


CONV2, CONV4, CONV5, POOL5, FC6 = layer(8, 51), layer(16, 131), layer(16, 163), layer(32, 195), layer(None, None)
TOKENS = Layer("x", "x", (197, 8), (16, 16), None, 0.0)  # of a transformer: each sees the whole image


@pytest.mark.parametrize(("one", "weight"), [(CONV2, 1), (CONV4, 10), (CONV5, 100), (FC6, 100)])
def test_the_energy_of_2015(one, weight):
    """[(la/2) sum x^6 + (ltv/2) sum TV]/sigma^2 with la 8e-10 and x in grey levels around the mean."""
    config = resolved("mv2015", one)
    sigma, x = 27098.1157, 50.0  # one pixel, 50 grey levels from the mean; a difference of 50 grey levels
    assert config.alpha_weight * (x / 255) ** 6 == pytest.approx(8e-10 / 2 * x**6 / sigma**2)
    assert config.tv_weight * (x / 255) ** 2 == pytest.approx(weight / 2 * x**2 / sigma**2)
    assert (config.alpha, config.alpha_kind, config.alpha_reduction) == (6, "values", "sum")
    assert (config.tv_kind, config.tv_reduction, config.feature_loss) == ("l2", "sum", "normalized")


def test_the_update_of_2015():
    """m <- 0.9 m - 0.004 sigma^2 g in grey levels; 100 steps, 200 at a tenth, 100 at a hundredth; no jitter."""
    config = resolved("mv2015", CONV2)
    assert config.learning_rate * 255**2 == pytest.approx(0.004 * 27098.1157**2)
    assert (config.optimizer, config.momentum, config.momentum_reset) == ("sgd", 0.9, True)
    assert (config.steps, config.decay_boundaries, config.decay_factors) == (400, (100, 300), (0.1, 0.01))
    assert (config.parameterization, config.jitter) == ("free", 1)


@pytest.mark.parametrize(
    ("one", "weight", "jitter"),
    [
        (layer(4, 11), 300, 1),
        (layer(16, 99), 300, 4),
        (layer(8, 92), 300, 2),  # VGG-16's conv4_3
        (CONV4, 100, 4),
        (layer(16, 132), 100, 4),  # VGG-16's conv5_1
        (CONV5, 20, 4),
        (layer(16, 196), 20, 4),  # VGG-16's conv5_3
        (POOL5, 1, 8),
        (FC6, 1, 16),
    ],
)
def test_the_weights_and_jitter_of_2016(one, weight, jitter):
    config = resolved("mv2016", one)
    assert config.layer_weights == (weight,)
    assert (config.jitter, config.jitter_steps, config.steps) == (jitter, 300, 350)


def test_the_regularizers_and_rate_of_2016():
    """(1/HW) sum ||x||^6 / B^6 and (1/HW) (6.5/B)^2 sum TV, B = 80; rate HW 0.05 B^2 / 6, in grey levels."""
    config = resolved("mv2016", CONV2)
    values, x = 3 * 224**2, 50.0
    assert config.alpha_weight * (x / 255) ** 6 / values == pytest.approx((x / 80) ** 6 / 224**2)
    assert config.tv_weight * (x / 255) ** 2 / values == pytest.approx((6.5 / 80) ** 2 * x**2 / 224**2)
    assert config.learning_rate * 255**2 == pytest.approx(224**2 * 0.05 * 80**2 / 6)
    assert (config.alpha_kind, config.parameterization, config.decay_boundaries) == ("pixels", "bounded", (300,))


@pytest.mark.parametrize(
    ("layers", "levels", "rate", "steps", "regularizers"),
    [
        ([layer(4, 24)], 2, 0.1, 400, (1, 0, 0.01)),
        ([layer(2, 12)], 1, 0.1, 200, (1, 0, 0.01)),
        ([CONV2], 6, 0.1, 400, (1, 10, 0.01)),
        ([CONV5], 6, 0.05, 400, (1, 10, 0.01)),
        ([POOL5], 6, 0.03, 400, (10, 70, 0.01)),
        ([FC6], 6, 0.03, 400, (10, 1e5, 0.01)),
        ([layer(4, 24), FC6], 2, 0.1, 400, (1, 0, 0.01)),
        ([TOKENS], 6, 0.05, 400, (1, 10, 0.01)),
    ],
)
def test_auto_goes_by_the_stride_of_the_shallowest_layer(layers, levels, rate, steps, regularizers):
    config = resolved("auto", *layers)
    assert config.parameterization == ("sigmoid_pyramid" if levels == 6 else "pyramid")
    assert (config.tv_weight, config.alpha_weight, config.regularizer_final) == regularizers
    assert (config.pyramid_levels, config.learning_rate, config.jitter, config.backoff) == (levels, rate, 1, True)
    assert config.steps == steps
    assert config.schedule == ("cosine" if levels < 6 else "piecewise")


def test_auto_takes_plain_pixels_where_the_features_say_everything():
    config = resolved("auto", layer(1, 3))
    assert (config.parameterization, config.tv_weight, config.learning_rate, config.steps) == ("clip", 0, 0.1, 400)
    assert (config.pyramid_levels, config.alpha_weight, config.jitter, config.backoff) == (0, 0, 1, True)
    assert config.regularizer_final == 1  # there is nothing that could fall
    assert resolved("auto", layer(1, 3), tv_weight=0.1).tv_weight == 0.1


def test_auto_holds_the_rate_for_three_quarters_of_the_steps():
    config = resolved("auto", CONV5, steps=200)
    rates = [float(build_schedule(config)(step)) for step in (0, 149, 150, 179, 180, 199)]
    assert rates == pytest.approx([0.05, 0.05, 0.015, 0.015, 0.005, 0.005])
    assert resolved("auto", CONV5, steps=1).schedule == "cosine"
    assert resolved("auto", CONV5, schedule="constant").schedule == "constant"
    assert resolved("auto", CONV5, learning_rate=0.1).schedule == "cosine"


def test_a_run_of_few_steps_at_a_stride_of_4_holds_its_rate_at_first():
    usual, fewer, few, more = (resolved("auto", layer(4, 24), steps=steps) for steps in (400, 40, 100, 150))
    assert (few.tv_weight, few.learning_rate) == (usual.tv_weight, usual.learning_rate)
    assert few.regularizer_final == pytest.approx(usual.regularizer_final**0.5)  # they fall less far
    rates = [float(build_schedule(few)(step)) for step in (0, 49, 50, 66, 67, 82, 83, 99)]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.01, 0.01])
    assert fewer.decay_boundaries == (30, 33, 37)  # three quarters of its steps, and thirds of the rest
    assert (more.schedule, more.regularizer_final) == (usual.schedule, usual.regularizer_final)
    deeper, given = resolved("auto", CONV5, steps=100), resolved("auto", layer(4, 24), steps=100, learning_rate=0.1)
    assert deeper.regularizer_final == usual.regularizer_final
    assert (given.schedule, given.regularizer_final) == ("cosine", 1)  # as in the homework


def test_adam_forgets_faster_where_its_rate_is_chosen():
    assert [resolved("auto", one).beta_2 for one in (layer(1, 3), CONV2, CONV5, FC6)] == [0.9, 0.9, 0.95, 0.95]
    assert resolved("auto", CONV5, learning_rate=1e-3).beta_2 == 0.999  # the homework's
    assert resolved("auto", CONV5, beta_2=0.5).beta_2 == resolved("auto", FC6, learning_rate=1e-3, beta_2=0.5).beta_2 == 0.5
    assert resolved("mv2016", CONV5).beta_2 == 0.999


def test_what_the_user_sets_stays():
    config = resolved("mv2016", CONV5, learning_rate=3.0, jitter=2, steps=7)
    assert (config.learning_rate, config.jitter, config.steps) == (3.0, 2, 7)
    own = resolved("auto", CONV5, pyramid_levels=1, learning_rate=0.5)
    assert (own.pyramid_levels, own.learning_rate, own.backoff) == (1, 0.5, False)
    assert resolved("auto", FC6, alpha_weight=3.0).alpha_weight == 3
    assert resolved("auto", FC6, tv_weight=0.3).tv_weight == 0.3
    for given in ({"alpha_weight": 3.0}, {"tv_weight": 0.3}, {"schedule": "cosine"}, {"regularizer_final": 1.0}, {"steps": 5}):
        for one in (CONV2, CONV5, layer(4, 24)):
            assert resolved("auto", one, **given).regularizer_final == 1
    assert resolved("auto", CONV5, schedule="constant").tv_weight == 0.1  # what it is in the middle of a run where it falls
    assert resolved("auto", CONV5, regularizer_final=0.5).regularizer_final == 0.5
    assert resolved("mv2016", CONV5, regularizer_final=0.5).regularizer_final == 0.5
    homework = resolved("auto", FC6, learning_rate=1e-3, tv_weight=1.0)
    assert (homework.tv_weight, homework.alpha_weight, homework.regularizer_final) == (1, 0, 1)
    assert resolved("auto", FC6, learning_rate=1e-3).tv_weight == 0.1


@pytest.mark.parametrize("depth", [CONV2, CONV5, FC6])
def test_a_weight_of_0_turns_the_alpha_norm_off_and_leaves_the_rest(depth):
    without, usual = resolved("auto", depth, alpha_weight=0), resolved("auto", depth)
    assert without.alpha_weight == 0
    assert usual.alpha_weight > 0
    names = ("tv_weight", "regularizer_final", "learning_rate", "schedule", "steps")
    assert [getattr(without, name) for name in names] == [getattr(usual, name) for name in names]


def test_nothing_is_left_open():
    for name in ("auto", "mv2015", "mv2016"):
        settings = resolved(name, CONV5)
        names = ("steps", "learning_rate", "schedule", "tv_weight", "alpha_weight", "regularizer_final")
        more = ("jitter", "parameterization", "pyramid_levels")
        assert None not in [getattr(settings, name) for name in (*names, *more)]


def test_what_was_chosen_is_listed():
    given = InversionSettings(layers=("a",), steps=7)
    names = chosen(given, resolve(given, {"a": CONV5}, (224, 224)))
    assert "steps" not in names
    assert names["pyramid_levels"] == 6
