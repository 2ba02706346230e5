"""Uninterrupted runs that the short tests share."""

import pytest

from tests.soak.programs import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("soak"))
