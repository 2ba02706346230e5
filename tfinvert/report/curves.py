"""The curves of a run: loss and terms, PSNR, learning rate over the steps."""

from __future__ import annotations

from tfinvert.rundir import RunDirectory


def write(run: RunDirectory) -> None:
    """Writes curves.png from metrics.jsonl; nothing where there is no line yet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = run.read_metrics()
    if not lines:
        return
    steps = [line["step"] for line in lines]
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    loss, quality, rate = figure.subplots(1, 3)
    known = {"step", "loss", "learning_rate", "psnr"}
    for name in [key for key in lines[-1] if key not in known]:
        loss.plot(steps, [line.get(name) for line in lines], label=name, linewidth=1)
    loss.plot(steps, [line["loss"] for line in lines], label="loss", color="black")
    if all(line["loss"] > 0 for line in lines):
        loss.set_yscale("log")
    loss.set_title("loss, and its terms without their weights")
    loss.legend()
    quality.plot(steps, [line.get("psnr") for line in lines], color="black")
    quality.set_title("PSNR (dB)")
    rate.plot(steps, [line.get("learning_rate") for line in lines], color="black")
    rate.set_title("learning rate")
    for axes in (loss, quality, rate):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    part = run.curves.with_name(".curves.png.part")
    figure.savefig(part, format="png", dpi=100, metadata={"Software": None})
    part.replace(run.curves)
