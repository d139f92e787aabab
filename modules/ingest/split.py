"""Which split a row belongs to: thresholds from a first pass over a few columns, then a pure function of the row."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute

from modules.dataset import SPLITS, Dataset
from modules.ingest import convert
from modules.ingest.hashing import hash64
from modules.ingest.layout import wanted_columns
from modules.ingest.raw import RawBlock
from modules.ingest.typed import MonthState, TypedBlock, after, identity, month_seconds, month_steps

TRAIN, VALIDATION, CALIBRATION, TEST = range(4)
IMMATURE, GAP = -1, -2
DAY = 86_400

Key = tuple[int, ...]
"""Place of a block in the table: number of its file, of its unit and of the block."""


@dataclass(frozen=True)
class Shares:
    """Shares of all rows; train gets the rest."""

    test: float
    calibration: float
    validation: float

    @classmethod
    def of(cls, dataset: Dataset, validation_split: float) -> Shares:
        test, calibration = dataset.split.test, dataset.split.calibration
        return cls(test, calibration, (1 - test - calibration) * validation_split)

    def without_test(self) -> Shares:
        """The same within what is not test."""
        rest = 1 - self.test
        return Shares(0, self.calibration / rest, self.validation / rest)


@dataclass(frozen=True)
class SplitPlan:
    """Everything about the whole table that a row's split depends on.

    Attributes:
      as_of: seconds; the date of the export.
      mature_until: seconds; leads newer than this are left out.
      test_from, calibration_from, validation_from: time (seconds) or row number from which these splits begin.
      gap_from: seconds; rows from here to `test_from` are left out.
      hash_limits: [class][3] uint64: a hash below the first is test, the second calibration, the third validation.
      months: MonthState per block for tables in order of month.
      first_record: record number per block of the block's first record, for tables in order of time.
    """

    as_of: int | None = None
    mature_until: int | None = None
    test_from: int | None = None
    gap_from: int | None = None
    calibration_from: int | None = None
    validation_from: int | None = None
    hash_limits: tuple[tuple[int, int, int], ...] = ()
    months: dict[Key, MonthState] = field(default_factory=dict)
    first_record: dict[Key, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BlockSummary:
    """What the first pass keeps of a block: arrays over its rows where something needs them."""

    records: int
    times: np.ndarray | None = None
    counts: np.ndarray | None = None
    hashes: np.ndarray | None = None
    positive: np.ndarray | None = None
    months: tuple[int, int, int] | None = None
    month_numbers: np.ndarray | None = None


def first_pass_columns(dataset: Dataset) -> tuple[str, ...]:
    """Columns that the first pass reads; empty if no first pass is needed."""
    needed: set[str | None] = set()
    time, method = dataset.time, dataset.split.method
    stratify = method == "hash" and dataset.split.stratify
    immature = dataset.label_maturity_days > 0
    if time is not None and time.month_order is not None:
        needed.add(time.month_order.column)
    elif time is not None and (
        method == "time" or (immature and (dataset.as_of is None or method == "order" or stratify))
    ):
        needed.add(time.column)
    if stratify:
        needed |= {dataset.label.column, dataset.id}
    wanted = wanted_columns(dataset)
    if not needed and method == "order":
        # Only rows are counted; any column will do.
        return (next(iter(wanted)),)
    return tuple(column for column in wanted if column in needed)


def summarise(dataset: Dataset, raw: RawBlock) -> BlockSummary:
    """The first pass over a block."""
    times = counts = hashes = positive = months = numbers = None
    stratify = dataset.split.method == "hash" and dataset.split.stratify
    keep = np.ones(raw.rows, bool)
    if stratify:
        label, wrong = convert.labels(raw.columns[dataset.label.column], dataset.label.positive, dataset.label.negative)
        keep &= ~wrong if wrong is not None else True
        positive = label.fill_null(0).to_numpy(zero_copy_only=False).astype(bool)
        hashes = hash64(identity(dataset, raw), dataset.split.seed)
    if dataset.time is not None:
        if dataset.time.month_order is not None:
            number, wrong = convert.months(raw.columns[dataset.time.month_order.column])
            months = month_steps(number)
            numbers = number.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int8)
            keep &= ~wrong if wrong is not None else True
        elif dataset.time.column in raw.columns:
            seconds, wrong = convert.times(raw.columns[dataset.time.column], dataset.time.format)
            keep &= ~wrong if wrong is not None else True
            times = seconds.fill_null(0).to_numpy(zero_copy_only=False)
    if times is not None:
        times = times[keep]
    if hashes is not None and positive is not None:
        hashes, positive = hashes[keep], positive[keep]
        numbers = numbers[keep] if numbers is not None else None
    elif times is not None:
        times, counts = np.unique(times, return_counts=True)
    return BlockSummary(raw.records, times, counts, hashes, positive, months, numbers)


def make_plan(dataset: Dataset, validation_split: float, summaries: list[tuple[Key, BlockSummary]]) -> SplitPlan:
    """Thresholds from the first pass, `summaries` being (place of the block, summary), or from shares alone."""
    shares = Shares.of(dataset, validation_split)
    split = dataset.split
    ordered = sorted(summaries, key=lambda item: item[0])
    months, first_record = _sequence(dataset, ordered)
    blocks = [_with_times(summary, months.get(key)) for key, summary in ordered]
    as_of = dataset.as_of_seconds
    timed = [b.times for b in blocks if b.times is not None and len(b.times)]
    if as_of is None and timed:
        as_of = max(int(t.max()) for t in timed)
    mature_until = None
    if dataset.label_maturity_days and as_of is not None:
        mature_until = math.floor(as_of - dataset.label_maturity_days * DAY)
    limits: tuple[tuple[int, int, int], ...]
    test_from = gap_from = calibration_from = validation_from = None
    if split.method == "hash":
        limits = _class_limits(shares, blocks, mature_until) if split.stratify else (hash_limits(shares),)
    else:
        inner = shares.without_test() if split.method != "column" else _unmapped(dataset, validation_split)
        limits = (hash_limits(inner),)
    if split.method in ("time", "order"):
        if split.method == "time":
            quantile = _time_quantile(blocks, mature_until)
        else:
            mature = _mature_share(blocks, mature_until)
            rows = round(sum(b.records for b in blocks) * mature)
            quantile = lambda share: math.ceil(rows * share - 1e-9)  # noqa: E731
        test_from = quantile(1 - shares.test)
        if split.method == "time" and split.gap_days and test_from is not None:
            gap_from = math.floor(test_from - split.gap_days * DAY)
        if split.inner == "same":
            calibration_from = quantile(1 - shares.test - shares.calibration)
            validation_from = quantile(1 - shares.test - shares.calibration - shares.validation)
    return SplitPlan(
        as_of, mature_until, test_from, gap_from, calibration_from, validation_from, limits, months, first_record
    )


def _unmapped(dataset: Dataset, validation_split: float) -> Shares:
    """Shares, of the rows mapped to train, of the splits that no value of the split column maps to."""
    mapped = set(dataset.split.values.values())
    calibration = 0.0 if "calibration" in mapped else dataset.split.calibration
    validation = 0.0 if "validation" in mapped else (1 - calibration) * validation_split
    return Shares(0, calibration, validation)


def hash_limits(shares: Shares) -> tuple[int, int, int]:
    """uint64 below which a hash is test, calibration, validation."""
    top = 2**64 - 1
    sums = (shares.test, shares.test + shares.calibration, shares.test + shares.calibration + shares.validation)
    a, b, c = (min(int(s * 2**64), top) for s in sums)
    return a, b, c


def _class_limits(
    shares: Shares, blocks: list[BlockSummary], mature_until: int | None
) -> tuple[tuple[int, int, int], ...]:
    """Limits per class such that each split gets its exact share of it, up to rounding and repeated ids."""
    result = []
    for positive in (False, True):
        parts = []
        for b in blocks:
            assert b.hashes is not None and b.positive is not None
            keep = b.positive == positive
            if mature_until is not None and b.times is not None:
                keep &= b.times <= mature_until
            parts.append(b.hashes[keep])
        hashes = np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
        n = len(hashes)
        limit = []
        for share in np.cumsum([shares.test, shares.calibration, shares.validation]):
            rank = round(n * float(share))
            limit.append(int(hashes[rank]) if rank < n else 2**64 - 1)
        result.append((limit[0], limit[1], limit[2]))
    return tuple(result)


def _with_times(block: BlockSummary, month: MonthState | None) -> BlockSummary:
    if month is None or block.month_numbers is None:
        return block
    number = pa.array(block.month_numbers, pa.int64(), mask=block.month_numbers == 0)
    seconds = month_seconds(number, month)
    if block.hashes is not None:
        return BlockSummary(block.records, seconds, None, block.hashes, block.positive)
    times, counts = np.unique(seconds[block.month_numbers > 0], return_counts=True)
    return BlockSummary(block.records, times, counts)


def _sequence(
    dataset: Dataset, ordered: list[tuple[Key, BlockSummary]]
) -> tuple[dict[Key, MonthState], dict[Key, int]]:
    """State before each block: month and year, and number of records."""
    months: dict[Key, MonthState] = {}
    first: dict[Key, int] = {}
    order = dataset.time.month_order if dataset.time else None
    state = MonthState(order.first_year if order else 0)
    records = 0
    for key, block in ordered:
        if order is not None:
            months[key] = state
            state = after(state, block.months)
        first[key] = records
        records += block.records
    return months, first if dataset.split.method == "order" else {}


def _mature_times(blocks: list[BlockSummary], mature_until: int | None) -> tuple[np.ndarray, np.ndarray]:
    timed = [b for b in blocks if b.times is not None]
    empty = np.zeros(0, np.int64)
    times = np.concatenate([empty, *(b.times for b in timed if b.times is not None)])
    counts = np.concatenate([empty, *(b.counts for b in timed if b.counts is not None)])
    order = np.argsort(times, kind="stable")
    times, counts = times[order], counts[order]
    if mature_until is not None:
        keep = times <= mature_until
        times, counts = times[keep], counts[keep]
    return times, counts


def _time_quantile(blocks: list[BlockSummary], mature_until: int | None):
    """share -> the time before which that share of the rows lies."""
    times, counts = _mature_times(blocks, mature_until)
    total = np.cumsum(counts)

    def quantile(share: float) -> int | None:
        if not len(times):
            return None
        rank = math.ceil(int(total[-1]) * share - 1e-9)
        if rank >= total[-1]:
            return int(times[-1]) + 1
        return int(times[np.searchsorted(total, rank, side="right")])

    return quantile


def _mature_share(blocks: list[BlockSummary], mature_until: int | None) -> float:
    if mature_until is None:
        return 1.0
    _, every = _mature_times(blocks, None)
    _, mature = _mature_times(blocks, mature_until)
    return float(mature.sum() / every.sum()) if len(every) else 1.0


def assign(dataset: Dataset, plan: SplitPlan, block: TypedBlock, key: Key) -> np.ndarray:
    """Split of each row, int8 [rows]: index into SPLITS, or IMMATURE or GAP for rows that are left out.

    All leads younger than `label_maturity_days` are left out, converted or not: to keep the ones that converted
    early and drop those that may still do would raise the share of conversions.
    """
    part = np.full(block.rows, TRAIN, np.int8)
    hashes = hash64(block.identity, dataset.split.seed)
    seconds = block.columns[dataset.time_feature].to_numpy() if dataset.time_feature else None
    limits = np.array(plan.hash_limits, np.uint64)
    which = np.zeros(block.rows, np.int64)
    if len(limits) > 1:
        which = block.columns[dataset.label_feature].to_numpy()
    limits = limits[which]
    by_hash = np.select(
        [hashes < limits[:, 0], hashes < limits[:, 1], hashes < limits[:, 2]], [TEST, CALIBRATION, VALIDATION], TRAIN
    ).astype(np.int8)
    method = dataset.split.method
    if method == "hash":
        part = by_hash
    elif method == "column":
        assert block.split_value is not None
        values = list(dataset.split.values)
        found = pa.compute.index_in(block.split_value, pa.array([v.encode() for v in values], pa.large_binary()))
        part = np.array([SPLITS.index(dataset.split.values[v]) for v in values], np.int8)[found.to_numpy()]
        part = np.where(part == TRAIN, by_hash, part)
    else:
        if method == "time":
            assert seconds is not None
            position = seconds
        else:
            position = block.index + plan.first_record[key]
        if dataset.split.inner == "same":
            assert plan.calibration_from is not None and plan.validation_from is not None
            part = np.where(
                position >= plan.calibration_from,
                CALIBRATION,
                np.where(position >= plan.validation_from, VALIDATION, TRAIN),
            ).astype(np.int8)
        else:
            part = by_hash
        if plan.gap_from is not None:
            part = np.where(position >= plan.gap_from, GAP, part)
        part = np.where(position >= plan.test_from, TEST, part)
    if plan.mature_until is not None:
        assert seconds is not None
        part = np.where(seconds > plan.mature_until, IMMATURE, part)
    return part.astype(np.int8)
