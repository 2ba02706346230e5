"""Signals that end a run, and the handlers that were there before."""

import os
import signal
import threading

import pytest

from tfinvert.system.signals import SIGNALS, Interrupted, held_back, raising


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.fixture(autouse=True)
def handlers_as_they_were():
    before = handlers()
    yield
    assert handlers() == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_at_once(number):
    with pytest.raises(Interrupted) as caught, raising():
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert str(caught.value) == signal.Signals(number).name


def test_an_interruption_is_a_ctrl_c_that_carries_what_there_is():
    with pytest.raises(KeyboardInterrupt) as caught:
        raise Interrupted(signal.SIGINT, result="the image so far")
    assert caught.value.result == "the image so far"
    assert Interrupted(signal.SIGINT).result is None
    assert not isinstance(caught.value, Exception)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_held_back_and_the_second_raised(number):
    with held_back() as interruption:
        assert not interruption
        interruption.raise_if_any()
        os.kill(os.getpid(), number)
        assert interruption.number == number
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)
    with pytest.raises(Interrupted) as caught:
        interruption.raise_if_any()
    assert caught.value.number == number


def test_within_another_only_the_inner_one_hears():
    with held_back() as outer:
        with held_back() as inner:
            os.kill(os.getpid(), signal.SIGINT)
        assert inner
        assert not outer
        os.kill(os.getpid(), signal.SIGINT)
        assert outer


def test_in_other_threads_nothing_changes():
    before, seen = handlers(), []

    def run():
        with held_back() as interruption, raising():
            seen.append((handlers(), bool(interruption)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


def test_a_handler_that_python_cannot_put_back_stays(monkeypatch):
    """Of a program in C that has this one inside: getsignal gives None."""
    changed = []
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda *arguments: changed.append(arguments))
    with raising():
        pass
    monkeypatch.undo()
    assert changed == []
