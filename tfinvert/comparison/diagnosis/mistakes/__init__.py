"""The catalog of mistakes that ports make, in the order of a run. A new mistake is one new line in one of these files.

Each is a change of a recipe. Where it changes nothing, such as a change of pools in a network without any, it explains nothing.
"""

from tfinvert.comparison.diagnosis.mistakes import inputs, losses, networks, starts, steps, targets
from tfinvert.comparison.diagnosis.mistakes.mistake import Mistake

__all__ = ["CATALOG", "Mistake"]

CATALOG = (*targets.MISTAKES, *starts.MISTAKES, *inputs.MISTAKES, *networks.MISTAKES, *losses.MISTAKES, *steps.MISTAKES)
