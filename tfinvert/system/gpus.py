"""The GPUs of this machine, without the import of TensorFlow."""

import os
from pathlib import Path

DRIVERS = ("/proc/driver/nvidia/version", "/dev/dxg", "/dev/kfd")  # NVIDIA's on Linux, any maker's on Windows, AMD's


def may_be_there() -> bool:
    """Whether TensorFlow may find a GPU of any maker."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path(driver).exists() for driver in DRIVERS)


def of_nvidia() -> list[str]:
    """NVIDIA's GPUs that this process may use, each as `CUDA_VISIBLE_DEVICES` names it."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name for name in allowed.split(",") if name.strip() and name.strip() != "-1"]
    return sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
