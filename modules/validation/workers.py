"""Folds that are fitted while the next ones are prepared, in processes of their own.

A process that fits starts anew, so it does not inherit TensorFlow's or OpenMP's threads, which do not survive a fork;
it imports only what fitting needs.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from modules.errors import DataError
from modules.validation.settings import ValidationSettings

Fold = TypeVar("Fold")
Result = TypeVar("Result")


def processes(settings: ValidationSettings) -> int:
    """Folds that are fitted at a time: `workers`, or one per core; never more than there are folds."""
    return max(1, min(settings.workers or cores(), (settings.folds or 1) * settings.repeats))


def threads(workers: int, wanted: int | None = None) -> int:
    """Threads of each of so many processes: their share of the cores, or fewer if fewer are wanted."""
    share = max(1, cores() // workers)
    return share if wanted is None else min(share, wanted)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def fit_all(
    folds: Iterable[Fold], fit: Callable[..., Result], arguments: tuple[Any, ...], workers: int
) -> Iterator[tuple[Fold, Result]]:
    """Calls `fit(fold, *arguments)` for every fold.

    Args:
      folds: taken one by one, no more than `workers` ahead of those that are being fitted.
      fit: a module's function; fold, arguments and result travel between processes.
      arguments: the same for all folds.
      workers: processes; with 1 everything happens in this one.

    Yields:
      Fold and result in the order in which they finish.

    Raises:
      DataError: a process was killed. What `fit` raises, is raised.
    """
    if workers == 1:
        for fold in folds:
            yield fold, fit(fold, *arguments)
        return
    waiting: dict[Future[Result], Fold] = {}
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        for fold in folds:
            waiting[pool.submit(fit, fold, *arguments)] = fold
            yield from _finished(waiting, limit=2 * workers)
        while waiting:
            yield from _finished(waiting, limit=1)
    except BrokenProcessPool as error:
        raise DataError(
            f"a process that fitted a fold was killed, probably for lack of memory; {workers} were fitted at a time. "
            "Lower validation.workers, or close what else uses memory."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(waiting: dict[Future[Result], Fold], limit: int) -> Iterator[tuple[Fold, Result]]:
    """What has finished; waits for it while there are `limit` or more."""
    done, _ = wait(waiting, timeout=None if len(waiting) >= limit else 0, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()
