"""What a worker that does many tasks holds: its memory, from its twentieth task to its last."""

import tempfile
from pathlib import Path

from tests.conftest import tiny_graph, write_onnx
from tests.soak import Row
from tfinvert import worker

TASKS = 200
WARM = 20  # tasks after which the memory is compared
MOST_MB = 50.0


def memory(count: int = TASKS) -> list[float]:
    """MB of this process after each of `count` tasks of a tiny network, whose layer, loss and number of steps change."""
    sizes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx = write_onnx(tiny_graph(size=32), folder / "net.onnx")
        for number in range(count):
            layer = ("conv1_1", "pool1", "conv2_1", "fc2")[number % 4]
            flags = [f"--onnx={onnx}", "--preprocessing=none", f"--layers={layer}", f"--steps={5 + number % 3}"]
            flags += [f"--seed={number}", f"--tv_weight={0.1 * (number % 5)}", f"--output_dir={folder / str(number)}"]
            answer = worker.work({"flags": flags, "own_process": True})
            assert not answer["results"][0].get("error"), answer
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)
            if (number + 1) % WARM == 0:
                print(f"{number + 1} tasks, {sizes[-1]:.0f} MB", flush=True)
    return sizes


def soak(scale: float = 1.0) -> list[Row]:
    """Many tasks in this process, as a worker does them."""
    sizes = memory(max(round(TASKS * scale), WARM + 1))
    grown = max(sizes[WARM:]) - sizes[WARM - 1]
    assert grown <= MOST_MB, f"{grown:+.1f} MB"
    return [
        Row(
            "The memory of a worker does not grow",
            f"{len(sizes)} tasks of a tiny network, whose layer, loss and number of steps change; from task {WARM} on",
            f"at most {grown:+.1f} MB",
        )
    ]
