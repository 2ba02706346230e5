"""The same inversion in PyTorch, written as one would port the homework: to compare with, not to build on.

The terms, parameterizations, schedules and optimizers are written again here, from their formulas, so that agreement means
something. Each module has a table of what it knows by the names that the settings use.
"""
