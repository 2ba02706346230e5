"""Reads the files of a run directory, which may be damaged, forged or made by an older version.

This is the only place that checks them: whoever calls it gets values of the right type, or none.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfinvert.runs.flags import parse_flags
from tfinvert.system.files import LARGEST_TEXT, read_end, read_text

# Types in run.json. A value of another type is damaged and counts as missing.
TYPES: dict[str, type] = {
    **dict.fromkeys(("experiment", "network", "weights", "pool", "image", "stopped"), str),
    **dict.fromkeys(("layers", "result", "settings"), dict),
}
# Limits of a line of metrics.jsonl: values, characters of a name, size of a number.
MOST_VALUES, LONGEST_NAME, LARGEST_NUMBER = 6000, 500, 1e30
LARGEST_STEP = 2**53


def read_info(path: Path, largest: int = LARGEST_TEXT) -> dict[str, Any]:
    """Reads run.json without the values that are damaged; gives an empty dict where the file cannot be read.

    Args:
      path: the file.
      largest: the largest size in bytes. A larger file counts as one that cannot be read.
    """
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(read_text(path, largest))
        json.dumps(content, ensure_ascii=False).encode()  # Half of a surrogate pair is a ValueError.
        if isinstance(content, dict):
            info: dict[str, Any] = {
                name: value for name, value in content.items() if isinstance(value, TYPES.get(name, object))
            }
            if not all(map(_is_layer, info.get("layers", {}).values())):
                del info["layers"]
            return info
    return {}


def read_metrics(path: Path, last: int | None = None) -> list[dict[str, Any]]:
    """Reads the whole lines of metrics.jsonl: a step, and names with finite numbers. Other lines are left out.

    Args:
      path: the file.
      last: how many bytes at the end of the file are read. Default: the whole file.
    """
    lines: list[Any] = []
    with contextlib.suppress(OSError):
        for line in (read_text(path) if last is None else read_end(path, last)).split("\n"):
            with contextlib.suppress(ValueError, RecursionError):
                lines.append(json.loads(line))
    return [line for line in lines if _is_line(line)]


def read_outcome(folder: Path, largest: int = LARGEST_TEXT) -> dict[str, Any]:
    """Reads compare.json or diagnose.json as if it were a run.json; gives an empty dict where neither can be read.

    Args:
      folder: where it is.
      largest: the largest size in bytes.
    """
    for name, outcome in OUTCOMES.items():
        if content := read_info(folder / name, largest):  # its `layers` are a list of names, which no run.json has
            about: dict[str, Any] = {key: content[key] for key in ("network", "weights", "image", "answer") if key in content}
            return {"experiment": name.removesuffix(".json"), **about, "result": outcome(content)}
    return {}


def _comparison(content: dict[str, Any]) -> dict[str, Any]:
    """The figures of compare.json, with a row for each side and for each way to run PyTorch."""
    ours, theirs = (side if isinstance(side := content.pop(name, {}), dict) else {} for name in ("tensorflow", "pytorch"))
    result = {name: value for name, value in content.items() if is_number(value) or isinstance(value, dict)}
    if is_number(ours.get("psnr")):
        result["psnr"] = ours["psnr"]
    variants = theirs.pop("variants", {})
    rows = [{"side": "TensorFlow", **ours}]
    for variant, speed in variants.items() if isinstance(variants, dict) else ():
        # Only the first variant makes all steps, and has an image.
        rows.append(
            {"side": f"PyTorch, {variant}", **(theirs if len(rows) == 1 else {}), **(speed if isinstance(speed, dict) else {})}
        )
    result["sides"] = [{name: value for name, value in row.items() if name == "side" or is_number(value)} for row in rows]
    return result


def _diagnosis(content: dict[str, Any]) -> dict[str, Any]:
    """The tables of diagnose.json, with the columns that say something."""
    columns = {"findings": FINDING, "differences": DIFFERENCE}
    result: dict[str, Any] = {}
    for table, names in columns.items():
        content_rows = content.get(table)
        rows = [row for row in content_rows if isinstance(row, dict)] if isinstance(content_rows, list) else []
        shown = [name for name in names if any(row.get(name) not in (None, "") for row in rows)]
        if rows:
            result[table] = [{names[name]: row.get(name, "") for name in shown} for row in rows]
    return result


# The columns of diagnose.json, and what they are called on a page.
FINDING = {
    "cause": "mistake",
    "alternatives": "or",
    "where": "array",
    "before": "without it",
    "after": "with it",
    "fits": "fits",
}
DIFFERENCE = {"name": "array", "differs": "differs", "size": "difference", "tolerance": "right ports", "note": "note"}
OUTCOMES = {"compare.json": _comparison, "diagnose.json": _diagnosis}


def read_flags(path: Path) -> dict[str, str]:
    """Reads run.flags as names and texts, as `parse_flags` does; gives an empty dict where the file cannot be read."""
    with contextlib.suppress(OSError):
        return parse_flags(read_text(path))
    return {}


def is_number(value: object) -> bool:
    """Whether a value of a JSON file is a finite number of a usual size."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def number(values: Mapping[str, Any], name: str) -> float:
    """The number of this name, or NaN where there is none."""
    value = values.get(name)
    return float(value) if is_number(value) else float("nan")  # type: ignore[arg-type]


def restarts(result: Mapping[str, Any]) -> list[dict[str, float]]:
    """The figures of each restart in the result of run.json, which version 0.1 called "starts"; empty where there are none."""
    each = result.get("restarts", result.get("starts", []))
    whole = isinstance(each, list) and all(isinstance(figures, dict) and is_number(figures.get("psnr")) for figures in each)
    return each if whole else []


def _is_line(line: object) -> bool:
    return (
        isinstance(line, dict)
        and len(line) <= MOST_VALUES
        and isinstance(line.get("step"), int)
        and 0 <= line["step"] < LARGEST_STEP
        and all(map(is_number, line.values()))
        and all(len(name) <= LONGEST_NAME and name.isprintable() for name in line)
    )


def _is_layer(layer: object) -> bool:
    if not isinstance(layer, dict):
        return False
    sides = [layer.get("receptive_field"), layer.get("stride")]
    return all(pair is None or (isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair))) for pair in sides)
