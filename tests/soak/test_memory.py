"""A few hundred steps hold no more at their end than near their beginning."""

import pytest

from tests.soak.memory import check, growth
from tests.soak.programs import PLAIN, Case


@pytest.mark.slow
def test_nothing_grows(runs):
    check(growth(Case("long", (*runs.cases[PLAIN].flags, "--steps=700")), runs.base))
