"""List a network's layers: names, shapes, receptive fields, and how far each is from onnxruntime."""

from tfinvert.networks.conversion.convert import Conversion, Converted
from tfinvert.settings.config import Config


def run(config: Config, conversion: Conversion) -> None:
    """Prints the table."""
    converted = conversion.result()
    print(f"{config.onnx or config.model}: {converted.weights_origin}")
    print(f"pictures of {_by(converted.size)}, {config.pool} pooling, preprocessing {converted.request.preprocessing}")
    print(table(converted))


def table(converted: Converted) -> str:
    """One line a layer: name, ONNX tensor, shape, stride, receptive field, largest relative error."""
    rows = [("layer", "ONNX tensor", "shape", "stride", "receptive field", "error against onnxruntime")]
    rows += [
        (
            layer.name,
            layer.tensor,
            _by(layer.shape),
            _by(layer.stride) if layer.stride else "-",
            _by(layer.receptive_field) if layer.receptive_field else "whole picture",
            f"{layer.error:.1e}",
        )
        for layer in converted.layers
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _by(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))
