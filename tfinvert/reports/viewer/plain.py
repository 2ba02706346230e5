"""Values of a stranger's JSON file, made small enough to send and free of what JSON does not have."""

from __future__ import annotations

import math
from typing import Any

LONGEST, MOST, DEEPEST = 300, 200, 5  # characters of a text, members of a list, lists inside lists


def short(value: object, longest: int = LONGEST) -> str:
    """A value as text of one line."""
    text = " ".join(str(value)[: 2 * longest].split())
    return text if len(text) <= longest else f"{text[:longest]}..."


def plain(value: Any, depth: int = 0) -> Any:
    """A JSON value without numbers that are not finite, without long texts, and not too deep."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < 1e300 and math.isfinite(value) else None
    if depth < DEEPEST and isinstance(value, dict):
        return {short(name): plain(each, depth + 1) for name, each in list(value.items())[:MOST]}
    if depth < DEEPEST and isinstance(value, list):
        return [plain(each, depth + 1) for each in value[:MOST]]
    return short(value)
