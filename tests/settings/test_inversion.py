"""The settings of an inversion: what goes together, and what a preset adds."""

import pytest

from tfinvert.settings.inversion import InversionSettings
from tfinvert.settings.presets import PRESETS
from tfinvert.system.errors import InputError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ()}, "--layers is empty"),
        ({"layers": ("conv1_1", "conv1_1")}, "names a layer twice"),
        ({"layer_weights": (1.0, 2.0)}, "2 numbers for 1 layers"),
        ({"layer_weights": (0.0,)}, "all 0"),
        ({"term_weights": (1.0,)}, "1 numbers for 0 terms"),
        ({"schedule": "piecewise"}, "--decay_boundaries"),
        ({"schedule": "piecewise", "decay_boundaries": (5, 3), "decay_factors": (1.0, 1.0)}, "rising"),
        ({"schedule": "piecewise", "decay_boundaries": (5,), "decay_factors": ()}, "0 numbers for 1"),
        ({"schedule": "warmup_cosine"}, "--warmup_steps is None"),
        ({"schedule": "warmup_cosine", "warmup_steps": 9, "steps": 9}, "expects 1 to 8 of 9 steps"),
        ({"seeds": 2, "optimizer": "lbfgs"}, "one image at a time"),
        ({"momentum": 1.0}, "--momentum is 1.0"),
    ],
)
def test_what_does_not_go_together_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        InversionSettings(**settings)


def test_nothing_that_is_chosen_later_has_a_value():
    settings = InversionSettings()
    names = ("steps", "learning_rate", "schedule", "tv_weight", "alpha_weight", "regularizer_final", "jitter", "pyramid_levels")
    assert [getattr(settings, name) for name in names] == [None] * len(names)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_adds_what_is_not_given(name):
    values = InversionSettings.complete({"preset": name, "steps": 7})
    assert values == {**PRESETS[name], "preset": name, "steps": 7}


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="unknown --preset 'mv2017'; expected one of: mv201"):
        InversionSettings.complete({"preset": "mv2017"})
