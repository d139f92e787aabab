"""Threads that run graphs for an event loop, with one wake-up of the loop for all that finished meanwhile."""

from __future__ import annotations

import asyncio
import collections
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np

from serving.errors import Code, ServingError
from serving.servable import Call

logger = logging.getLogger("serving.batching")

Job = TypeVar("Job")


class Observer(Protocol):
    """Takes what a run was like. Called on the event loop's thread."""

    def batch(self, pool: str, rows: int, padding: int, requests: list[int], waited: list[float], runs: int) -> None:
        """A batch was run.

        Args:
          pool: name of the threads.
          rows: of the run, padding included; padding: of those, only filled up.
          requests: rows of each request in it; waited: seconds each waited in the queue.
          runs: of the graph, more than one where the batch failed and was run again in smaller ones.
        """
        ...


class Task:
    """A request that waits for its answer.

    rows: 0 where the number is not known or does not count. deadline, enqueued: `time.monotonic()`.
    waited: seconds in the queue.
    queued: still in a queue that a batch is taken from.
    outcome: what the thread found, an answer or an error; None for one that nobody waits for any more.
    """

    __slots__ = ("call", "deadline", "enqueued", "future", "outcome", "queued", "rows", "waited")

    def __init__(self, call: Call, rows: int, deadline: float | None, future: asyncio.Future) -> None:
        self.call = call
        self.rows = rows
        self.deadline = deadline
        self.future = future
        self.enqueued = time.monotonic()
        self.waited = 0.0
        self.queued = False
        self.outcome: list[np.ndarray] | ServingError | None = None

    def settle(self) -> None:
        """Hands the outcome to who waits."""
        if self.outcome is None or self.future.done():
            return
        if isinstance(self.outcome, ServingError):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)


class Workers(Generic[Job]):
    """Threads with a queue of jobs.

    Args:
      threads: how many.
      name: of the threads.
      work: does a job, in a thread; must not raise.
      done: told of a job that was done, on the loop's thread.
    """

    def __init__(self, threads: int, name: str, work: Callable[[Job], None], done: Callable[[Job], None]) -> None:
        self._count = threads
        self._name = name
        self._work = work
        self._done = done
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._finished: collections.deque[Job] = collections.deque()
        self._woken = False
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the threads; does nothing the second time."""
        if self._loop is not None:
            return
        self._loop = loop
        for number in range(self._count):
            thread = threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def put(self, job: Job) -> None:
        """Queues a job for the next free thread."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Ends the threads once all jobs are done."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _run(self) -> None:
        assert self._loop is not None
        while (job := self._jobs.get()) is not None:
            try:
                self._work(job)
            except Exception:
                logger.exception("a run ended in an error that nobody foresaw")
            self._finished.append(job)
            # Set before the call: whoever finishes until the loop gets there leaves it to this wake-up.
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._drain)
                except RuntimeError:  # The loop has been closed: nobody waits any more.
                    return
            del job

    def _drain(self) -> None:
        self._woken = False
        while True:
            try:
                job = self._finished.popleft()
            except IndexError:
                return
            self._done(job)


async def answer(task: Task, loop: asyncio.AbstractEventLoop) -> list[np.ndarray]:
    """Waits for a task, but not beyond its deadline.

    Raises:
      ServingError: the run's own error, or DEADLINE_EXCEEDED; what still runs then runs on, for nobody.
    """
    if task.deadline is None:
        return await task.future
    timer = loop.call_later(max(0.0, task.deadline - time.monotonic()), expire, task)
    try:
        return await task.future
    finally:
        timer.cancel()


def expire(task: Task) -> None:
    """Ends the wait of a task whose deadline has passed."""
    if not task.future.done():
        task.future.set_exception(late())


def late() -> ServingError:
    return ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the model answered")


def closed() -> ServingError:
    return ServingError(Code.UNAVAILABLE, "The server is shutting down")


def failure(error: Exception) -> ServingError:
    """An error of a run, as an object of its own for each who waits."""
    if isinstance(error, ServingError):
        return ServingError(error.code, error.message)
    logger.error("a run failed", exc_info=error)
    return ServingError(Code.INTERNAL, f"{type(error).__name__} while the model ran; the server's log has more")
