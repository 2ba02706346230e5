"""Tasks on the workers of a scheduler of Dask.

Between its processes Dask sends Python's pickles (docs/reliability.md says what that means). What is given to it here is plain:
the name of a function of this package, and texts, numbers and bytes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client, KilledWorker, as_completed, get_client, get_worker
from distributed.comm.core import CommClosedError

import tfinvert
from tfinvert.runs import archives, remote
from tfinvert.runs.executors import Answer, Message, Progress, Work
from tfinvert.system import signals
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from distributed import Future

    from tfinvert.runs.tasks import Task

CHECKPOINT_SECONDS = 30.0  # in which runs end with a checkpoint
MOST_SENT = 2**31  # bytes of files that workers lack
SENT = "tfinvert-files"  # where the scheduler keeps them


class Dask:
    """The workers of a scheduler, each of which does one task at a time."""

    def __init__(self, client: Client, work: Work, *, retries: int = 0, elsewhere: bool = False, gather: bool = False):
        """Submits nothing yet.

        Args:
          client: of the scheduler.
          work: what does a task, a function of a module that the workers have as well.
          retries: how often a task is tried again.
          elsewhere: whether the workers may be on other machines.
          gather: whether they send their results.
        """
        self._client, self._work, self._retries = client, work, retries
        self._elsewhere, self._gather = elsewhere, gather
        self._futures: dict[Any, tuple[int, Future]] = {}
        self._is_gone = False
        self._lock = threading.Lock()  # of `_futures`, which `progress` reads in another thread
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        self._options: dict[str, Any] = {"pure": False}
        if any("GPU" in worker["resources"] for worker in workers):
            self._options["resources"] = {"GPU": 1}

    def submit(self, tasks: Sequence[Task], finished: Collection[int] = ()) -> Iterator[tuple[int, Answer]]:
        here = set(finished)
        for number in here:
            yield number, Answer.of(self._work({"flags": tasks[number].flags(), "own_process": True}))
        left = [number for number in range(len(tasks)) if number not in here]
        messages = self._messages({number: tasks[number] for number in left})
        tries = dict.fromkeys(left, 0)
        work, given = [self._work] * len(left), list(messages.values())
        futures = self._client.map(attempt, work, given, batch_size=500, **self._options)
        with self._lock:
            self._futures = {future.key: (number, future) for number, future in zip(left, futures, strict=True)}
        ended = as_completed(futures, raise_errors=False)
        del futures
        try:
            for batch in ended.batches():
                answers = self._answers(batch)
                for future in batch:
                    with self._lock:
                        number, _ = self._futures.pop(future.key)
                    answer = self._answer(tasks[number], future, answers.get(future.key))
                    future.release()
                    if answer.interrupted or (answer.again and tries[number] < self._retries):
                        tries[number] += not answer.interrupted
                        again = self._client.submit(attempt, self._work, messages[number], **self._options)
                        with self._lock:
                            self._futures[again.key] = number, again
                        ended.add(again)
                    else:
                        yield number, answer
        except BaseException:
            with contextlib.suppress(Exception):  # whatever keeps workers from being asked, what ended this comes first
                self.cancel()
            raise
        finally:
            remote.unmark(next(iter(messages.values()), {}).get("mark"))

    def _messages(self, tasks: Mapping[int, Task]) -> dict[int, Message]:
        """What workers are given; files that some of them lack are sent to the scheduler first."""
        plain: dict[int, Message] = {
            number: {"flags": task.flags(), "own_process": True, "client": self._client.id} for number, task in tasks.items()
        }
        if not self._elsewhere or not plain:
            return plain
        common = Path(os.path.commonpath([remote.place(message["flags"]).parent for message in plain.values()]))
        more = {
            "version": tfinvert.__version__,
            "mark": None if self._gather else remote.mark(common, uuid.uuid4().hex),
            "gather": socket.gethostname() if self._gather else "",
        }
        files = {number: remote.input_files(task) for number, task in tasks.items()}
        self._send({path: checksum for each in files.values() for path, checksum in each.items()})
        return {
            number: {**message, **more, "files": files[number], "count": len(tasks[number].runs)}
            for number, message in plain.items()
        }

    def _send(self, files: Mapping[str, str]) -> None:
        """Sends files to the scheduler, each once, from which workers fetch them."""
        lacking = {checksum for answer in self._client.run(remote.missing, dict(files)).values() for checksum in answer}
        paths = {checksum: path for path, checksum in files.items() if checksum in lacking}
        size = sum(os.path.getsize(path) for path in paths.values())
        if size > MOST_SENT:
            raise InputError(
                f"the workers lack {len(paths)} files of {size / 2**30:.1f} GB, such as {next(iter(paths.values()))}; expected "
                f"{MOST_SENT / 2**30:.0f} GB at most: put them into a folder that the workers share, under the same path"
            )
        for checksum, path in paths.items():
            if self._client.get_metadata([SENT, checksum, "whole"], default=False):
                continue
            with open(path, "rb") as file:
                number = 0
                while chunk := file.read(remote.CHUNK):
                    self._client.set_metadata([SENT, checksum, str(number)], chunk)
                    number += 1
            self._client.set_metadata([SENT, checksum, "whole"], True)

    def _answers(self, batch: Sequence[Future]) -> dict[Any, dict[str, Any]]:
        """What workers have answered, by key: fetched at once, because each time takes as long as many answers."""
        ended = [future for future in batch if future.status == "finished"]
        with contextlib.suppress(Exception):  # a worker is gone; `_answer` looks at each of them then
            return dict(zip((future.key for future in ended), self._client.gather(ended), strict=True))
        return {}

    def _answer(self, task: Task, future: Future, values: dict[str, Any] | None) -> Answer:
        """The answer of a task that has ended; results that were sent are written."""
        if values is None and future.status == "finished":
            with contextlib.suppress(Exception):
                values = future.result()
        if values is not None:
            archive = values.pop("archive", None)
            if archive is not None:
                archives.unpack(archive, remote.place(task.flags()))
            return Answer.of(values)
        if future.status in ("cancelled", "lost"):
            self._is_gone = True
            raise InputError("the scheduler is gone, and with it the list of tasks; the same command goes on with what is left")
        error = future.exception()
        if isinstance(error, KilledWorker):
            return Answer.failed(task, f"the workers that did it ended, the last of them {error.last_worker.address}")
        return Answer.failed(task, f"{type(error).__name__}: {error}")

    def cancel(self) -> None:
        """Ends what is under way, each with a checkpoint, and forgets what was not begun."""
        if self._is_gone:
            return
        with self._lock:
            futures = [future for _, future in self._futures.values()]
        self._client.cancel(futures)
        deadline = time.monotonic() + CHECKPOINT_SECONDS
        # Again and again, because a run can be ended as soon as it has something to lose, and not before.
        while time.monotonic() < deadline and any(self._client.run(end_runs, self._client.id).values()):
            time.sleep(0.2)

    def progress(self) -> Progress:
        try:
            running = [key for keys in self._client.processing().values() for key in keys]
            workers = len(self._client.nthreads())
        except (OSError, CommClosedError, TimeoutError):
            return Progress((), 0)
        with self._lock:
            return Progress(tuple(self._futures[key][0] for key in running if key in self._futures), workers)


_under_way: list[str] = []  # in a worker: the client of each task


def attempt(work: Work, message: Message) -> dict[str, Any]:
    """What a worker of Dask calls: `work`, whose interruption would end the worker."""
    worker = get_worker()
    _under_way.append(message["client"])
    try:
        if "version" not in message:
            return work(message)
        return remote.do(work, message, worker.address, Path(worker.local_directory), fetch)
    except signals.Interrupted:
        return {"results": [], "interrupted": True}
    finally:
        _under_way.remove(message["client"])


def fetch(checksum: str, number: int) -> bytes | None:
    """A chunk of a file that the client has sent, on a worker."""
    return get_client().get_metadata([SENT, checksum, str(number)], default=None)


def end_runs(client: str) -> bool:
    """Ends what a worker does for a client; returns whether it is still under way. Called on a worker."""
    if client in _under_way:
        signals.end_runs()
    return client in _under_way
