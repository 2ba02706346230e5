"""Figures of speed and memory, each beside what it is compared with: `make bench`. They are never part of the tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # not that of tests.conftest, whose imports would count as memory of a side
