"""Writes the tables of docs/flags.md from the settings: `make flags-page`, or `python -m tests.write_flags`.

The introduction of the page, which is all above its first experiment, stays as it is.
"""

from pathlib import Path

from tfinvert import experiments
from tfinvert.settings import help_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "flags.md"


def section(name: str) -> str:
    """The heading, the sentence and the tables of an experiment."""
    return f"## {name}\n\n{experiments.sentence(name)}\n\n{help_text.table(experiments.find(name).settings)}"


if __name__ == "__main__":
    introduction = PAGE.read_text(encoding="utf-8").partition("\n## ")[0].rstrip()
    names = sorted(experiments.names(), key=lambda name: (name != "invert", name))  # the default experiment first
    PAGE.write_text("\n\n".join([introduction, *map(section, names)]) + "\n", encoding="utf-8")
