"""What sets the settings of two runs apart."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tfinvert.settings.legacy import modernized

SHOWN_NAME, SHOWN_VALUE = 60, 200  # characters


def parse_flags(text: str) -> dict[str, str]:
    """Reads a run.flags of this version or of 0.1: the name of each flag and its text.

    An empty list is left out, since it says the same as no flag.
    """
    lines = [line[2:].partition("=") for line in modernized(text).split("\n") if line.startswith("--")]
    return {name: value for name, _, value in lines if value}


def same_flags(stored: str, current: str) -> bool:
    """Whether two run.flags mean the same settings."""
    return parse_flags(stored) == parse_flags(current)


def differing_flags(stored: str, current: str, planned: object = None) -> list[str]:
    """Lists what keeps a stored run from being continued with the current settings.

    More steps are no difference where nothing in the run depends on their number.

    Args:
      stored: the run.flags in the run directory.
      current: the flagfile of the current settings.
      planned: the number of steps that was chosen for the stored run, where its flags name none.

    Returns:
      One text for each difference, such as "--steps=20, was 10".
    """
    before, now = _with_steps(stored, planned), parse_flags(current)
    endless = not (why_not_longer(before) or why_not_longer(now))
    changed = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        chosen = name == "steps" and new is None and old == str(planned)  # by the preset, then as now
        if old == new or chosen or (name == "steps" and endless and _is_longer(old, new)):
            continue
        values = ["(default)" if value is None else value[:SHOWN_VALUE] for value in (new, old)]
        changed.append(f"--{name[:SHOWN_NAME]}={values[0]}, was {values[1]}")
    return changed


def describe_length(stored: str, current: str, planned: object = None) -> str:
    """Why a stored run cannot go on with another number of steps or epochs; empty where other settings differ as well."""
    before, now = _with_steps(stored, planned), parse_flags(current)
    different = [name for name in before.keys() | now.keys() if before.get(name) != now.get(name)]
    if len(different) != 1 or different[0] not in ("steps", "epochs"):
        return ""
    (unit,) = different
    old, new = before.get(unit), now.get(unit)
    if not (_is_longer("0", old) and _is_longer("0", new)):
        return ""
    reason = why_not_longer(before) if _is_longer(old, new) else f"it was planned for more than {new}"
    return f"a run of {old} {unit}, which cannot be resumed with {new}: {reason}"


def why_not_longer(flags: Mapping[str, str]) -> str:
    """Why a run cannot go on beyond the number of steps that it was planned for; empty where nothing in it depends on that."""
    experiment = flags.get("experiment", "invert")
    if flags.get("epochs") is not None:
        return "its learning rate was planned for this number of epochs"
    if flags.get("optimizer") == "lbfgs":
        return "L-BFGS begins anew at the end of a run"
    if experiment == "class_vis":
        return "" if flags.get("recipe") == "fourier" else "the course's recipe keeps no checkpoints"
    if experiment == "style":
        return "" if flags.get("scales", "1") == "1" else "each of its sizes takes this number of steps"
    if flags.get("precision", "float32") == "bfloat16":
        return "the last of its steps were made in float32"
    if flags.get("regularizer_final", "1.0") != "1.0":
        return "its regularizers fell until its last step"
    schedule = flags.get("schedule")
    if schedule == "constant" or (schedule == "exponential" and "decay_steps" in flags) or schedule == "piecewise":
        return ""
    return (
        "its learning rate fell until its last step; only a run whose rate does not depend on the number of steps, "
        "such as one with --schedule=constant, can be made longer"
    )


def _with_steps(stored: str, planned: object) -> dict[str, str]:
    """The flags of a stored run, with the number of steps that was chosen for it where they name none."""
    flags = parse_flags(stored)
    return {"steps": str(planned), **flags} if isinstance(planned, int) and not isinstance(planned, bool) else flags


def _is_longer(old: str | None, new: str | None) -> bool:
    return all(re.fullmatch("[0-9]{1,18}", value or "") for value in (old, new)) and int(new or 0) >= int(old or 0)
