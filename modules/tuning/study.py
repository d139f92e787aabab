"""The trials of one search: what is tried next, what is pruned, and how all of it outlives a killed process.

Every trial draws from a generator of its own, seeded by the seed of the search and the trial's number. So the next
trial depends on the trials before it and on nothing else, and a search that was killed goes on as if it had not been:
the trial that was running keeps its number, its values and the folds that it had.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from modules.tuning.journal import open_journal
from modules.tuning.report import TrialReport
from modules.tuning.settings import Direction, TuningSettings
from modules.tuning.space import Space, contains, decode, distributions, encode

RANDOM_TRIALS = 10
"""Trials before the sampler learns from them."""
PRUNED_FROM = 5
"""Complete trials before the median prunes."""
FIRST_STEP = 3
"""Within a fold the median prunes from this step on: the first epochs say little."""
PRUNING_P = 0.1
"""Wilcoxon: how unlikely it must be that a trial is as good as the best."""

_STATES: dict[TrialState, Any] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_STUDY = "tuning"

optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()


@dataclass(eq=False)
class Attempt:
    """A trial that is running.

    Attributes:
      parameters: value by setting.
      scores: of the folds that are done.
      curve: best score so far after each step within a single fold.
      seconds: of evaluation up to now.
    """

    trial: optuna.Trial
    parameters: dict[str, Any]
    scores: list[float] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def number(self) -> int:
        return self.trial.number


class Study:
    """Trials of one space against one objective, in a journal or in memory."""

    def __init__(
        self,
        settings: TuningSettings,
        space: Space,
        direction: Direction,
        baseline: Mapping[str, Any],
        folds: int,
        folder: Path | None = None,
    ) -> None:
        """Opens the study.

        Args:
          settings: sampler, pruner, seed, number of trials.
          space: of `space.resolve`.
          direction: which way scores are better.
          baseline: the configured value of each setting of the space: trial 0.
          folds: scores that make a trial complete.
          folder: of the journal, for this very search alone; None: in memory.
        """
        self._settings, self._space, self._baseline, self._folds = settings, space, dict(baseline), folds
        self._direction: Direction = direction
        self._distributions = distributions(space)
        self._study = optuna.create_study(
            study_name=_STUDY,
            storage=None if folder is None else open_journal(folder),
            pruner=_pruner(settings.pruner, folds),
            direction=direction,
            load_if_exists=True,
        )
        self._running: dict[int, Attempt] = {}
        self.resumed = len(self._finished())

    def begin(self) -> Attempt | None:
        """The next trial, or the one that a killed search left; None when all that were asked for have begun."""
        trials = self._study.get_trials(deepcopy=False)
        left = [t for t in trials if t.state == TrialState.RUNNING and t.number not in self._running]
        if left:
            return self._go_on(left[0])
        known = self._baseline_in_space()
        if not trials:
            self._study.enqueue_trial(known)
        number = sum(t.state != TrialState.WAITING for t in trials)
        if number >= self._settings.trials:
            return None
        self._reseed(number)
        asked = self._distributions if number else {name: self._distributions[name] for name in known}
        return self._begun(self._study.ask(asked))

    def step(self, attempt: Attempt, score: float) -> bool:
        """Notes a score within the only fold, such as an epoch's; whether the trial is worth going on."""
        if self._folds > 1:
            return True
        best = max if self._direction == "maximize" else min
        attempt.curve.append(best([score, *attempt.curve[-1:]]))
        return self._worth_it(attempt, len(attempt.curve), attempt.curve[-1])

    def score(self, attempt: Attempt, score: float) -> bool:
        """Notes the score of a fold; whether the trial is worth its next fold."""
        if not math.isfinite(score):
            raise ValueError(f"fold {len(attempt.scores)} scored {score}")
        attempt.scores.append(score)
        self._note(attempt)
        done = len(attempt.scores)
        if done == self._folds:
            return False
        return self._worth_it(attempt, done, score if self._settings.pruner == "wilcoxon" else _mean(attempt.scores))

    def end(self, attempt: Attempt, error: str = "") -> None:
        """Ends a trial: complete with a score of every fold, failed with an error, pruned otherwise."""
        self._running.pop(attempt.number, None)
        self._note(attempt)
        if error:
            attempt.trial.set_user_attr("error", error)
            self._study.tell(attempt.trial, state=TrialState.FAIL)
        elif len(attempt.scores) == self._folds:
            self._study.tell(attempt.trial, _mean(attempt.scores))
        else:
            self._study.tell(attempt.trial, state=TrialState.PRUNED)

    def trials(self) -> tuple[TrialReport, ...]:
        """All trials that ended, by number, as far as they were asked for."""
        return tuple(_report(t) for t in self._finished())

    def best(self) -> int | None:
        """Number of the best complete trial, the lowest of equals."""
        complete = [t for t in self._finished() if t.state == TrialState.COMPLETE]
        if not complete:
            return None
        sign = -1.0 if self._direction == "maximize" else 1.0
        return min(complete, key=lambda t: (sign * float(t.value or 0.0), t.number)).number

    def importance(self) -> dict[str, float]:
        """Share of each setting in what separates the better half of the trials from the others; largest first."""
        complete = [
            t for t in self._finished() if t.state == TrialState.COMPLETE and t.params.keys() == self._space.keys()
        ]
        values = {t.value for t in complete}
        if len(complete) < RANDOM_TRIALS or len(values) < 3:
            return {}
        study = optuna.create_study(direction=self._direction)
        study.add_trials(complete)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    def _finished(self) -> list[FrozenTrial]:
        found = self._study.get_trials(deepcopy=False, states=tuple(_STATES))
        return [t for t in sorted(found, key=lambda t: t.number) if t.number < self._settings.trials]

    def _go_on(self, left: FrozenTrial) -> Attempt:
        self._reseed(left.number)
        trial = optuna.Trial(self._study, left._trial_id)
        wanted = self._distributions if left.number else self._baseline_in_space()
        for name in wanted:  # killed before all were noted, the sampler gives the same again
            trial._suggest(name, self._distributions[name])
        attempt = self._begun(trial)
        attempt.scores = list(left.user_attrs.get("scores", ()))
        attempt.seconds = left.user_attrs.get("seconds", 0.0)
        return attempt

    def _begun(self, trial: optuna.Trial) -> Attempt:
        values = {name: decode(self._space[name], value) for name, value in trial.params.items()}
        parameters = {name: values.get(name, self._baseline.get(name)) for name in self._space}
        trial.set_user_attr("parameters", parameters)
        attempt = Attempt(trial, parameters)
        self._running[trial.number] = attempt
        return attempt

    def _baseline_in_space(self) -> dict[str, Any]:
        """What a search could have tried of the configured values; the sampler learns from these alone."""
        return {name: encode(p, self._baseline[name]) for name, p in self._space.items()
                if contains(p, self._baseline[name])}  # fmt: skip

    def _reseed(self, number: int) -> None:
        seed = int(np.random.SeedSequence([self._settings.seed, number]).generate_state(1)[0])
        if self._settings.sampler == "random":
            self._study.sampler = optuna.samplers.RandomSampler(seed)
            return
        self._study.sampler = _Parzen(self._distributions, seed, liar=self._settings.workers > 1)

    def _worth_it(self, attempt: Attempt, step: int, value: float) -> bool:
        with warnings.catch_warnings():  # a trial that a killed search left reports its steps again
            warnings.simplefilter("ignore")
            attempt.trial.report(value, step)
            return not attempt.trial.should_prune()

    def _note(self, attempt: Attempt) -> None:
        for name in ("scores", "curve", "seconds"):
            attempt.trial.set_user_attr(name, getattr(attempt, name))


