"""The first 50 losses of the homework's questions, which a port of any kind can check itself against.

`python -m tests.comparison.test_homework` writes homework.json again. The networks have seeded random weights and images of 48
pixels a side, so that a run takes seconds.
"""

import json
from pathlib import Path

import pytest

from tfinvert import cli

FILE = Path(__file__).with_name("homework.json")
STEPS = 50
# The largest relative difference between the original homework's losses and ours, measured at full size.
TOLERANCES = {"baseline": 1.1e-5, "q1": 9e-4, "q2.1": 4e-6, "q3.1": 5e-7}


def losses(question, folder):
    """The loss before each update, and after the last."""
    flags = ("--weights=random", "--size=48", f"--steps={STEPS}", "--save_every=1", f"--output_dir={folder}", "--overwrite")
    assert cli.main(["tfinvert", "invert", f"--flagfile={question}", *flags]) == 0
    return [json.loads(line)["loss"] for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "question", [pytest.param(name, marks=[] if name == "q1" else pytest.mark.slow) for name in TOLERANCES]
)
def test_the_first_losses_of_a_question_are_those_that_are_written_down(question, tmp_path):
    expected = json.loads(FILE.read_text())[question]
    assert len(expected) == STEPS + 1
    assert losses(question, tmp_path) == pytest.approx(expected, rel=TOLERANCES[question])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        found = {name: [float(f"{loss:.9g}") for loss in losses(name, scratch)] for name in TOLERANCES}
    FILE.write_text(json.dumps(found) + "\n")
