"""The same run in TensorFlow and in PyTorch: do the two sides compute the same thing?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert import images, metrics, optimizers, parameterizations, presets, terms
from tfinvert.config import Config, flag_text
from tfinvert.errors import InputError
from tfinvert.networks import convert, graph, zoo
from tfinvert.networks.network import load
from tfinvert.optimize import Optimization
from tfinvert.report import sheet

FIRST = 50


def run(config: Config, conversion: convert.Conversion) -> dict[str, Any]:
    """Runs a config on both sides from the same file and the same bytes; writes compare.json and compare.png.

    Returns:
      What compare.json holds: the largest relative difference of each layer's features at the start, cosine and relative
      error of the gradient, the largest relative gap of the losses over the first 50 and over all steps, PSNR and SSIM of
      both sides and the PSNR between them.

    Raises:
      InputError: PyTorch is not installed, or the network has an operator that the port does not run.
    """
    _check(config)
    try:
        import torch

        from tfinvert import torch_port
    except ImportError:
        raise InputError("--experiment=compare needs PyTorch: pip install 'tfinvert[torch]'") from None
    network = load(conversion.result(), config.network_name())
    config = presets.at_depth(config, network.layers, network.size)
    target = images.load(config.image, network.size)
    initial = parameterizations.initial_image(config.init, network.size, config.seed)
    part, layers = convert.cut_graph(conversion.request)
    folded = graph.fold(convert.with_weights(conversion.request, part))
    port = torch_port.TorchNetwork(folded, layers, zoo.PREPROCESSING[conversion.request.preprocessing])

    wanted = {name: tf.constant(v) for name, v in network.model(tf.constant(target), training=False).items()}
    try:
        with torch.no_grad():
            wanted_torch = {name: value.clone() for name, value in port(torch.tensor(target)).items()}
            started = {name: value.numpy() for name, value in port(torch.tensor(initial)).items()}
    except NotImplementedError as error:
        raise InputError(str(error)) from None
    features = {name: v.numpy() for name, v in network.model(tf.constant(initial), training=False).items()}

    parameterization = parameterizations.parameterization(config.parameterization, network.size, config.seed)
    summands = terms.run_terms(config, wanted)
    optimization = Optimization(network.model, summands, parameterization, initial, optimizers.optimizer(config))
    gradient = optimization.gradient()[0].numpy()
    pixels = torch_port.variable(config, initial)
    torch_port.loss_of(config, port, torch_port.image_of(config, pixels), wanted_torch).backward()
    assert pixels.grad is not None
    gradient_torch = pixels.grad.numpy()

    losses, image = [], initial
    for snapshot in optimization.run(config.steps, config.steps):
        losses.append(snapshot.loss)
        image = snapshot.image if snapshot.image is not None else image
    losses_torch, image_torch = [], initial
    for loss, latest in torch_port.optimize(config, port, wanted_torch, initial):
        losses_torch.append(loss)
        image_torch = latest
    gaps = [abs(a - b) / max(abs(b), 1e-30) for a, b in zip(losses, losses_torch, strict=True)]
    result: dict[str, Any] = {
        "network": network.name,
        "weights": network.weights_origin,
        "layers": list(layers),
        "steps": config.steps,
        "feature_difference": {
            name: float(np.abs(features[name] - started[name]).max() / max(np.abs(started[name]).max(), 1e-12))
            for name in layers
        },
        "gradient_cosine": _cosine(gradient, gradient_torch),
        "gradient_relative_error": float(np.linalg.norm(gradient - gradient_torch) / np.linalg.norm(gradient_torch)),
        "loss_gap_first_50_steps": max(gaps[: FIRST + 1]),
        "loss_gap": max(gaps),
        "tensorflow": {"psnr": metrics.psnr(image, target), "ssim": metrics.ssim(image, target), "loss": losses},
        "pytorch": {"psnr": metrics.psnr(image_torch, target), "ssim": metrics.ssim(image_torch, target), "loss": losses_torch},
        "psnr_between": min(metrics.psnr(image, image_torch), 200.0),
    }
    folder = config.run_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compare.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        difference = 0.5 + 10 * (np.clip(image, 0, 1) - np.clip(image_torch, 0, 1))
        shown = {"target": target, "tensorflow": image, "pytorch": image_torch, "difference": difference}
        for name, picture in shown.items():
            images.save(folder / f"{name}.png", picture)
        captions = {
            "target": "target",
            "tensorflow": f"TensorFlow, {result['tensorflow']['psnr']:.2f} dB",
            "pytorch": f"PyTorch, {result['pytorch']['psnr']:.2f} dB",
            "difference": "difference, ten times, on grey",
        }
        sheet.write_side_by_side(
            folder / "compare.png",
            [f"{network.name}: {', '.join(layers)}", f"weights: {network.weights_origin}; {config.steps} steps"],
            [(folder / f"{name}.png", caption) for name, caption in captions.items()],
        )
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    _print(result, folder)
    return result


def _check(config: Config) -> None:
    """Raises InputError where the PyTorch port has no such thing."""
    has: dict[str, tuple[Any, ...]] = {
        "optimizer": ("adam", "sgd"),
        "momentum_reset": (False,),
        "tv_kind": ("l1", "l2"),
        "alpha_weight": (0,),
        "regularizer_final": (1,),
        "jitter": (0, 1),
        "seeds": (1,),
        "backoff": (False,),
        "parameterization": ("free", "clip", "sigmoid"),
    }
    for name, values in has.items():
        if getattr(config, name) not in values:
            expected = " or ".join(flag_text(name, value) for value in values)
            raise InputError(f"--{name} is {flag_text(name, getattr(config, name))}; --experiment=compare expects {expected}")


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _print(result: dict[str, Any], folder: Path) -> None:
    rows = [(f"features of {name} at the start", f"{value:.1e}") for name, value in result["feature_difference"].items()]
    rows += [
        ("gradient at the start, relative error", f"{result['gradient_relative_error']:.1e}"),
        ("gradient at the start, cosine", f"{result['gradient_cosine']:.9f}"),
        (f"loss, largest gap over {FIRST} steps", f"{result['loss_gap_first_50_steps']:.2e}"),
        ("loss, largest gap over all steps", f"{result['loss_gap']:.2e}"),
        ("PSNR, TensorFlow and PyTorch", f"{result['tensorflow']['psnr']:.2f} and {result['pytorch']['psnr']:.2f} dB"),
        ("SSIM, TensorFlow and PyTorch", f"{result['tensorflow']['ssim']:.4f} and {result['pytorch']['ssim']:.4f}"),
        ("PSNR between the two", f"{result['psnr_between']:.1f} dB"),
    ]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value}" for name, value in rows))
    print(f"pictures: {folder / 'compare.png'}")
