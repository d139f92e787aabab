"""Blocks of the two tables become typed columns; rows that cannot be read are marked, not guessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.features import Feature, Kind
from modules.ingest import convert
from modules.ingest.hashing import hash64, hash_personal
from modules.ingest.quarantine import BadRow, Reason
from modules.ingest.raw import RawBlock
from modules.ingest.split import CALIBRATION, TEST, TRAIN, VALIDATION
from modules.ingest.typed import Problems
from modules.journeys.dataset import JourneyDataset, Outcome
from modules.journeys.tables import EVENTS, Table, carried_features, hashes_id

LEAD, MICROS, ROW, ACTION, PROPENSITY, CONVERTED, BY_HASH = (
    "lead", "micros", "row", "action", "propensity", "converted", "by_hash",
)  # fmt: skip
"""Columns of a typed table: large_binary id (hashed if personal); int64 microseconds since 1970 UTC; int64 number of
the record in its unit; large_binary; float32; int8 1, 0 or null; int8 the split that the hash of the id decides."""


def event_column(feature: Feature) -> str:
    return f"event:{feature.name}"


def lead_column(feature: Feature) -> str:
    return f"feature:{feature.name}"


@dataclass(frozen=True)
class TypedRows:
    """Good rows of some consecutive records of a table.

    Attributes:
      batch: columns named above, and `event_column` and `lead_column` of each feature.
      records: number of records in the block, bad ones included.
      bad: quarantined rows.
    """

    batch: pa.RecordBatch
    records: int
    bad: tuple[BadRow, ...]


def type_rows(
    dataset: JourneyDataset, table: Table, raw: RawBlock, limits: tuple[int, int, int], key: bytes | None = None
) -> TypedRows:
    """Converts a block's columns and leaves out the rows with a value that cannot be read.

    Args:
      dataset: says what the columns mean.
      table: which of its tables the block belongs to.
      raw: the block.
      limits: see `modules.ingest.split.hash_limits`.
      key: secret for hashing personal data, when the dataset asks for it.
    """
    problems = Problems(table.view, raw)
    who = convert.words(raw.columns[table.id_column])
    problems.add(_nulls(who), Reason.ID, table.id_column, "an id")
    columns: dict[str, pa.Array] = {}
    if table.number == EVENTS:
        columns |= _events(dataset, raw, problems)
    elif dataset.leads is not None and dataset.leads.created is not None:
        created, pattern = dataset.leads.created, dataset.leads.created_format
        columns[MICROS], wrong = convert.moments(raw.columns[created], pattern)
        if wrong is not None and convert.is_text(raw.columns[created].type):
            wrong &= np.asarray(convert.words(raw.columns[created]).is_valid())
        elif wrong is not None:
            wrong &= np.asarray(raw.columns[created].is_valid())
        problems.add(wrong, Reason.TIME, created, _like(pattern) + ", or nothing")
    if table.outcome is not None and dataset.outcome is not None:
        columns[CONVERTED] = _outcome(raw.columns[table.outcome], dataset.outcome)
    for feature in table.event_features:
        columns[event_column(feature)] = _feature(raw, feature, problems)
    for feature in table.lead_features:
        columns[lead_column(feature)] = _feature(raw, feature, problems)
    for person, feature in zip(table.hashed, carried_features(table)[len(table.lead_features) :], strict=True):
        assert key is not None
        columns[lead_column(feature)] = hash_personal(convert.words(raw.columns[person.column]), key)
    hashes = hash64(who, dataset.split.seed)
    limit = np.array(limits, np.uint64)
    columns[BY_HASH] = pa.array(
        np.select([hashes < limit[0], hashes < limit[1], hashes < limit[2]], [TEST, CALIBRATION, VALIDATION], TRAIN)
        .astype(np.int8)
    )  # fmt: skip
    if hashes_id(dataset):
        assert key is not None
        who = hash_personal(who, key)
    columns[LEAD] = who
    columns[ROW] = pa.array(np.arange(raw.rows) if raw.index is None else raw.index)
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    bad = problems.rows()
    if bad:
        good = np.ones(raw.rows, bool)
        good[list(problems.found)] = False
        batch = batch.filter(pa.array(good))
    return TypedRows(batch, raw.records, tuple(sorted([*raw.bad, *bad], key=lambda b: b.line)))


def _events(dataset: JourneyDataset, raw: RawBlock, problems: Problems) -> dict[str, pa.Array]:
    events = dataset.events
    columns: dict[str, pa.Array] = {}
    columns[MICROS], wrong = convert.moments(raw.columns[events.time], events.time_format)
    problems.add(wrong, Reason.TIME, events.time, _like(events.time_format))
    columns[ACTION] = convert.words(raw.columns[events.action])
    problems.add(_nulls(columns[ACTION]), Reason.ACTION, events.action, "an action")
    if events.propensity is not None:
        columns[PROPENSITY], wrong = convert.numbers(raw.columns[events.propensity])
        problems.add(wrong, Reason.NUMBER, events.propensity, "a number")
    return columns


def _feature(raw: RawBlock, feature: Feature, problems: Problems) -> pa.Array:
    values = raw.columns[feature.source]
    if feature.kind is not Kind.NUMERIC:
        return convert.words(values, feature.missing_values)
    numbers, wrong = convert.numbers(values, feature.missing_values)
    problems.add(wrong, Reason.NUMBER, feature.source, "a number")
    return numbers


def _outcome(values: pa.Array, outcome: Outcome) -> pa.Array:
    text = convert.words(values)
    known = pa.array([s.encode() for s in (*outcome.positive, *outcome.negative)], text.type)
    return pc.less(pc.index_in(text, known), len(outcome.positive)).cast(pa.int8())


def _like(pattern: str | None) -> str:
    return f"a date like {pattern or '2024-01-31 or 2024-01-31T12:00:00'}"


def _nulls(values: pa.Array) -> np.ndarray | None:
    return np.asarray(values.is_null()) if values.null_count else None
