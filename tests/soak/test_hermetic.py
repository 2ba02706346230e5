"""A short quickstart without network, home, UTF-8 locale or plain names."""

import pytest

from tests.soak.hermetic import EVERYTHING, Surroundings, quickstart

SHORT = ("--steps=5", "--size=64")


@pytest.mark.slow
def test_the_surroundings_do_not_matter(tmp_path):
    plain = quickstart(Surroundings("plain"), tmp_path / "plain", *SHORT)
    assert quickstart(EVERYTHING, tmp_path / "all", *SHORT) == plain
