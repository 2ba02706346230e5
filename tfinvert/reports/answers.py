"""What the figures of runs say, in sentences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tfinvert.reports.entries import Run

SAME_PSNR = 0.05  # dB; the page shows one decimal
FLAT = 0.01  # part of the initial total variation; an image with less is flat


def find_baseline(runs: Sequence[Run]) -> Run | None:
    """The run called baseline, if it is among these and has ended."""
    return next((run for run in runs if run.name == "baseline" and run.result), None)


def answer_run(run: Run, runs: Sequence[Run]) -> str:
    """What the figures of one run say, compared with the baseline if that is on the page."""
    if not run.result:
        return "No figures: the run has not ended."
    text = f"{run.label()} ends at {run.result['psnr']:.1f} dB, SSIM {run.result['ssim']:.3f}, "
    text += f"with a normalized feature error of {run.result['normalized_feature_error']:.3g}."
    baseline = find_baseline(runs)
    return text if baseline is None or baseline is run else text + _compare(run, baseline)


def _compare(run: Run, baseline: Run) -> str:
    difference = run.result["psnr"] - baseline.result["psnr"]
    if abs(difference) < SAME_PSNR:
        text = " That is the baseline's PSNR."
    else:
        text = f" That is {abs(difference):.1f} dB {'above' if difference > 0 else 'below'} the baseline."
    if baseline.label() != run.label() or baseline.flags.get("feature_loss") != run.flags.get("feature_loss"):
        return text  # Their feature losses cannot be compared.
    final = baseline.feature_loss()[-1]
    reached = next((step for step, loss in zip(run.steps(), run.feature_loss(), strict=True) if loss <= final), None)
    if reached is None:
        return text + " It never reaches the baseline's final feature loss."
    return text + f" It has the baseline's final feature loss by step {reached} (of {baseline.steps()[-1]})."


def answer_learning_rate(group: Sequence[Run]) -> str:
    """Question 1: which learning rate ends with the lowest feature loss."""
    constant = [run for run in group if run.flags.get("schedule") == "constant"]
    text = ""
    if constant:
        best = min(constant, key=lambda run: run.feature_loss()[-1])
        rates = ", ".join(f"{run.number('learning_rate'):g}" for run in constant)
        text = f"Of the constant rates ({rates}), {best.number('learning_rate'):g} ends with the lowest feature loss, "
        text += f"{best.feature_loss()[-1]:.3g}, and {best.result['psnr']:.1f} dB. "
    overall = min(group, key=lambda run: run.feature_loss()[-1])
    if overall not in constant:
        text += f"{overall.name} ({overall.setting('schedule')} from {overall.number('learning_rate'):g}) "
        text += f"goes further, to {overall.feature_loss()[-1]:.3g} and {overall.result['psnr']:.1f} dB."
    return text


def answer_total_variation(group: Sequence[Run]) -> str:
    """Question 2: what total variation does to the PSNR and to the image."""
    weighted = [run for run in group if run.number("tv_weight") > 0]
    parts = []
    for run in weighted:
        weight = f"{run.number('tv_weight'):g} x the {run.flags.get('tv_reduction')}"
        variation = run.values("tv")
        kept = variation[-1] / variation[0] if variation and variation[0] else float("nan")
        parts.append(f"{weight}: {run.result['psnr']:.1f} dB, {kept:.2%} of the start's total variation left")
    text = "; ".join(parts) + "."
    best = max(weighted, key=lambda run: run.result["psnr"], default=None)
    without = next((run for run in group if not run.number("tv_weight")), None)
    if best is not None and without is not None:
        better = best.result["psnr"] > without.result["psnr"]
        text += f" Best of them is {best.name}, {'above' if better else 'below'} the {without.result['psnr']:.1f} dB without."
    flat = [run.name for run in weighted if run.values("tv") and run.values("tv")[-1] < FLAT * run.values("tv")[0]]
    if flat:
        text += f" Flat images (under 1 % of the start's variation): {', '.join(flat)}."
    return text


def answer_depth(group: Sequence[Run]) -> str:
    """Question 3: what shallow and deep layers keep, and several layers together."""
    text = "; ".join(f"{'+'.join(run.layers)}: {run.result['psnr']:.1f} dB" for run in group) + "."
    single = [run for run in group if len(run.layers) == 1]
    values = [run.result["psnr"] for run in single]
    if len(values) > 1:
        falls = all(a > b for a, b in itertools.pairwise(values))
        text += " The deeper the layer, the less of the image comes back." if falls else " PSNR does not fall with every layer."
    for run in group:
        for part in [part for part in single if set(part.layers) < set(run.layers)]:
            difference = run.result["psnr"] - part.result["psnr"]
            text += f" {'+'.join(run.layers)} is {abs(difference):.1f} dB {'above' if difference > 0 else 'below'} "
            text += f"{'+'.join(part.layers)} alone."
    return text


def answer_network(group: Sequence[Run]) -> str:
    """Question 4: how networks differ in speed and PSNR."""
    baseline = find_baseline(group)
    parts = []
    for run in group:
        text = f"{run.label()}: {run.result['psnr']:.1f} dB at {run.result['steps_per_second']:.1f} steps/s"
        if baseline is not None and run is not baseline:
            ratio = run.result["steps_per_second"] / baseline.result["steps_per_second"]
            text += f", {ratio:.1f} times the baseline's"
        parts.append(text)
    best = max(group, key=lambda run: run.result["psnr"])
    return "; ".join(parts) + f". The highest PSNR is {best.label()}'s."
