"""Faults, bad input and hostile files, tried many times: make soak; the folder's test_*.py try a few of each."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table in docs/reliability.md: what must hold, what was tried how often, and what came out."""

    what: str
    tried: str
    outcome: str
