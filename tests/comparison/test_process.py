"""A side in a process of its own; tests/experiments/test_compare.py has whole runs."""

import pytest

from tfinvert.comparison import process, sides
from tfinvert.comparison.settings import CompareSettings
from tfinvert.system.errors import InputError


def test_a_process_that_fails_says_so_in_one_line():
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=r"the run in pytorch eager failed \(exit code 1\): AssertionError"):
        process.measure(sides.Task("pytorch", CompareSettings(), 1, variant="eager"))
