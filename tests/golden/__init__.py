"""What the command line computes, recorded: `python -m tests.golden`."""
