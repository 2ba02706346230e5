"""What C++ writes to standard error is held back, unless something goes wrong."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import os, sys
from tfinvert.system import standard_error
{before}
with standard_error.hold_back():
    os.write({descriptor}, b"a note of C++;")
    {inside}
print("after", file=sys.stderr)
"""


def run(before="", inside="pass", descriptor=2, level="2"):
    program = PROGRAM.format(before=before, inside=inside, descriptor=descriptor)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": level}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def test_notes_are_held_back_and_later_output_appears():
    done = run()
    assert (done.returncode, done.stderr) == (0, "after\n")


@pytest.mark.parametrize(("inside", "level"), [("1 / 0", "2"), ("pass", "0")])
def test_notes_appear_with_an_exception_or_where_they_were_requested(inside, level):
    assert "a note of C++" in run(inside=inside, level=level).stderr


@pytest.mark.parametrize("before", ["sys.stderr = None", "sys.stderr = None; os.close(2)"])
def test_a_program_without_standard_error(before):
    done = run(before=before, inside="print('done')", descriptor=1)
    assert done.returncode == 0
    assert "done" in done.stdout
