"""The program with a checkpoint ten times a second instead of every ten: python -m tests.soak.often FLAGS."""

import sys

from tfinvert import cli
from tfinvert.runs import many as series

SECONDS = 0.1


def main() -> int:
    if "--experiment=suite" in sys.argv:
        series.PROGRAM = (sys.executable, "-m", "tests.soak.often")
    elif "--experiment=train_decoder" in sys.argv:
        cli._import_tensorflow()
        from tfinvert.experiments import train_decoder

        train_decoder.CHECKPOINT_SECONDS = SECONDS
    else:
        cli._import_tensorflow()
        from tfinvert.runs import recording as drive

        drive.CHECKPOINT_SECONDS = SECONDS
    return cli.main(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
