"""Networks as ONNX graphs: read, tidied, cut and folded. Nothing here knows of TensorFlow.

`read` gives the graph as the file has it. `tidy` removes what only the exporters care about and changes no value. `cut`,
`resized`, `settle`, `with_pooling` and `fold` make the graph that is converted; `geometry` tells how its tensors lie on the
image.
"""

from tfinvert.networks.onnx.checks import LFS_HEADER, UnsupportedError
from tfinvert.networks.onnx.editing import cut, numbered, resized, tidy, with_output, with_pooling
from tfinvert.networks.onnx.folding import fold
from tfinvert.networks.onnx.geometry import geometry
from tfinvert.networks.onnx.graph import Graph, attributes, remake
from tfinvert.networks.onnx.identity import checksum
from tfinvert.networks.onnx.measures import operations, shapes
from tfinvert.networks.onnx.modules import parameter_module
from tfinvert.networks.onnx.outputs import features_shape, in_one_order, original
from tfinvert.networks.onnx.places import Geometry
from tfinvert.networks.onnx.reading import from_proto, read, write
from tfinvert.networks.onnx.settling import settle, unsupported

__all__ = [
    "LFS_HEADER",
    "Geometry",
    "Graph",
    "UnsupportedError",
    "attributes",
    "checksum",
    "cut",
    "features_shape",
    "fold",
    "from_proto",
    "geometry",
    "in_one_order",
    "numbered",
    "operations",
    "original",
    "parameter_module",
    "read",
    "remake",
    "resized",
    "settle",
    "shapes",
    "tidy",
    "unsupported",
    "with_output",
    "with_pooling",
    "write",
]
