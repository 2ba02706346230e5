"""Tries files of networks that nobody here wrote: `python -m tests.zoo_matrix --help`."""
