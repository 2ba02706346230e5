"""Where the values of a tensor lie on the image, and what the first of them sees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a tensor lies on the image.

    Attributes:
      shape: at batch 1, such as [1, C, H, W], [1, tokens, C] or [1, C].
      stride: pixels between neighboring values, (height, width), or None where the values have no place in the image.
      receptive_field: pixels that a value depends on, (height, width), or None where it sees the whole image.
      axes: of the shape, those of height and width, or the one of the tokens; none where the values have no place.
    """

    shape: tuple[int, ...]
    stride: Pair | None
    receptive_field: Pair | None
    axes: tuple[int, ...] = dataclasses.field(default=(), compare=False)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where values are, and what the first of them sees.

    Attributes:
      axes: as in Geometry; none while a reshape has cut the image into pieces.
      grid: number of places, (height, width).
      stride: pixels from one to the next.
      span: the first and last pixel that the first value sees, for height and width; None where it sees the whole image.
    """

    axes: tuple[int, ...]
    grid: Pair
    stride: Pair
    span: tuple[Pair, Pair] | None

    def moved(self, axes: tuple[int, ...]) -> Place:
        return dataclasses.replace(self, axes=axes)

    def whole(self) -> Place:
        return dataclasses.replace(self, span=None)

    def stepped(self, grid: Sequence[int], steps: Sequence[int], before: Sequence[int], after: Sequence[int]) -> Place:
        """The place of values of which the first sees those from `before` to `after`, and the next is `steps` further."""
        span = self.span and tuple(
            (first + b * s, last + a * s) for (first, last), b, a, s in zip(self.span, before, after, self.stride, strict=True)
        )
        stride = tuple(s * t for s, t in zip(self.stride, steps, strict=True))
        return Place(self.axes, tuple(grid), stride, span)  # type: ignore[arg-type]

    def resampled(self, grid: Sequence[int]) -> Place:
        """The place of another number of values over the same image."""
        stride = tuple(max(round(s * n / m), 1) for s, n, m in zip(self.stride, self.grid, grid, strict=True))
        return Place((2, 3), tuple(grid), stride, self.span)  # type: ignore[arg-type]

    def geometry(self, shape: tuple[int, ...]) -> Geometry:
        field = None if self.span is None else tuple(last - first + 1 for first, last in self.span)
        if not self.axes:
            return Geometry(shape, None, None)
        return Geometry(shape, self.stride, field, self.axes)  # type: ignore[arg-type]


def reshaped(place: Place, old: tuple[int, ...], new: tuple[int, ...]) -> Place | None:
    """Where a place is after a reshape: what lies before it in memory stays before it.

    Args:
      place: of values of the shape `old`.
      old, new: the shapes, of as many values.
    """
    height, width = place.grid
    axes, side, starts = place.axes, height * width, [1, 2]
    is_grid = True
    if axes:
        starts = [axis for axis in range(len(new)) if math.prod(new[:axis]) == math.prod(old[: axes[0]])]
        side = math.prod(old[axis] for axis in axes)
        is_grid = side == height * width
    if not axes or axes[-1] - axes[0] == len(axes) - 1:
        for axis in starts:
            if is_grid and new[axis : axis + 2] == (height, width):
                return place.moved((axis, axis + 1))
        for axis in starts:
            if new[axis : axis + 1] == (side,):
                return place.moved((axis,))
    else:  # axes that are apart, as on the way of a pixel shuffle
        apart = [
            a for axis in axes for a in range(len(new)) if math.prod(new[:a]) == math.prod(old[:axis]) and new[a] == old[axis]
        ]
        if len(apart) == len(axes):
            return place.moved(tuple(apart))
    ratios = {new[2] / height, new[3] / width} if len(new) == 4 else set()
    if len(ratios) == 1 and (ratio := ratios.pop()) > 1 and ratio.is_integer():
        return place.resampled(new[2:])
    return place.moved(()) if sum(length > 1 for length in new) > 1 else None


def together(spans: list) -> tuple[Pair, Pair] | None:
    """What values see together."""
    if None in spans:
        return None
    low, high = ([pick(span[axis][end] for span in spans) for axis in (0, 1)] for pick, end in ((min, 0), (max, 1)))
    return (low[0], high[0]), (low[1], high[1])
