"""Every request in a run of its own, as tensorflow_model_server does without --enable_batching."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from serving.batching.workers import Observer, Task, Workers, answer, closed, failure, late
from serving.errors import Code, ServingError
from serving.servable import Call, Servable

POOL = "direct"


class DirectRunner:
    """Runs calls in threads; belongs to one event loop.

    Args:
      threads: runs at once.
      max_enqueued: requests that may wait for a thread; more is UNAVAILABLE.
      metrics: told of every run.
    """

    def __init__(self, threads: int, max_enqueued: int = 1000, metrics: Observer | None = None) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, received {threads}")
        self._threads = threads
        self._limit = threads + max_enqueued
        self._max_enqueued = max_enqueued
        self._metrics = metrics
        self._pending = 0
        self._closing = False
        self._idle: asyncio.Event | None = None
        self._workers: Workers[tuple[Servable, Task]] = Workers(threads, "serving-run", _work, self._finish)

    async def run(self, servable: Servable, call: Call, deadline: float | None = None) -> list[np.ndarray]:
        """Runs a call.

        Args:
          servable: stays open until this returns.
          call: what to feed and fetch.
          deadline: `time.monotonic()` by which the answer is worth something.

        Returns:
          One array per fetch.

        Raises:
          ServingError: the graph's own error, DEADLINE_EXCEEDED, or UNAVAILABLE when too many wait or after `close`.
        """
        if self._closing:
            raise closed()
        if self._pending >= self._limit:
            raise ServingError(
                Code.UNAVAILABLE,
                f"The queue to which this task was submitted is full; currently {self._pending - self._threads} "
                f"requests enqueued and the limit is {self._max_enqueued}",
            )
        if deadline is not None and deadline <= time.monotonic():
            raise late()
        loop = asyncio.get_running_loop()
        self._workers.start(loop)
        task = Task(call, 0, deadline, loop.create_future())
        self._pending += 1
        self._workers.put((servable, task))
        return await answer(task, loop)

    def queue_depth(self) -> int:
        """Requests that wait for a thread."""
        return max(0, self._pending - self._threads)

    async def close(self) -> None:
        """Takes no more, and returns once all that were taken have been answered."""
        self._closing = True
        if self._pending:
            self._idle = asyncio.Event()
            await self._idle.wait()
        self._workers.stop()

    def _finish(self, job: tuple[Servable, Task]) -> None:
        self._pending -= 1
        task = job[1]
        if self._metrics is not None and task.outcome is not None:
            rows = task.call.rows or 0
            self._metrics.batch(POOL, rows, 0, [rows], [task.waited], 1)
        task.settle()
        if self._idle is not None and not self._pending:
            self._idle.set()


def _work(job: tuple[Servable, Task]) -> None:
    servable, task = job
    # Nobody waits: the caller has gone or its deadline has passed.
    if task.future.done():
        return
    task.waited = time.monotonic() - task.enqueued
    try:
        task.outcome = servable.run(task.call, task.deadline)
    except Exception as error:
        task.outcome = failure(error)
