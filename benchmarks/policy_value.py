"""Do the intervals of the policy value hold the true value as often as they say?

Only generated data can answer: there the conversion probability of every action is known for every decision. Leads of
many generated marketplaces are dealt into data sets; each is evaluated as a log would be, several policies with several
models of the outcome, and each interval is compared with the true value of the policy over the population of decisions.

python -m benchmarks.policy_value --rows 2000
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.off_policy.decisions import Decisions
from modules.off_policy.estimators import ESTIMATORS, Valuation, estimate

LEADS = 2000
DATASETS = 400
FIRST_SEED = 100
MATURE_S = 90 * 86400
_POOL = 50_000

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Log:
    """m decisions of mature leads, with the truth.

    Attributes:
      lead: int64 [m], ascending, unique over all seeds.
      action: int64 [m].
      outcome: float64 [m].
      logging: float64 [m, A], mu.
      conversion: float64 [m, A], q.
    """

    lead: NDArray[np.int64]
    action: NDArray[np.int64]
    outcome: Matrix
    logging: Matrix
    conversion: Matrix

    @property
    def propensity(self) -> Matrix:
        return self.logging[np.arange(len(self.action)), self.action]


@dataclass(frozen=True)
class Cell:
    """One policy, one model of the outcome, one estimator, over all data sets.

    Attributes:
      policy, model, propensities, estimator: what was combined.
      truth: V(pi) of the population.
      gain: V(pi) - V(mu) of the population.
      mean: of the estimates; mean - truth is the bias.
      covered: share of intervals that hold the truth.
      half_width: mean half width of the intervals.
      uplift_covered, uplift_half_width: the same for the uplift on the logging policy.
      spread: standard deviation of the estimates.
      error: mean standard error, to be compared with `spread`.
      effective_sample: median.
    """

    policy: str
    model: str
    propensities: str
    estimator: str
    truth: float
    gain: float
    mean: float
    covered: float
    half_width: float
    uplift_covered: float
    uplift_half_width: float
    spread: float
    error: float
    effective_sample: float


def generate(seed: int, leads: int = _POOL) -> Log:
    """The mature leads of one generated marketplace, in memory. At most 50,000."""
    from modules.marketplace.generate import generate_chunk
    from modules.marketplace.settings import MarketplaceSettings

    settings = MarketplaceSettings(rows=leads, seed=seed)
    chunk = generate_chunk(settings, 0)
    journeys = chunk.journeys
    mature = chunk.leads.time[journeys.lead] < settings.export_time - MATURE_S
    return Log(
        lead=journeys.lead[mature] + seed * _POOL,
        action=journeys.action[mature],
        outcome=journeys.converted[journeys.lead[mature]].astype(np.float64),
        logging=journeys.policy[mature],
        conversion=journeys.conversion[mature],
    )


def policies(log: Log, rng: np.random.Generator) -> dict[str, Matrix]:
    """New policies, [m, A] each: functions of the state and of chance, never of the outcome."""
    q = log.conversion
    actions = np.eye(q.shape[1])
    return {
        "best action": actions[q.argmax(axis=1)],
        "greedy on a noisy model": actions[(q + 0.03 * rng.standard_normal(q.shape)).argmax(axis=1)],
        "half softmax, half logging": 0.5 * softmax(q / 0.03) + 0.5 * log.logging,
        "uniform": np.full(q.shape, 1 / q.shape[1]),
    }


def models(log: Log, rng: np.random.Generator) -> dict[str, Matrix]:
    """Models of the outcome, [m, A] each."""
    q = log.conversion
    return {
        "good": 1 / (1 + np.exp(-(np.log(q / (1 - q)) + 0.2 * rng.standard_normal(q.shape)))),
        "biased": 0.1 + 0.6 * q,
        "constant": np.full(q.shape, 0.15),
    }


def softmax(logits: Matrix) -> Matrix:
    """Rows that sum to 1, [m, A]."""
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def flattened(log: Log, power: float = 0.8) -> Matrix:
    """Propensities of the actions taken as a slightly wrong model would give them: mu^power, normalised, [m]."""
    wrong = log.logging**power
    wrong /= wrong.sum(axis=1, keepdims=True)
    return wrong[np.arange(len(log.action)), log.action]


def deal(log: Log, leads: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Decisions of disjoint data sets of `leads` leads each, drawn at random; what is left over is dropped."""
    numbers, row_lead = np.unique(log.lead, return_inverse=True)
    place = rng.permutation(len(numbers))[row_lead] // leads
    for k in range(len(numbers) // leads):
        yield np.flatnonzero(place == k)


class Tally:
    """Collects estimates of many data sets and the truth of the population.

    Args:
      leads: leads of a data set.
      datasets: how many data sets are wanted.
      only: names of the policies; all of them when absent.
    """

    def __init__(self, leads: int, datasets: int, only: tuple[str, ...] | None = None) -> None:
        self._leads, self._datasets, self._only = leads, datasets, only
        self._found: dict[tuple[str, str, str], list[Valuation]] = defaultdict(list)
        self._truth: dict[str, float] = defaultdict(float)
        self._decisions = 0
        self._done = 0

    @property
    def complete(self) -> bool:
        return self._done >= self._datasets

    def add(self, log: Log, rng: np.random.Generator) -> None:
        """Deals a log into data sets and evaluates each."""
        choices, believed = policies(log, rng), models(log, rng)
        choices = {name: policy for name, policy in choices.items() if self._only is None or name in self._only}
        right, wrong = log.propensity, flattened(log)
        self._decisions += len(log.lead)
        self._truth["logging"] += float((log.logging * log.conversion).sum())
        for name, policy in choices.items():
            self._truth[name] += float((policy * log.conversion).sum())
        logs = {
            (name, model, kind): (Decisions.of(log.outcome, mu, log.action, policy, q_hat, log.lead), cut)
            for name, policy in choices.items()
            for model, q_hat in believed.items()
            for kind, mu, cut in (("logged", right, None), ("wrong", wrong, None), ("cut at 20", right, 20.0))
            if kind == "logged" or model != "biased"
        }
        for rows in deal(log, self._leads, rng):
            if self.complete:
                return
            for key, (decisions, cut) in logs.items():
                self._found[key].append(estimate(decisions[rows], max_weight=cut))
            self._done += 1

    def cells(self) -> list[Cell]:
        """One row per policy, model, kind of propensities and estimator."""
        return [
            self._cell(key, estimator, found)
            for key, found in self._found.items()
            for estimator in ESTIMATORS
            if _looks_at(estimator, key)
        ]

    def _cell(self, key: tuple[str, str, str], estimator: str, found: list[Valuation]) -> Cell:
        truth = self._truth[key[0]] / self._decisions
        gain = truth - self._truth["logging"] / self._decisions
        estimates = [valuation.estimates[estimator] for valuation in found]
        values = np.array([(e.value.value, e.value.standard_error, e.value.low, e.value.high) for e in estimates])
        uplifts = np.array([(e.uplift.low, e.uplift.high) for e in estimates])
        value, error, low, high = values.T
        return Cell(
            *key,
            estimator=estimator,
            truth=truth,
            gain=gain,
            mean=float(value.mean()),
            covered=float(((low <= truth) & (truth <= high)).mean()),
            half_width=float((high - low).mean() / 2),
            uplift_covered=float(((uplifts[:, 0] <= gain) & (gain <= uplifts[:, 1])).mean()),
            uplift_half_width=float(np.diff(uplifts, axis=1).mean() / 2),
            spread=float(value.std(ddof=1)),
            error=float(error.mean()),
            effective_sample=float(np.median([v.weights.effective_sample for v in found])),
        )


def _looks_at(estimator: str, key: tuple[str, str, str]) -> bool:
    """What does not look at the model, or at the propensities, is shown once."""
    _, model, propensities = key
    return {"ips": model == "good", "snips": model == "good", "dm": propensities == "logged"}.get(estimator, True)


def run(rows: int | None = None, as_json: bool = False, datasets: int = DATASETS) -> dict[str, Any]:
    """Evaluates several policies on many data sets.

    Args:
      rows: leads of a data set, 2,000 by default; at most 40,000.
      as_json: print nothing.
      datasets: how many.

    Returns:
      leads, datasets and cells, a list of `Cell` as dicts.
    """
    leads = rows or LEADS
    tally, seed = Tally(leads, datasets), FIRST_SEED
    while not tally.complete:
        tally.add(generate(seed), np.random.default_rng(seed))
        seed += 1
    cells = tally.cells()
    if not as_json:
        print(f"{datasets} data sets of {leads:,} leads; nominal coverage 95 %")
        for cell in cells:
            print(
                f"{cell.policy:28}{cell.propensities:10}{cell.model:10}{cell.estimator:6}"
                f"truth {cell.truth:.4f} {cell.gain:+.4f}  mean {cell.mean:.4f}  "
                f"covered {cell.covered:6.1%} +-{cell.half_width:.4f}  "
                f"uplift {cell.uplift_covered:6.1%} +-{cell.uplift_half_width:.4f}  "
                f"se/spread {cell.error / cell.spread:.2f}  effective sample {cell.effective_sample:,.0f}"
            )
    return {"leads": leads, "datasets": datasets, "cells": [asdict(cell) for cell in cells]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=LEADS)
    parser.add_argument("--datasets", type=int, default=DATASETS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    answer = run(arguments.rows, arguments.json, arguments.datasets)
    if arguments.json:
        print(json.dumps(answer))
