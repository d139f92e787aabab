"""What scores the trials of a search, a fold at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from modules.errors import ConfigError


class Objective(Protocol):
    """What a trial is scored by. With several workers it is sent to each of them, so it must be picklable.

    Attributes:
      folds: number of scores of a trial.
      validation: how the held-out rows were chosen, in words.
    """

    @property
    def folds(self) -> int: ...

    @property
    def validation(self) -> str: ...

    def use(self, threads: int) -> None:
        """Called once in each process before the first trial: how many threads it may use."""

    def __call__(self, parameters: Mapping[str, Any], fold: int, step: Callable[[float], None]) -> float:
        """The score of one fold.

        Args:
          parameters: value by setting.
          fold: from 0.
          step: may be told a score after each step of the training; it raises `Stopped` when the trial is not worth
            going on.
        """


class Stopped(Exception):
    """A trial that is pruned within a fold."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def evaluate(
    objective: Objective,
    parameters: Mapping[str, Any],
    first: int,
    step: Callable[[float], bool],
    score: Callable[[float], bool],
) -> None:
    """Scores the folds of a trial from `first` on, until `step` or `score` say that it is not worth going on."""

    def tell(value: float) -> None:
        if not step(value):
            raise Stopped

    for fold in range(first, objective.folds):
        try:
            value = objective(parameters, fold, tell)
        except Stopped:
            return
        if not score(value):
            return


def refuse_baseline(number: int, error: BaseException | str) -> None:
    """Ends the search if it is the configured settings that failed; they are tried again next time."""
    if number == 0:
        raise ConfigError(f"tuning: the configured settings, which are trial 0, cannot be scored: {error}") from (
            error if isinstance(error, BaseException) else None
        )
