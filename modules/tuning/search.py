"""Runs the trials of a study, one after another in this process or several at a time in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules import progress
from modules.errors import AiqleadsError, ConfigError
from modules.tuning.models import Tunable
from modules.tuning.objective import Objective, cores, evaluate, refuse_baseline
from modules.tuning.report import TuningReport
from modules.tuning.settings import TuningSettings
from modules.tuning.space import Space, resolve
from modules.tuning.study import Attempt, Study


def search(
    objective: Objective, settings: TuningSettings, model: Tunable, baseline: Mapping[str, Any], folder: Path | None
) -> TuningReport:
    """Tries settings until as many as asked for were tried, or the time is up.

    Args:
      objective: what scores them.
      settings: of the search.
      model: what can be searched.
      baseline: the configured settings, as JSON knows them.
      folder: where the trials outlive a killed search; the same for searches that may share trials. None: nowhere.

    Raises:
      ConfigError: the configured settings cannot be scored.
    """
    began = time.monotonic()
    name, direction = model.objective(settings.objective)
    space: Space = resolve(settings, model)
    study = Study(settings, space, direction, {n: baseline[n] for n in space}, objective.folds, folder)
    ends = None if settings.timeout_minutes is None else began + 60 * settings.timeout_minutes

    def begin() -> Attempt | None:
        if ends is not None and time.monotonic() > ends and study.best() is not None:
            return None
        return study.begin()

    def best() -> str:
        number = study.best()
        if number is None:
            return ""
        score = next(t.score for t in study.trials() if t.number == number)
        return f", best {name} {score:.4f} (trial {number})"

    threads = max(1, cores() // settings.workers)
    if settings.workers == 1:
        objective.use(threads)
        while (attempt := begin()) is not None:
            with progress.within(f"trial {attempt.number + 1} of {settings.trials}{best()}"):
                _run(study, attempt, objective)
    else:
        from modules.tuning.workers import run_parallel

        run_parallel(study, objective, begin, settings, threads, best)
    found = study.best()
    trials = study.trials()
    if found is None:
        raise ConfigError(f"tuning: none of {len(trials)} trials could be scored; the first failed: {trials[0].error}")
    return TuningReport(
        model=model.kind,
        objective=name,
        direction=direction,
        validation=objective.validation,
        folds=objective.folds,
        sampler=settings.sampler,
        pruner=settings.pruner,
        seed=settings.seed,
        workers=settings.workers,
        space=space,
        planned=settings.trials,
        resumed=study.resumed,
        trials=trials,
        best=found,
        importance=study.importance(),
        seconds=round(time.monotonic() - began, 3),
    )


def _run(study: Study, attempt: Attempt, objective: Objective) -> None:
    clock = [time.monotonic()]

    def lap() -> None:
        now = time.monotonic()
        attempt.seconds = round(attempt.seconds + now - clock[0], 3)
        clock[0] = now

    def score(value: float) -> bool:
        lap()
        return study.score(attempt, value)

    error = ""
    try:
        evaluate(objective, attempt.parameters, len(attempt.scores), lambda v: study.step(attempt, v), score)
    except Exception as failure:
        if isinstance(failure, AiqleadsError) and attempt.number == 0:
            raise
        refuse_baseline(attempt.number, failure)
        error = f"{type(failure).__name__}: {failure}"
    lap()
    study.end(attempt, error)
