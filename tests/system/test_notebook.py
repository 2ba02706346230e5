"""Whether somebody sees a progress bar."""

import io
import sys
import types

import pytest

from tfinvert.system import notebook


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())


def shell(monkeypatch, found):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: found))


def test_a_kernel_is_a_notebook(monkeypatch):
    assert not notebook.in_notebook()
    assert not notebook.is_watched()
    shell(monkeypatch, types.SimpleNamespace(kernel=None))
    assert notebook.in_notebook()
    assert notebook.is_watched()


def test_ipython_in_a_terminal_is_none(monkeypatch):
    for found in (None, types.SimpleNamespace()):
        shell(monkeypatch, found)
        assert not notebook.in_notebook()


@pytest.mark.parametrize(("stderr", "watched"), [(Terminal(), True), (io.StringIO(), False), (None, False)])
def test_a_terminal_is_watched(stderr, watched, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr)
    assert notebook.is_watched() is watched
