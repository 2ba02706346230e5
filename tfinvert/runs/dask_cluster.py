"""A cluster of Dask: processes of this machine, or the workers of a scheduler that is running already."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster

from tfinvert.runs.dask_executor import Dask
from tfinvert.runs.executors import THREADS, Work
from tfinvert.settings.groups import LOCAL, WorkerSettings
from tfinvert.system import gpus
from tfinvert.system.errors import InputError

HOST = "127.0.0.1"  # of a cluster on this machine: no other machine reaches it
CONNECT_SECONDS = 30.0
WORKER_SECONDS = 60.0  # until the first worker is there
DEATHS = 10  # of workers, after which the task that they did is given up
CONFIG = {
    "distributed.scheduler.allowed-failures": DEATHS,
    # Dask would have NumPy and TensorFlow compute with one thread; how many they take is --threads_per_worker.
    "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": 65536},
    # TensorFlow keeps the memory of a run for the next one: a worker that waited for it would wait forever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS} s",
}
log = logging.getLogger("tfinvert")


@contextlib.contextmanager
def connected(settings: WorkerSettings, work: Work) -> Iterator[Dask]:
    """The workers that settings ask for; those of this machine end with it.

    Raises:
      InputError: the scheduler cannot be reached, or has no worker.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(CONFIG), contextlib.ExitStack() as stack:
        if settings.scheduler == LOCAL:
            # A Ctrl-C is for this thread alone: the threads and processes that begin here never see it. What Python starts
            # with the first process would let them see it.
            resource_tracker.ensure_running()
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            try:
                cluster = stack.enter_context(_local(settings))
                client = stack.enter_context(Client(cluster))
                client.wait_for_workers(settings.workers, timeout=WORKER_SECONDS)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        else:
            client = stack.enter_context(_client(settings.scheduler))
        log.info("%s; its dashboard is at %s", _described(client), client.dashboard_link)
        elsewhere = settings.scheduler != LOCAL
        yield Dask(client, work, retries=settings.retries, elsewhere=elsewhere, gather=settings.gather)


def _local(settings: WorkerSettings) -> SpecCluster:
    """Processes of this machine, one for each GPU where there are GPUs."""
    numbers = gpus.of_nvidia()
    threads = settings.threads_per_worker or max((os.cpu_count() or 1) // settings.workers, 1)
    workers = {}
    for number in range(settings.workers):
        options: dict[str, Any] = {"host": HOST, "nthreads": 1, "dashboard": False, "silence_logs": logging.ERROR}
        options |= {"env": {THREADS: str(threads)}, "memory_limit": 0}  # else a share of the memory for one thread
        if numbers:
            options["env"]["CUDA_VISIBLE_DEVICES"] = numbers[number % len(numbers)]
            options["resources"] = {"GPU": 1}
        workers[number] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {"host": HOST, "dashboard_address": f"{HOST}:0"}}
    return SpecCluster(workers, scheduler, silence_logs=logging.ERROR)


def _client(scheduler: str) -> Client:
    is_file = scheduler.endswith(".json")
    try:
        where = {"scheduler_file": scheduler} if is_file else {"address": scheduler}
        client = Client(**where, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"the scheduler at {scheduler} cannot be reached ({why}); start it, or give another --scheduler"
        ) from None
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        client.close()
        wait = f"{WORKER_SECONDS:.0f} s"
        raise InputError(
            f"the scheduler at {scheduler} has no worker after {wait}; start one: "
            f"dask worker {scheduler} --nthreads 1 --memory-limit 0 --death-timeout 60"
        ) from None
    return client


def _described(client: Client) -> str:
    count = len(client.scheduler_info(n_workers=-1)["workers"])
    return f"{count} worker{'s' * (count > 1)} of {client.scheduler_info()['address']}"
