"""Merges requests that wait for the same model and signature into one run.

The fixed cost of a run of a small model is many times that of a row, so runs of many rows multiply throughput. With no
batch timeout nobody waits for company: a free thread takes what is there, and while it works the next batch gathers.
Reference: tensorflow/core/kernels/batching_util/shared_batch_scheduler.h,
tensorflow_serving/batching/batching_session.cc.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Sequence

import numpy as np

from serving.batching import merge
from serving.batching.parameters import BatchingParameters
from serving.batching.workers import Observer, Task, Workers, answer, closed, expire, failure, late
from serving.errors import Code, ServingError, invalid
from serving.servable import Call, Servable

# Without a batch timeout, a batch smaller than the last one waits for this share of the last run's time: callers who
# were answered together come back one after the other. A lone caller's batch is as large as the last: it never waits.
GATHER = 0.5
# Errors that say nothing about a request's data: a batch that fails with them is not run again in smaller ones.
_COMMON_FAILURES = frozenset({Code.DEADLINE_EXCEEDED, Code.CANCELLED})


class _Batch:
    """Tasks that run together. rows: taken up of the largest size; due: when it is no longer held back."""

    __slots__ = ("alone", "due", "padding", "rows", "runs", "seconds", "servable", "tasks")

    def __init__(self, servable: Servable, alone: bool, due: float) -> None:
        self.servable = servable
        self.alone = alone
        self.due = due
        self.tasks: list[Task] = []
        self.rows = 0
        self.padding = 0
        self.runs = 0
        self.seconds = 0.0


class BatchingRunner:
    """Runs calls in batches; belongs to one event loop.

    A call without a common first dimension, or with no rows, runs by itself. If a batch fails, its halves run again,
    down to single requests, so that nobody suffers from another's data: at most 2n - 1 runs for n requests.

    Args:
      parameters: sizes, times and limits.
      threads: batches that run at once, instead of the parameters' number.
      metrics: told of every batch.
    """

    def __init__(
        self, parameters: BatchingParameters, threads: int | None = None, metrics: Observer | None = None
    ) -> None:
        self._parameters = parameters
        self._limit = parameters.execution_batch_size
        self._wait = parameters.batch_timeout_micros / 1e6
        self._metrics = metrics
        # By servable, call key and inner shapes; a queue without batches is removed, so nothing outlives its servable.
        self._queues: dict[tuple, collections.deque[_Batch]] = {}
        self._free = threads or parameters.num_batch_threads
        self._workers: Workers[_Batch] = Workers(self._free, parameters.thread_pool_name, self._execute, self._finish)
        self._queued = self._running = self._abandoned = 0
        self._scheduled = self._closing = False
        self._expected = 1
        self._last_run = self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: asyncio.Event | None = None

    async def run(self, servable: Servable, call: Call, deadline: float | None = None) -> list[np.ndarray]:
        """Runs a call, together with others that wait.

        Args:
          servable: stays open until this returns.
          call: what to feed and fetch.
          deadline: `time.monotonic()` by which the answer is worth something.

        Returns:
          One array per fetch; perhaps a view of a larger one.

        Raises:
          ServingError: the graph's own error; INVALID_ARGUMENT, more rows than a batch may have; UNAVAILABLE, too many
            wait, or after `close`; DEADLINE_EXCEEDED; FAILED_PRECONDITION, the outputs are not one row per row.
        """
        if self._closing:
            raise closed()
        rows = call.rows or 0
        if rows > self._parameters.max_batch_size:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {self._parameters.max_batch_size}")
        if deadline is not None and deadline <= time.monotonic():
            raise late()
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._workers.start(loop)
        if rows > self._limit:
            return await self._run_in_parts(servable, call, rows, deadline, loop)
        task = Task(call, rows, deadline, loop.create_future())
        self._enqueue(servable, task)
        return await self._answer(task, loop)

    def queue_depth(self) -> int:
        """Requests that wait for a thread."""
        return self._queued

    async def close(self) -> None:
        """Takes no more, and returns once all that were taken have been answered."""
        self._closing = True
        if self._queued or self._running:
            self._idle = asyncio.Event()
            self._wake()
            await self._idle.wait()
        if self._timer is not None:
            self._timer.cancel()
        self._workers.stop()

    async def _answer(self, task: Task, loop: asyncio.AbstractEventLoop) -> list[np.ndarray]:
        try:
            return await answer(task, loop)
        finally:
            if task.queued:
                self._abandoned += 1

    async def _run_in_parts(
        self, servable: Servable, call: Call, rows: int, deadline: float | None, loop: asyncio.AbstractEventLoop
    ) -> list[np.ndarray]:
        tasks: list[Task] = []
        try:
            for part in merge.parts(call, rows, self._limit):
                task = Task(part, part.feeds[0].array.shape[0], deadline, loop.create_future())
                self._enqueue(servable, task)
                tasks.append(task)
            answers = [await self._answer(task, loop) for task in tasks]
        except BaseException:
            for task in tasks:
                if not task.future.cancel() and not task.future.cancelled():
                    task.future.exception()
            raise
        try:
            return [np.concatenate(arrays) for arrays in zip(*answers, strict=True)]
        except ValueError as error:
            raise ServingError(Code.INTERNAL, f"Tensor concat operation failed: {error}") from error

    def _enqueue(self, servable: Servable, task: Task) -> None:
        call, rows, limit = task.call, task.rows, self._limit
        shapes = merge.inner_shapes(call, self._parameters.pad_variable_length_inputs) if rows else None
        key = (servable, call.key, shapes)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = collections.deque()
        if not queue or queue[-1].alone or not rows or queue[-1].rows + rows > limit:
            if len(queue) >= self._parameters.max_enqueued_batches and not self._without_abandoned(queue):
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; currently "
                    f"{len(queue)} batches enqueued and max_enqueued_batches is "
                    f"{self._parameters.max_enqueued_batches}",
                )
            queue.append(_Batch(servable, not rows, task.enqueued + self._wait))
        batch = queue[-1]
        batch.tasks.append(task)
        batch.rows += rows
        task.queued = True
        if not self._queued:
            self._since = time.monotonic()
        self._queued += 1
        self._wake()

    def _without_abandoned(self, queue: collections.deque[_Batch]) -> bool:
        """Drops batches that nobody waits for; whether there is room now."""
        if not self._abandoned:
            return False
        self._abandoned = 0
        live = []
        for batch in queue:
            waiting = [task for task in batch.tasks if not task.future.done()]
            self._queued -= len(batch.tasks) - len(waiting)
            for task in batch.tasks:
                task.queued = not task.future.done()
            batch.tasks = waiting
            batch.rows = sum(task.rows for task in waiting)
            if waiting:
                live.append(batch)
        queue.clear()
        queue.extend(live)
        return len(queue) < self._parameters.max_enqueued_batches

    def _wake(self, *_: object) -> None:
        """Hands out batches in the next turn of the loop: all that arrives in this one comes together."""
        if not self._scheduled and self._free and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        now = time.monotonic()
        if self._gathering(now):
            self._scheduled = True
            assert self._loop is not None
            self._loop.call_soon(self._dispatch)
            return
        self._scheduled = False
        while self._free:
            batch = self._next(now)
            if batch is None:
                break
            self._free -= 1
            self._running += 1
            self._workers.put(batch)
        if self._free and self._queues and self._wait:
            self._sleep(min(queue[0].due for queue in self._queues.values()) - now)
        self._settle_idle()

    def _gathering(self, now: float) -> bool:
        """Whether more requests are about to come: those just answered ask again, one after the other."""
        if self._wait or self._closing or not 0 < self._queued < self._expected:
            return False
        return now - self._since < GATHER * self._last_run

    def _learn(self, answered: int, seconds: float) -> None:
        """A batch is through. answered: its requests; seconds: of its run."""
        self._last_run, self._since = seconds, time.monotonic()
        if answered >= self._expected:
            self._expected = answered + self._queued
        else:
            self._expected = max(answered, self._expected * 3 // 4)

    def _sleep(self, seconds: float) -> None:
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
        # libuv's clock ticks in milliseconds.
        self._timer = self._loop.call_later(max(0.001, seconds), self._wake)

    def _next(self, now: float) -> _Batch | None:
        """The next batch that may run, of the queues in turn."""
        for key in list(self._queues):
            queue = self._queues[key]
            while queue:
                batch = queue[0]
                full = len(queue) > 1 or batch.alone or batch.rows >= self._limit
                if not (full or self._closing or now >= batch.due):
                    break
                queue.popleft()
                self._queued -= len(batch.tasks)
                batch.tasks = [task for task in batch.tasks if _waits(task, now)]
                if batch.tasks:
                    del self._queues[key]
                    if queue:
                        self._queues[key] = queue
                    return batch
            if not queue:
                del self._queues[key]
        return None

    def _finish(self, batch: _Batch) -> None:
        self._free += 1
        self._running -= 1
        self._learn(len(batch.tasks), batch.seconds)
        # Those who are answered now will ask again in the next turn: a smaller batch waits for them, a larger one goes.
        if self._queued >= len(batch.tasks):
            self._dispatch()
        elif self._queues:
            self._wake()
        for task in batch.tasks:
            task.settle()
        if self._metrics is not None and batch.runs:
            requests = [task.rows for task in batch.tasks]
            waited = [task.waited for task in batch.tasks]
            rows = sum(requests) + batch.padding
            self._metrics.batch(self._parameters.thread_pool_name, rows, batch.padding, requests, waited, batch.runs)
        self._settle_idle()

    def _settle_idle(self) -> None:
        if self._idle is not None and not self._queued and not self._running:
            self._idle.set()

    def _execute(self, batch: _Batch) -> None:
        """In a thread: leaves an outcome with every task."""
        now = time.monotonic()
        batch.tasks = [task for task in batch.tasks if not task.future.done()]
        for task in batch.tasks:
            task.waited = now - task.enqueued
        if batch.tasks:
            self._execute_tasks(batch, batch.tasks)
        batch.seconds = time.monotonic() - now

    def _execute_tasks(self, batch: _Batch, tasks: Sequence[Task]) -> None:
        sizes = [task.rows for task in tasks]
        rows = sum(sizes)
        size = merge.padded_size(rows, self._parameters.allowed_batch_sizes)
        batch.runs += 1
        if len(tasks) == len(batch.tasks) and not batch.alone:
            batch.padding = size - rows
        try:
            if batch.alone:
                tasks[0].outcome = batch.servable.run(tasks[0].call, tasks[0].deadline)
                return
            merged = merge.merge([task.call for task in tasks], size, self._parameters.pad_variable_length_inputs)
            arrays = batch.servable.run(merged, _latest(tasks))
        except Exception as error:
            if len(tasks) > 1 and getattr(error, "code", None) not in _COMMON_FAILURES:
                middle = len(tasks) // 2
                self._execute_tasks(batch, tasks[:middle])
                self._execute_tasks(batch, tasks[middle:])
                return
            for task in tasks:
                task.outcome = failure(error)
            return
        try:
            answers = merge.split(arrays, sizes, size)
        except ServingError as error:
            for task in tasks:
                task.outcome = failure(error)
            return
        for task, outcome in zip(tasks, answers, strict=True):
            task.outcome = outcome


def _waits(task: Task, now: float) -> bool:
    """Whether somebody still waits for a task that leaves the queue; ends the wait of one that is too late."""
    task.queued = False
    if task.deadline is not None and task.deadline <= now:
        expire(task)
    return not task.future.done()


def _latest(tasks: Sequence[Task]) -> float | None:
    """The deadline of a batch: its latest, none if one has none."""
    latest = 0.0
    for task in tasks:
        if task.deadline is None:
            return None
        latest = max(latest, task.deadline)
    return latest
