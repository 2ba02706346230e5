"""A disk that fills up."""

import pytest

from tests.soak.disk import CannotTryError, Rig
from tests.soak.programs import PLAIN


def test_a_run_on_a_full_disk_ends_with_a_line_and_goes_on(runs):
    try:
        assert Rig(runs).full_disk(PLAIN).startswith("tfinvert: ")
    except CannotTryError as error:
        pytest.skip(str(error))
