"""Two runs into one folder."""

import pytest

from tests.soak.locks import Pairs


@pytest.mark.slow
def test_the_second_run_says_who_holds_the_folder(runs):
    assert "is writing into out/run" in Pairs(runs).two_runs()
