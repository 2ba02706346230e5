"""What the figures of runs say, in sentences. A sentence compares runs only where `judging` finds that they differ."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tfinvert.reports import judging
from tfinvert.reports.entries import Run

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
    if cut := run.cut_short():
        text += f" It was cut short ({cut})."
    if judging.holds_nothing(run):
        text += f" That is no nearer to the image than an even color, which has up to {judging.floor(run):.1f} dB."
    baseline = find_baseline(runs)
    return text if baseline is None or baseline is run else text + _compare(run, baseline)


def _compare(run: Run, baseline: Run) -> str:
    if not judging.are_comparable(run, baseline):
        return " The baseline has another image."
    if judging.differ(run, baseline):
        difference = run.result["psnr"] - baseline.result["psnr"]
        text = f" That is {abs(difference):.1f} dB {'above' if difference > 0 else 'below'} the baseline."
    else:
        text = f" PSNR does not tell it from the baseline, which has {baseline.result['psnr']:.1f} dB."
    if baseline.label() != run.label() or baseline.flags.get("feature_loss") != run.flags.get("feature_loss"):
        return text  # Their feature losses cannot be compared.
    final = baseline.feature_loss()[-1]
    reached = next((step for step, loss in zip(run.steps(), run.feature_loss(), strict=True) if loss <= final), None)
    if reached is None:
        return text + " It never reaches the baseline's final feature loss."
    return text + f" It has the baseline's final feature loss by step {reached} (of {baseline.steps()[-1]})."


def answer_section(text: str, group: Sequence[Run]) -> str:
    """An answer to a question, with what limits it: runs that were cut short, or that come no nearer than an even color."""
    if cut := [f"{run.name} ({reason})" for run in group if (reason := run.cut_short())]:
        text += f" Runs that were cut short, whose images were still on their way: {', '.join(cut)}."
    if nothing := [run.name for run in group if judging.holds_nothing(run)]:
        text += f" No nearer to the image than an even color: {', '.join(nothing)}."
    return text


def answer_learning_rate(group: Sequence[Run]) -> str:
    """Question 1: which learning rate ends with the lowest feature loss."""
    constant = sorted((run for run in group if run.flags.get("schedule") == "constant"), key=_last_loss)
    text = ""
    if len(constant) > 1:
        best, second = constant[:2]
        rates = ", ".join(f"{run.number('learning_rate'):g}" for run in constant)
        if judging.differing_loss(_last_loss(best), _last_loss(second)):
            text = f"Of the constant rates ({rates}), {best.number('learning_rate'):g} ends with the lowest feature loss, "
            text += f"{_last_loss(best):.3g}, and {best.result['psnr']:.1f} dB. "
        else:
            losses = f"{_last_loss(best):.3g} and {_last_loss(second):.3g}"
            text = f"None of the constant rates ({rates}) is clearly ahead: the lowest feature losses are {losses}. "
    falling = [run for run in group if run not in constant]
    overall = min(falling, key=_last_loss, default=None)
    if overall is not None and all(judging.differing_loss(_last_loss(overall), _last_loss(run)) for run in constant[:1]):
        text += f"{overall.name} ({overall.setting('schedule')} from {overall.number('learning_rate'):g}) "
        text += f"goes further, to {_last_loss(overall):.3g} and {overall.result['psnr']:.1f} dB."
    return text.strip()


def _last_loss(run: Run) -> float:
    return run.feature_loss()[-1]


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
    best = max(weighted, key=judging.level, default=None)
    without = next((run for run in group if not run.number("tv_weight")), None)
    if best is not None and without is not None and judging.are_comparable(best, without):
        if not judging.differ(best, without):
            text += f" None of them differs clearly from the {without.result['psnr']:.1f} dB without."
        elif judging.level(best) > judging.level(without):
            text += f" {best.name} is above the {without.result['psnr']:.1f} dB without."
        else:
            text += f" All of them are below the {without.result['psnr']:.1f} dB without."
    flat = [run.name for run in weighted if run.values("tv") and run.values("tv")[-1] < FLAT * run.values("tv")[0]]
    if flat:
        text += f" Flat images (under 1 % of the start's variation): {', '.join(flat)}."
    return text


def answer_depth(group: Sequence[Run]) -> str:
    """Question 3: what shallow and deep layers keep, and several layers together."""
    text = "; ".join(f"{'+'.join(run.layers)}: {run.result['psnr']:.1f} dB" for run in group) + "."
    single = [run for run in group if len(run.layers) == 1]
    if len(single) > 1:
        text += f" {_trend(single)}"
    for run in group:
        for part in [part for part in single if set(part.layers) < set(run.layers)]:
            if not judging.differ(run, part):
                text += f" PSNR does not tell {'+'.join(run.layers)} from {'+'.join(part.layers)} alone."
                continue
            difference = run.result["psnr"] - part.result["psnr"]
            text += f" {'+'.join(run.layers)} is {abs(difference):.1f} dB {'above' if difference > 0 else 'below'} "
            text += f"{'+'.join(part.layers)} alone."
    return text


def _trend(single: Sequence[Run]) -> str:
    """What PSNR does with depth, over runs of one layer each, the shallowest first."""
    pairs = list(itertools.pairwise(single))
    falls = [judging.differ(a, b) and judging.level(a) > judging.level(b) for a, b in pairs]
    nothing = [judging.holds_nothing(a) and judging.holds_nothing(b) for a, b in pairs]
    rises = [(a, b) for a, b in pairs if judging.differ(a, b) and judging.level(a) < judging.level(b)]
    if rises:
        return f"PSNR does not fall with every layer: it rises from {rises[0][0].layers[0]} to {rises[0][1].layers[0]}."
    if any(falls) and all(fall or none for fall, none in zip(falls, nothing, strict=True)):
        return "The deeper the layer, the less of the image comes back."
    first, last = single[0], single[-1]
    if judging.differ(first, last):
        return f"Less comes back from {last.layers[0]} than from {first.layers[0]}; not every layer differs from the next."
    return "PSNR does not tell these layers apart."


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
    return f"{'; '.join(parts)}. {_highest(group, lambda run: run.label())}"


def answer_others(group: Sequence[Run]) -> str:
    """Any runs: which has the highest PSNR, for each image by itself."""
    groups = [runs for runs in judging.by_target(group).values() if len(runs) > 1]
    if not groups:
        return "Each run has an image of its own; the PSNRs of different images are not compared."
    several = len(judging.by_target(group)) > 1
    sentences = [f"{runs[0].info.get('image')}: {_highest(runs)}" if several else _highest(runs) for runs in groups]
    return " ".join(sentences)


def _highest(group: Sequence[Run], name=lambda run: run.name) -> str:
    """Which of some runs of one image has the highest PSNR, where one differs from all others."""
    best, *others = sorted(group, key=judging.level, reverse=True)
    if all(judging.differ(best, other) for other in others):
        return f"The highest PSNR is that of {name(best)}, {best.result['psnr']:.1f} dB."
    if judging.holds_nothing(best):
        return "PSNR does not tell them apart."
    equals = [name(run) for run in group if run is best or not judging.differ(best, run)]
    return f"PSNR does not tell these apart, which have the highest: {', '.join(equals)}."
