"""Which split a journey belongs to: thresholds over all journeys, then a pure function of the journey."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules.ingest.split import CALIBRATION, TEST, TRAIN, VALIDATION, Shares, hash_limits
from modules.journeys.dataset import JourneyDataset

PLAN_FILE = "plan.json"

Position = tuple[int, int]
"""Where a journey stands: microseconds since 1970 UTC at which it began (0 for `order`), and its first row."""


@dataclass(frozen=True)
class JourneyPlan:
    """Everything about the whole table that a journey's split and outcome depend on.

    Attributes:
      as_of: seconds since 1970 UTC; the date of the export. None if no event was read.
      test_from, calibration_from, validation_from: the first position of these splits; None if they are not decided
        by position or hold nothing.
    """

    as_of: int | None = None
    test_from: Position | None = None
    calibration_from: Position | None = None
    validation_from: Position | None = None


def needs_positions(dataset: JourneyDataset) -> bool:
    return dataset.split.method != "hash"


def limits(dataset: JourneyDataset, validation_split: float) -> tuple[int, int, int]:
    """Hashes below these are test, calibration, validation, as far as the hash decides."""
    shares = _shares(dataset, validation_split)
    return hash_limits(shares if dataset.split.method == "hash" else shares.without_test())


def _shares(dataset: JourneyDataset, validation_split: float) -> Shares:
    test, calibration = dataset.split.test, dataset.split.calibration
    return Shares(test, calibration, (1 - test - calibration) * validation_split)


def make_plan(
    dataset: JourneyDataset, validation_split: float, as_of: int | None, begin: np.ndarray, first: np.ndarray
) -> JourneyPlan:
    """Thresholds such that the first floor(share x N) of N journeys lie before them.

    Args:
      dataset: how journeys are split.
      validation_split: share of what is neither test nor calibration.
      as_of: seconds; date of the newest event, unless the dataset says it.
      begin: int64 [N], microseconds at which each journey began.
      first: int64 [N], its first row in the files: what decides between journeys that began together.
    """
    as_of = _as_of(dataset) if dataset.as_of is not None else as_of
    if not needs_positions(dataset):
        return JourneyPlan(as_of)
    begin = np.zeros_like(begin) if dataset.split.method == "order" else begin
    order = np.lexsort((first, begin))

    def position(share: float) -> Position | None:
        rank = math.floor(len(order) * share + 1e-9)
        return (int(begin[order[rank]]), int(first[order[rank]])) if rank < len(order) else None

    shares = _shares(dataset, validation_split)
    test_from = position(1 - shares.test)
    if dataset.split.inner == "hash":
        return JourneyPlan(as_of, test_from)
    before = 1 - shares.test - shares.calibration
    return JourneyPlan(as_of, test_from, position(before), position(before - shares.validation))


def keep_plan(plan: JourneyPlan, folder: str) -> None:
    """Keeps the plan in the staging folder."""
    (Path(folder) / PLAN_FILE).write_text(json.dumps(dataclasses.asdict(plan)))


def read_plan(folder: str) -> JourneyPlan:
    """The plan that was kept."""
    values = json.loads((Path(folder) / PLAN_FILE).read_text())
    as_of = values.pop("as_of")
    return JourneyPlan(as_of, **{name: (v[0], v[1]) if v else None for name, v in values.items()})


def _as_of(dataset: JourneyDataset) -> int:
    assert dataset.as_of is not None
    moment = dataset.as_of
    return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def assign(
    dataset: JourneyDataset, plan: JourneyPlan, by_hash: np.ndarray, begin: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """Split of each journey, int8 [journeys]: index into SPLITS.

    Args:
      dataset: how journeys are split.
      plan: thresholds.
      by_hash: int8 [journeys], what the hash of the id says.
      begin: int64 [journeys], microseconds.
      first: int64 [journeys], first row in the files.
    """
    if not needs_positions(dataset):
        return by_hash
    if dataset.split.method == "order":
        begin = np.zeros_like(begin)
    part = by_hash
    if dataset.split.inner == "same":
        part = np.full(len(begin), TRAIN, np.int8)
        part = np.where(_from(plan.validation_from, begin, first), np.int8(VALIDATION), part)
        part = np.where(_from(plan.calibration_from, begin, first), np.int8(CALIBRATION), part)
    return np.where(_from(plan.test_from, begin, first), np.int8(TEST), part)


def _from(position: Position | None, begin: np.ndarray, first: np.ndarray) -> np.ndarray:
    if position is None:
        return np.zeros(len(begin), bool)
    return (begin > position[0]) | ((begin == position[0]) & (first >= position[1]))
