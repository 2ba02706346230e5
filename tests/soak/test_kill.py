"""A kill and a signal; `make soak` has more, at more moments, of more kinds of run."""

import signal

import pytest

from tests.soak.kill import Harness
from tests.soak.programs import PLAIN


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(runs, monkeypatch):
    monkeypatch.setattr("tests.soak.kill.AGAIN", 0.0)
    harness = Harness(runs, seed=1)
    harness.kill(runs.cases["style, two scales"], "while a checkpoint is written")
    assert harness.resumed == 1


@pytest.mark.slow
def test_a_signal_ends_a_run_with_a_checkpoint(runs):
    Harness(runs).stop(runs.cases[PLAIN], signal.SIGINT)
