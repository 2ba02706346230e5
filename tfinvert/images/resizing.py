"""From an image's proportions to those of a network: the middle is cut out, or it is squashed, or the network's size fits."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as PillowImage

from tfinvert.system.errors import InputError

LONGEST = 3  # times the shorter side: what `keep` keeps of a longer image
SMALLEST_CUT = 0.01  # of a side, that is worth a word
NAMED = 3  # images whose cuts are described one by one

Size = tuple[int, int]  # (height, width) in pixels


def middle(size: Size, target: Size) -> tuple[float, float, float, float] | None:
    """The largest part about the middle of an image that has the proportions of `target`: (left, top, right, bottom).

    To resize it is to make the shorter side fit and to cut the other at both ends, as networks are tested on photographs.

    Returns:
      None where that is the whole image.
    """
    (height, width), (target_height, target_width) = size, target
    if height * target_width == width * target_height:
        return None
    scale = min(height / target_height, width / target_width)
    down, right = (height - scale * target_height) / 2, (width - scale * target_width) / 2
    return max(right, 0.0), max(down, 0.0), width - max(right, 0.0), height - max(down, 0.0)


def resized(image: PillowImage.Image, size: Size, resize: str) -> PillowImage.Image:
    """A Pillow image at another size, bilinear; `resize` is `squash` to squash it, else what does not fit is cut off."""
    height, width = size
    box = None if resize == "squash" else middle((image.height, image.width), size)
    return image.resize((width, height), PillowImage.Resampling.BILINEAR, box=box)


def kept_size(sizes: Sequence[Size], size: Size) -> Size:
    """The size whose shorter side is that of `size`, and whose proportions are those of images; up to 3 to 1.

    Raises:
      InputError: the images have not the same proportions.
    """
    fitting = {_proportional(own, min(size)) for own in sizes}
    if len(fitting) > 1:
        kinds = ", ".join(sorted(f"{height}x{width}" for height, width in fitting))
        raise InputError(
            f"--resize=keep expects images of the same proportions, and these need the sizes {kinds}; give one at a time"
        )
    return fitting.pop() if fitting else size


def _proportional(size: Size, side: int) -> Size:
    height, width = size
    longer = min(round(side * max(size) / min(size)), LONGEST * side)
    return (side, longer) if height <= width else (longer, side)


def describe_cuts(sizes: dict[str, Size], target: Size) -> str:
    """What is cut off images to make them fit `target`, in words; empty where nothing is.

    Args:
      sizes: image name -> its size.
      target: the size that they get.
    """
    cuts = {name: cut for name, size in sizes.items() if (cut := _cut(size, target))}
    if len(cuts) > NAMED:
        largest = max(share for share, _ in cuts.values())
        return f"{len(cuts)} of {len(sizes)} images are cut at two sides, by up to {largest:.0%} of a side"
    return "; ".join(f"{share:.0%} of the {side} of {name} is cut off" for name, (share, side) in cuts.items())


def _cut(size: Size, target: Size) -> tuple[float, str] | None:
    """Which share of the height or of the width is cut off; None for next to nothing, which is a matter of rounding."""
    box = middle(size, target)
    if box is None:
        return None
    left, top, right, bottom = box
    height, width = size
    share, side = max((1 - (right - left) / width, "width"), (1 - (bottom - top) / height, "height"))
    return (share, side) if share > SMALLEST_CUT else None
