"""What is known of a named layer of a network."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layer:
    """A named layer.

    Attributes:
      name: the name that the user gave.
      tensor: its name in the .onnx file.
      shape: shape of one image's features, [height, width, channels], [tokens, channels] or [channels].
      stride: distance between neighboring values in pixels of the image, (height, width); None where the values have no place
        in the image. For tokens it is that of the patches.
      receptive_field: pixels of the image that one value sees, (height, width); None where it sees the whole image.
      error: max |keras - onnxruntime| / max |onnxruntime| on a photograph; None where that was not measured.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    stride: tuple[int, int] | None
    receptive_field: tuple[int, int] | None
    error: float | None = None
