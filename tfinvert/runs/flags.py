"""What sets the settings of two runs apart."""

from __future__ import annotations

import re

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


def differing_flags(stored: str, current: str) -> list[str]:
    """Lists what keeps a stored run from being continued with the current settings.

    More steps are no difference where nothing in the run depends on their number: neither the schedule nor the weights of the
    regularizers.

    Args:
      stored: the run.flags in the run directory.
      current: the flagfile of the current settings.

    Returns:
      One text for each difference, such as "--steps=20, was 10".
    """
    before, now = parse_flags(stored), parse_flags(current)
    endless = all(
        flags.get("schedule") == "constant" and flags.get("regularizer_final", "1.0") == "1.0" for flags in (before, now)
    )
    changed = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new or (name == "steps" and endless and _is_longer(old, new)):
            continue
        values = ["(default)" if value is None else value[:SHOWN_VALUE] for value in (new, old)]
        changed.append(f"--{name[:SHOWN_NAME]}={values[0]}, was {values[1]}")
    return changed


def _is_longer(old: str | None, new: str | None) -> bool:
    return all(re.fullmatch("[0-9]{1,18}", value or "") for value in (old, new)) and int(new or 0) >= int(old or 0)
