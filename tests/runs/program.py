"""Stands in for the program: a run that ends at once, fails or waits, as the name of its image says."""

import signal
import sys
from pathlib import Path

from tfinvert.runs.directory import RunDirectory
from tfinvert.system.child import end_with_parent, stop

PLACEMENT = ("--output_dir", "--resume", "--overwrite")


def main(arguments: list[str]) -> int:
    """Runs one image, or several into folders below the output folder."""
    flags = dict(argument.partition("=")[::2] for argument in arguments)
    folder, images = Path(flags["--output_dir"]), flags["--image"].split(",")
    runs = {image: folder / image / flags["--layers"] if len(images) > 1 else folder for image in images}
    code = 0
    for image, path in runs.items():
        text = "".join(f"{name}={value}\n" for name, value in {**flags, "--image": image}.items() if name not in PLACEMENT)
        run = RunDirectory(path)
        before = run.read_info().get("begun", [])
        run.create(text, {}, resume="--resume" in flags)
        info = {"begun": [*before, "--resume" if "--resume" in flags else "anew"]}
        run.write_info(info)
        run.append_metrics({"step": 5, "loss": 1.0})
        if image == "waits" and not before:
            print("never the last line", file=sys.stderr)
            signal.pause()
        if image == "fails":
            print("a warning\ntfinvert: the loss is nan", file=sys.stderr)
            code = 1
        elif image == "crashes":
            code = 3
        else:
            run.write_info({**info, "result": {"psnr": 30.0}})
    return code


if __name__ == "__main__":

    def end(number, frame):
        for path in Path(next(a for a in sys.argv if a.startswith("--output_dir=")).partition("=")[2]).rglob("run.json"):
            run = RunDirectory(path.parent)
            run.write_info({**run.read_info(), "stopped": "at step 5"})
        print("tfinvert: ended by SIGTERM", file=sys.stderr)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    end_with_parent(stop)
    sys.exit(main(sys.argv[1:]))
