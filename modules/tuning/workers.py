"""Several trials at a time, each in a process of its own; this process alone decides, and writes the journal."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from modules import progress
from modules.errors import ConfigError
from modules.tuning.objective import Objective, evaluate, refuse_baseline
from modules.tuning.settings import TuningSettings

if TYPE_CHECKING:  # a worker needs none of Optuna
    from modules.tuning.study import Attempt, Study

MOST_DEATHS = 3
"""Processes that may die (killed for memory, say) before the search gives up."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    attempt: Attempt | None = None
    since: float = 0.0


def run_parallel(
    study: Study,
    objective: Objective,
    begin: Callable[[], Attempt | None],
    settings: TuningSettings,
    threads: int,
    best: Callable[[], str],
) -> None:
    """Runs trials until `begin` gives no more.

    Args:
      study: keeps them.
      objective: sent to each process once.
      begin: the next trial, or None.
      settings: `workers` is the number of processes.
      threads: of each process.
      best: the best score so far, for people.

    Raises:
      ConfigError: the configured settings cannot be scored, or processes keep dying.
    """
    # Not forked: threads of TensorFlow and OpenMP do not survive that.
    context = multiprocessing.get_context("spawn")
    workers: list[_Worker] = []
    deaths = 0

    def hire() -> _Worker:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, objective, threads), daemon=True)
        process.start()
        there.close()
        return _Worker(process, here)

    try:
        exhausted = False
        while True:
            while not exhausted and sum(w.attempt is not None for w in workers) < settings.workers:
                attempt = begin()
                if attempt is None:
                    exhausted = True
                    break
                free = next((w for w in workers if w.attempt is None), None)
                if free is None:
                    free = hire()
                    workers.append(free)
                free.attempt, free.since = attempt, time.monotonic()
                free.pipe.send((attempt.parameters, len(attempt.scores)))
            busy = [w for w in workers if w.attempt is not None]
            progress.report(len(study.trials()), settings.trials, f"{len(busy)} running{best()}")
            if not busy:
                return
            ready = wait([w.pipe for w in busy])
            for worker in (w for w in busy if w.pipe in ready):
                try:
                    _listen(study, worker)
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    deaths += 1
                    why = f"its process ended with code {worker.process.exitcode}; it may have needed too much memory"
                    _fail(study, worker, why)
                    workers.remove(worker)
                    if deaths >= MOST_DEATHS:
                        raise ConfigError(
                            f"tuning: {deaths} of its processes died, the last with code {worker.process.exitcode}; "
                            "set tuning.workers lower, or make the space smaller"
                        ) from None
    finally:
        for worker in workers:
            worker.pipe.close()
            worker.process.terminate()
            worker.process.join()


def _listen(study: Study, worker: _Worker) -> None:
    attempt = worker.attempt
    assert attempt is not None
    what, value = worker.pipe.recv()
    now = time.monotonic()
    attempt.seconds, worker.since = round(attempt.seconds + now - worker.since, 3), now
    if what == "step":
        worker.pipe.send(study.step(attempt, value))
    elif what == "score":
        try:
            worker.pipe.send(study.score(attempt, value))
        except ValueError as error:  # no number
            worker.pipe.send(False)
            worker.pipe.recv()
            _fail(study, worker, str(error))
    elif what == "error":
        _fail(study, worker, value)
    else:
        study.end(attempt)
        worker.attempt = None


def _fail(study: Study, worker: _Worker, why: str) -> None:
    assert worker.attempt is not None
    refuse_baseline(worker.attempt.number, why)
    study.end(worker.attempt, why)
    worker.attempt = None


def _work(pipe: Connection, objective: Objective, threads: int) -> None:
    """The process: trials come in, scores go out, and whether to go on comes back."""
    _end_with_parent()
    objective.use(threads)

    def ask(what: str, value: Any) -> bool:
        pipe.send((what, value))
        return bool(pipe.recv())

    while True:
        try:
            parameters, first = pipe.recv()
        except EOFError:
            return
        try:
            evaluate(objective, parameters, first, lambda v: ask("step", v), lambda v: ask("score", v))
        except EOFError:
            return
        except Exception as error:
            pipe.send(("error", f"{type(error).__name__}: {error}"))
        else:
            pipe.send(("done", None))


def _end_with_parent() -> None:
    """A search that is killed leaves no process behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
