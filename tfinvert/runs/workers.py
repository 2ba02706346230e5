"""The workers that settings ask for: this process, or those of Dask, on this machine or on others.

An experiment names `executor` in the parameters of its `run`, hands it to `tasks.run_with_report`, and has the settings of
`WorkerSettings`, with which the user chooses.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

from tfinvert.runs.executors import THREADS, Executor, Local, Work
from tfinvert.settings.groups import LOCAL, WorkerSettings
from tfinvert.system.errors import InputError


@contextlib.contextmanager
def connect(settings: Any, work: Work | None, *, own_process: bool = True) -> Iterator[Executor]:
    """The executor that settings ask for.

    Args:
      settings: with those of `WorkerSettings`.
      work: a function of a module, with which a worker does a task.
      own_process: as in `Local`.

    Raises:
      InputError: Dask is needed and not installed, or the scheduler cannot be reached.
    """
    assert isinstance(settings, WorkerSettings)
    assert work is not None
    if settings.scheduler == LOCAL and settings.workers == 1:
        if settings.threads_per_worker and own_process:
            os.environ[THREADS] = str(settings.threads_per_worker)
        yield Local(work, own_process=own_process, retries=settings.retries)
        return
    if importlib.util.find_spec("distributed") is None:
        flag = f"--workers={settings.workers}" if settings.scheduler == LOCAL else f"--scheduler={settings.scheduler}"
        raise InputError(f"{flag} needs Dask: pip install dask distributed")
    from tfinvert.runs import dask_cluster

    with dask_cluster.connected(settings, work) as executor:
        yield executor
