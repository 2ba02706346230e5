"""The examples in the docstrings run."""

import doctest

import pytest

from tfinvert.objectives import features, own_terms, regularizers, style, terms
from tfinvert.optimization import optimizers

MODULES = (features, own_terms, regularizers, style, terms, optimizers)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0
