"""Typed blocks: what every reader of a dataset's rows sees, training and batch prediction alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute

from modules.dataset import Dataset
from modules.features import Kind
from modules.ingest import convert, dates, hashing
from modules.ingest.quarantine import BadRow, Reason, shown
from modules.ingest.raw import RawBlock, row_fields
from modules.ingest.sources import SourceFile


@dataclass(frozen=True)
class MonthState:
    """Where a block of rows without a year begins: the year, and the month of the last row before it (0: none)."""

    year: int
    month: int = 0


@dataclass(frozen=True)
class TypedBlock:
    """Good rows of some consecutive records of a file.

    Attributes:
      file: where they come from.
      columns: name in tf.Examples -> array [rows]: features float32 or large_binary (dates as ISO 8601) with null for
        missing, id large_binary, time int64 seconds, label int64; hashed personal columns large_binary.
      rows: number of good rows.
      records: number of records in the block, bad ones included.
      index: int64 [rows], which record of the block each row is.
      identity: large_binary [rows], the id that decides the split, before any hashing of personal data.
      split_value: large_binary [rows] when the file itself says which split a row belongs to.
      bad: quarantined rows.
    """

    file: SourceFile
    columns: dict[str, pa.Array]
    rows: int
    records: int
    index: np.ndarray
    identity: pa.Array
    split_value: pa.Array | None
    bad: tuple[BadRow, ...]

    def batch(self) -> pa.RecordBatch:
        """The columns as a record batch."""
        return pa.RecordBatch.from_arrays(list(self.columns.values()), list(self.columns))


class Problems:
    """The first problem of each row, in the order in which columns are judged."""

    def __init__(self, dataset: Dataset, raw: RawBlock) -> None:
        self.dataset, self.raw = dataset, raw
        self.found: dict[int, tuple[Reason, str, str]] = {}

    def add(self, wrong: np.ndarray | None, reason: Reason, column: str, expected: str) -> None:
        if wrong is None:
            return
        for row in np.flatnonzero(wrong).tolist():
            if row not in self.found:
                value = shown(self.raw.columns[column][row].as_py(), bool(self.dataset.personal_data))
                what = "nothing" if value is None or value == "" else repr(value[:80])
                self.found[row] = (reason, column, f"{column} is {what}, expected {expected}")

    def rows(self) -> list[BadRow]:
        if not self.found:
            return []
        lines = self.raw.row_lines()
        return [
            BadRow(
                self.raw.file.path, int(lines[row]), reason, message, column,
                row_fields(self.dataset, self.raw.columns, row),
            )
            for row, (reason, column, message) in sorted(self.found.items())
        ]  # fmt: skip


def type_block(
    dataset: Dataset,
    raw: RawBlock,
    with_label: bool = True,
    month: MonthState | None = None,
    key: bytes | None = None,
) -> TypedBlock:
    """Converts a block's columns and leaves out the rows with a value that cannot be read.

    Args:
      dataset: says what the columns mean.
      raw: the block.
      with_label: whether to read label and split column.
      month: for tables in order of month, the state before the block.
      key: secret for hashing personal data, when the dataset asks for it.
    """
    problems = Problems(dataset, raw)
    columns: dict[str, pa.Array] = {}
    who = identity(dataset, raw)
    if dataset.id is not None:
        problems.add(_nulls(who), Reason.ID, dataset.id, "an id")
    if with_label:
        label = dataset.label
        columns[dataset.label_feature], wrong = convert.labels(
            raw.columns[label.column], label.positive, label.negative
        )
        problems.add(wrong, Reason.LABEL, label.column, f"one of {', '.join((*label.positive, *label.negative))}")
    if dataset.time is not None and dataset.time_feature is not None and has_time(dataset, raw):
        if dataset.time.column is not None:
            seconds, wrong = convert.times(raw.columns[dataset.time.column], dataset.time.format)
            expected = f"a date like {dataset.time.format or dates.EXAMPLE}"
            problems.add(wrong, Reason.TIME, dataset.time.column, expected)
        else:
            order = dataset.time.month_order
            assert order is not None and month is not None
            number, wrong = convert.months(raw.columns[order.column])
            problems.add(wrong, Reason.TIME, order.column, "a month")
            seconds = pa.array(month_seconds(number, month))
        columns[dataset.time_feature] = seconds
    split_value = None
    if with_label and dataset.split.method == "column" and dataset.split.column is not None:
        split_value = convert.words(raw.columns[dataset.split.column])
        known = pa.array([v.encode() for v in dataset.split.values], split_value.type)
        wrong = ~np.asarray(pa.compute.is_in(split_value, known))
        problems.add(wrong, Reason.SPLIT, dataset.split.column, f"one of {', '.join(dataset.split.values)}")
    for feature in dataset.table:
        values = raw.columns[feature.source]
        if feature.kind is Kind.NUMERIC:
            columns[feature.name], wrong = convert.numbers(values, feature.missing_values)
            problems.add(wrong, Reason.NUMBER, feature.source, "a number")
        elif feature.kind is Kind.DATE:
            columns[feature.name], wrong = dates.dates(values, feature.format, feature.missing_values)
            problems.add(wrong, Reason.TIME, feature.source, f"a date like {feature.format or dates.EXAMPLE}")
        else:
            columns[feature.name] = convert.words(values, feature.missing_values)
    hidden_id = False
    for person in dataset.personal_data:
        if person.action == "hash" and person.column in raw.columns:
            assert key is not None
            hidden_id |= person.column == dataset.id
            name = dataset.id_feature if person.column == dataset.id else person.name or person.column
            columns[name] = hashing.hash_personal(convert.words(raw.columns[person.column]), key)
    if not hidden_id:
        columns[dataset.id_feature] = who
    index = np.arange(raw.rows) if raw.index is None else raw.index
    bad = problems.rows()
    rows = raw.rows
    if bad:
        good = np.ones(raw.rows, bool)
        good[list(problems.found)] = False
        keep = pa.array(good)
        columns = {name: column.filter(keep) for name, column in columns.items()}
        who, index, rows = who.filter(keep), index[good], int(good.sum())
        split_value = split_value.filter(keep) if split_value is not None else None
    bad = sorted([*raw.bad, *bad], key=lambda b: b.line)
    return TypedBlock(raw.file, columns, rows, raw.records, index, who, split_value, tuple(bad))


def has_time(dataset: Dataset, raw: RawBlock) -> bool:
    """Whether the block carries the column that tells the time."""
    if dataset.time is None:
        return False
    order = dataset.time.month_order
    return (order.column if order else dataset.time.column) in raw.columns


def identity(dataset: Dataset, raw: RawBlock) -> pa.Array:
    """The id of each row, large_binary [rows]: its column, or file name and line number when the table has none."""
    if dataset.id is not None:
        return convert.words(raw.columns[dataset.id])
    lines = pa.array(raw.row_lines()).cast(pa.string())
    return pa.compute.binary_join_element_wise(pa.scalar(raw.file.name), lines, ":").cast(pa.large_binary())


def _nulls(values: pa.Array) -> np.ndarray | None:
    return np.asarray(values.is_null()) if values.null_count else None


def month_steps(number: pa.Array) -> tuple[int, int, int] | None:
    """First month, last month and number of steps back of a block; None if it has no month."""
    known = number.drop_null().to_numpy()
    if not len(known):
        return None
    return int(known[0]), int(known[-1]), int((np.diff(known) < 0).sum())


def after(state: MonthState, block: tuple[int, int, int] | None) -> MonthState:
    """Year and month after a block, given its first month, last month and number of steps back."""
    if block is None:
        return state
    first, last, steps = block
    return MonthState(state.year + steps + (first < state.month), last)


def month_seconds(number: pa.Array, before: MonthState) -> np.ndarray:
    """Seconds since 1970 UTC, int64 [n], of the first day of each month; the year grows when the month steps back."""
    valid = np.asarray(number.is_valid())
    known = number.drop_null().to_numpy()
    previous = np.concatenate([[before.month], known[:-1]])
    year = before.year + np.cumsum(known < previous)
    first_day = ((year - 1970) * 12 + known - 1).astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
    seconds = np.zeros(len(number), np.int64)
    seconds[valid] = first_day
    return seconds
