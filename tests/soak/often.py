"""The program with a checkpoint ten times a second instead of every ten: python -m tests.soak.often FLAGS."""

import sys

from tfinvert import cli
from tfinvert.system.tensorflow import import_tensorflow

SECONDS = 0.1


def main() -> int:
    dask_setup(None)
    return cli.main(sys.argv)


def dask_setup(worker: object) -> None:
    """The same in a worker of Dask: dask worker --preload tests.soak.often."""
    import_tensorflow()
    from tfinvert.decoders import callbacks
    from tfinvert.runs import recording

    callbacks.CHECKPOINT_SECONDS = recording.CHECKPOINT_SECONDS = SECONDS


if __name__ == "__main__":
    sys.exit(main())
