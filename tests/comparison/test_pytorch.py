"""The PyTorch port by itself; tests/experiments/test_compare.py holds it beside TensorFlow."""

import pytest

from tests.experiments.test_compare import SCHEDULES
from tfinvert.comparison import known
from tfinvert.optimization import schedules
from tfinvert.settings.inversion import InversionSettings


@pytest.mark.parametrize("settings", SCHEDULES, ids=lambda settings: settings["schedule"])
def test_the_port_s_rates_are_those_of_keras(settings):
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    from tfinvert.comparison.pytorch import optimizers

    resolved = InversionSettings(steps=30, learning_rate=0.2, **settings)
    rate = schedules.build_schedule(resolved)
    for step in range(30):
        expected = float(rate(step)) if callable(rate) else rate
        assert optimizers.learning_rate(resolved, step) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_the_names_that_are_checked_are_those_of_the_port_s_tables():
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    from tfinvert.comparison.pytorch import network, optimizers, parameterizations
    from tfinvert.comparison.pytorch import terms as port_terms

    tables = {
        "optimizer": optimizers.OPTIMIZERS,
        "schedule": optimizers.SCHEDULES,
        "parameterization": parameterizations.PARAMETERIZATIONS,
        "feature_loss": port_terms.FEATURE_LOSSES,
        "tv_kind": port_terms.VARIATIONS,
        "tv_reduction": port_terms.REDUCTIONS,
        "alpha_kind": port_terms.DISTANCES,
        "alpha_reduction": port_terms.REDUCTIONS,
    }
    assert {name: set(table) for name, table in tables.items()} == {
        name: set(values) - {None} for name, values in known.SETTINGS.items() if name != "seeds"
    }
    assert set(known.TERMS) == set(port_terms.REGULARIZERS)
    assert set(known.OPERATORS) == set(network.OPERATORS)
