"""What the PyTorch port knows, by the names that settings, terms and graphs use. Everything else is refused before it runs.

It imports neither PyTorch nor TensorFlow. The functions behind these names are in the tables of `comparison.pytorch`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfinvert.settings.fields import flag_text
from tfinvert.settings.inversion import InversionSettings
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.networks.onnx import Graph
    from tfinvert.objectives.terms import Term

# None stands for one of the others, which depends on the layers.
SETTINGS: dict[str, tuple[str | int | None, ...]] = {
    "optimizer": ("adam", "sgd", "mv2016"),
    "schedule": (None, "constant", "exponential", "piecewise", "cosine", "warmup_cosine"),
    "parameterization": (None, "free", "clip", "bounded", "sigmoid", "pyramid", "sigmoid_pyramid"),
    "feature_loss": ("mse", "normalized"),
    "tv_kind": ("l1", "l2", "beta"),
    "tv_reduction": ("sum", "mean"),
    "alpha_kind": ("values", "pixels"),
    "alpha_reduction": ("sum", "mean"),
    "seeds": (1,),
}
TERMS = ("tv", "alpha_norm")  # beside those that draw the features of a layer to their target
OPERATORS = (
    *("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "BatchNormalization", "LRN", "Relu", "Sigmoid", "Add", "Mul"),
    *("Gemm", "MatMul", "Pad", "SpaceToDepth", "Concat", "Flatten"),
)


def check_settings(settings: InversionSettings) -> None:
    """Raises InputError for a setting that the port does not know."""
    for name, values in SETTINGS.items():
        if getattr(settings, name) not in values:
            expected = " or ".join(flag_text(value) for value in values if value is not None)
            raise InputError(f"--{name} is {flag_text(getattr(settings, name))}; --experiment=compare expects {expected}")
    if settings.term:
        raise InputError(
            f"--term={settings.term[0]} is a term that the PyTorch port does not know; --experiment=compare has none"
        )


def check_terms(terms: Iterable[Term], layers: Iterable[str]) -> None:
    """Raises InputError for a term of the loss that the port does not know.

    Args:
      terms: the terms that the settings lead to.
      layers: the layers whose features are drawn to their targets, each by the term of its name.
    """
    for term in terms:
        if term.name not in TERMS and not (term.name in layers and term.layers == (term.name,)):
            raise InputError(
                f"the loss has the term {term.name!r}, which the PyTorch port does not know; "
                f"--experiment=compare expects the features of layers, {' and '.join(TERMS)}"
            )


def check_operators(graph: Graph) -> None:
    """Raises InputError for a graph with an operator that the port does not run."""
    unknown = sorted({node.op_type for node in graph.nodes} - set(OPERATORS))
    if unknown:
        raise InputError(
            f"the network has the operator {unknown[0]}, which the PyTorch port does not run; --experiment=compare expects "
            f"{', '.join(OPERATORS)}"
        )
