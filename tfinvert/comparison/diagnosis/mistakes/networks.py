"""Mistakes in the network, and in which of its values are the features."""

from __future__ import annotations

from collections.abc import Callable

from tfinvert.comparison.diagnosis.mistakes import graph_edits as edits
from tfinvert.comparison.diagnosis.mistakes.mistake import Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe

EDITS: dict[str, edits.Edit] = {
    "The pools take the maximum where the average is meant, or the other way round.": edits.other_pools,
    "Average pools count their padding where they should not, or the other way round.": edits.padding_counted,
    "Pools round the number of their windows the other way (ceil or floor).": edits.other_rounding,
    "Convolutions have no padding.": edits.unpadded,
    **{
        f"The epsilon of the batch norms is {value:g}.": edits.with_epsilon(value)
        for value in (1e-20, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    },
    "The batch norms are in training mode: they use the statistics of the image.": edits.batch_statistics,
    "The batch norms are missing.": edits.without_batch_norm,
    "The batch norms have no scale and shift.": edits.without_scale,
    "The batch norms divide by the variance instead of its root.": edits.divided_by_variance,
    "The ReLUs are missing.": edits.without_relu,
    "The ReLUs are before the batch norms.": edits.relu_before_batch_norm,
    "The kernels are transposed: their rows and columns are swapped.": edits.with_kernels(lambda k: k.transpose(0, 1, 3, 2)),
    "The kernels are flipped: a convolution is computed where a cross-correlation is meant.": edits.with_kernels(
        lambda k: k[:, :, ::-1, ::-1]
    ),
    "The channels of the first kernels are in the opposite order (BGR).": edits.with_kernels(
        lambda k: k[:, ::-1] if k.shape[1] == 3 else k
    ),
    "The convolutions have no bias.": edits.without_bias,
    "The first dense layer reads [height, width, channels] flattened instead of [channels, height, width].": (
        edits.flattened_rows_first
    ),
}
TAPS: dict[str, edits.Tap] = {
    "The features are taken before the ReLU.": edits.before(("Relu",)),
    "The features are taken before the batch norm and the ReLU.": edits.before(("Relu", "BatchNormalization")),
    "The features are those of the layer before.": edits.neighbor(-1),
    "The features are those of the layer after.": edits.neighbor(1),
}
ROUNDED = ("float16", "bfloat16")


def _edited(edit: edits.Edit) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.change(graph=edit(recipe.graph))


def _tapped(tap: edits.Tap) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.change(layers=tap(recipe.graph, recipe.layers))


def rounding(dtype: str) -> str:
    """The sentence that says what a port rounds to."""
    return f"Weights and features are rounded to {dtype}."


def _rounded(dtype: str) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.change(rounded=dtype)


MISTAKES = (
    *(Mistake(cause, "features", _edited(edit)) for cause, edit in EDITS.items()),
    *(Mistake(cause, "features", _tapped(tap)) for cause, tap in TAPS.items()),
    *(Mistake(rounding(dtype), "features", _rounded(dtype)) for dtype in ROUNDED),
)