class _Parzen(optuna.samplers.TPESampler):
    """Multivariate from the first trial on, and over the whole space: Optuna infers it from the trials there are, and
    a baseline that lies outside would shrink it."""

    def __init__(self, space: Mapping[str, BaseDistribution], seed: int, *, liar: bool) -> None:
        self._whole = {name: found for name, found in space.items() if not found.single()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(n_startup_trials=RANDOM_TRIALS, multivariate=True, constant_liar=liar, seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._whole


class _Median(optuna.pruners.BasePruner):
    """Prunes what is worse than the median of the complete trials at the same step.

    Optuna's own compares the best of a trial's steps with the others' median, which suits curves but not means over
    folds: a lucky first fold would keep a trial for good.
    """

    def __init__(self, first_step: int) -> None:
        self._first_step = first_step

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None or step < self._first_step:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < PRUNED_FROM:
            return False
        others = [t.intermediate_values[step] for t in complete if step in t.intermediate_values]
        if not others:
            return False
        value, median = trial.intermediate_values[step], float(np.median(others))
        return value < median if study.direction == optuna.study.StudyDirection.MAXIMIZE else value > median


def _pruner(name: str, folds: int) -> optuna.pruners.BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "median":
            return _Median(1 if folds > 1 else FIRST_STEP)
        if name == "halving":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        if name == "wilcoxon" and folds > 1:
            return optuna.pruners.WilcoxonPruner(p_threshold=PRUNING_P)
        return optuna.pruners.NopPruner()


def _report(trial: FrozenTrial) -> TrialReport:
    known = trial.user_attrs
    scores: Sequence[float] = known.get("scores", ())
    curve: Sequence[float] = known.get("curve", ())
    score = _mean(scores) if scores else (curve[-1] if curve else None)
    return TrialReport(
        number=trial.number,
        state=_STATES[trial.state],
        parameters=known.get("parameters", {}),
        scores=tuple(scores),
        curve=tuple(curve),
        score=score,
        seconds=known.get("seconds", 0.0),
        error=known.get("error", ""),
    )


def _mean(scores: Sequence[float]) -> float:
    return float(np.mean(scores))


logging.getLogger("optuna").setLevel(logging.WARNING)
