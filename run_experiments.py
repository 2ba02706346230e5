#!/usr/bin/env python3
"""Runs an experiment: `python run_experiments.py --flagfile=flags/q1.flags`, or `--help`."""

from tfinvert import cli

if __name__ == "__main__":
    cli.run()
