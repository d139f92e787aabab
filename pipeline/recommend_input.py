"""The latest state of each journey in a table of events, as tf.Examples: what a model is asked about now.

Read as the pipeline's ingest reads it (`modules.journeys`), so that a model is asked in the terms it has learned in.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import itertools
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.errors import DataError
from modules.features import Kind
from modules.ingest.convert import MICROS as MICROS_PER_SECOND
from modules.ingest.layout import column_names, make_layout
from modules.ingest.quarantine import BadRow
from modules.ingest.raw import RawBlock
from modules.ingest.sources import SourceFile
from modules.ingest.units import in_order, pieces, plan_units
from modules.ingest.wire import framed_examples
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset
from modules.journeys.examples import LeadRows, match_leads
from modules.journeys.read import ACTION, LEAD, MICROS, TypedRows, event_column, lead_column, type_rows
from modules.journeys.tables import Table, event_table, lead_table
from modules.journeys.windows import Decisions, Journeys, find_journeys
from pipeline.client_io import opened, shown
from pipeline.json_lines import GZIP, json_block, read_json_lines

_FRAME_HEADER, _FRAME_FOOTER = 12, 4
THREADS = 2
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Reading:
    """What is read.

    dataset: what the columns mean; its files do not matter.
    only: ids of leads; all of them when empty. at: only events before it, and leads that had come in by then.
    skip_bad: leave bad rows out instead of stopping.
    """

    dataset: JourneyDataset
    only: tuple[str, ...] = ()
    at: dt.datetime | None = None
    skip_bad: bool = False


@dataclass
class Report:
    """What was noticed.

    absent: features without a column. bad: rows left out, and why. without_lead: journeys whose lead has no row in the
    table of leads. events: number of events that count.
    """

    absent: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    without_lead: int = 0
    events: int = 0


@dataclass(frozen=True)
class Latest:
    """Journeys up to now. ids: of the leads. length: int64 [leads], events of each. report: what was noticed."""

    ids: list[str]
    length: np.ndarray
    report: Report
    _batch: Callable[[int, int], pa.RecordBatch]

    def __len__(self) -> int:
        return len(self.ids)

    def chunks(self, size: int) -> Iterator[list[bytes]]:
        """Serialized tf.Examples of all leads, `size` at a time."""
        for begin in range(0, len(self), size):
            yield self.examples(begin, min(begin + size, len(self)))

    def examples(self, begin: int, end: int) -> list[bytes]:
        """Serialized tf.Examples of some leads."""
        data, edges = framed_examples(self._batch(begin, end))
        return [bytes(data[a + _FRAME_HEADER : b - _FRAME_FOOTER]) for a, b in pairwise(edges.tolist())]


def read_latest(
    reading: Reading, events: str, leads: str | None, features: Collection[str], allowed: Sequence[str] = ()
) -> Latest:
    """Reads events, and leads if there is a table of them.

    Args:
      reading: how.
      events: path of a CSV, JSON lines or Parquet file, the first two perhaps gzip-compressed; "-" standard input.
      leads: likewise; None without one.
      features: names of the model's inputs; others are not sent.
      allowed: the only actions that may be recommended; all when empty.

    Returns:
      Leads in the order in which their first events stand in the file; then those without events.

    Raises:
      DataError: a file that cannot be read, lacks a column or holds a bad row, or a lead that is not there.
    """
    dataset = _for_asking(reading.dataset)
    report = Report()
    rows = _read(dataset, event_table(dataset), events, reading, features, report)
    known = lead_table(dataset)
    people = (
        _read(dataset, known, leads, reading, features, report) if known is not None and leads is not None else None
    )
    if known is not None and leads is None:
        report.absent += [f.name for f in known.lead_features if f.name in features]
    until = None
    if reading.at is not None:
        until = (reading.at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        rows = rows.filter(pc.less(rows.column(MICROS), until))
        if people is not None and MICROS in people.schema.names:
            people = people.filter(pc.fill_null(pc.less_equal(people.column(MICROS), until), True))
    rows = rows.combine_chunks()
    people = people.combine_chunks() if people is not None and people.num_rows else None
    journeys, found = _journeys(rows, people)
    if people is not None:
        report.without_lead = int((found.row < 0).sum())
    _check_asked(reading, journeys, until is not None)
    report.events = rows.num_rows
    ids = [value.decode(errors="replace") for value in journeys.leads.to_pylist()]
    batch = _Batches(dataset, features, rows, journeys, found if people is not None else None, allowed)
    return Latest(ids, journeys.count, report, batch)


class _Batches:
    """Columns of tf.Examples for a range of journeys."""

    def __init__(
        self,
        dataset: JourneyDataset,
        features: Collection[str],
        rows: pa.Table,
        journeys: Journeys,
        leads: LeadRows | None,
        allowed: Sequence[str],
    ) -> None:
        self._dataset, self._features, self._journeys, self._leads = dataset, features, journeys, leads
        order = pa.array(journeys.order)
        self._events = {name: _chunk(rows, name).take(order) for name in rows.schema.names}
        seconds = self._events[MICROS].to_numpy() // MICROS_PER_SECOND
        self._histories = {names.HISTORY_ACTION: self._events[ACTION], names.HISTORY_TIME: pa.array(seconds)}
        for feature in dataset.events.features:
            if event_column(feature) in self._events:
                missing = np.float32("nan") if feature.kind is Kind.NUMERIC else b""
                self._histories[names.history(feature.name)] = self._events[event_column(feature)].fill_null(missing)
        some = journeys.count > 0
        start = np.zeros(len(some), np.int64)
        start[some] = seconds[journeys.begin[some]]
        if leads is not None and leads.table is not None and MICROS in leads.table.schema.names:
            created = leads.column(MICROS, np.arange(len(some)), pa.int64())
            given = np.asarray(created.is_valid())
            start = np.where(given, created.fill_null(0).to_numpy() // MICROS_PER_SECOND, start)
            some = some | given
        self._start, self._started = start, some
        self._allowed = pa.array([action.encode() for action in allowed], pa.large_binary())

    def __call__(self, begin: int, end: int) -> pa.RecordBatch:
        journeys, which = self._journeys, np.arange(begin, end)
        count, after = journeys.count[begin:end], (journeys.begin + journeys.count)[begin:end]
        window = np.minimum(count, self._dataset.history.length)
        latest = Decisions(which, after, count, window, np.zeros(len(which), np.int64))
        columns: dict[str, pa.Array] = {name: latest.history(values) for name, values in self._histories.items()}
        columns[names.HISTORY_LENGTH] = pa.array(count)
        columns[names.JOURNEY_START] = pa.array(self._start[begin:end], mask=~self._started[begin:end])
        last = pa.array(after - 1, mask=count == 0)
        for feature in self._dataset.features:
            name = lead_column(feature)
            if name in self._events:
                columns[feature.name] = self._events[name].take(last)
            elif self._leads is not None and self._leads.table is not None and name in self._leads.table.schema.names:
                kind = pa.float32() if feature.kind is Kind.NUMERIC else pa.large_binary()
                columns[feature.name] = self._leads.column(name, which, kind)
        if len(self._allowed):
            bounds = pa.array(np.zeros(len(which), np.int64)), pa.array(np.full(len(which), len(self._allowed)))
            columns[names.ALLOWED_ACTIONS] = pa.LargeListViewArray.from_arrays(*bounds, self._allowed)
        columns = {name: values for name, values in columns.items() if name in self._features}
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _for_asking(dataset: JourneyDataset) -> JourneyDataset:
    """The dataset without what is known only afterwards; ids stay as they are, since no model reads them."""
    events = dataset.events.model_copy(update={"propensity": None})
    return dataset.model_copy(update={"outcome": None, "personal_data": (), "events": events})


def _journeys(rows: pa.Table, people: pa.Table | None) -> tuple[Journeys, LeadRows]:
    """Journeys of the events, and after them, without events, the other leads."""
    journeys = find_journeys(_chunk(rows, LEAD), _chunk(rows, MICROS).to_numpy())
    found = match_leads(journeys.leads, people, LEAD)
    if people is None:
        return journeys, found
    ids = pc.unique(_chunk(people, LEAD))
    new = ids.filter(pc.invert(pc.is_in(ids, journeys.leads)))
    if not len(new):
        return journeys, found
    leads = pa.concat_arrays([journeys.leads, new])
    none = np.zeros(len(new), np.int64)
    begin = np.concatenate([journeys.begin, np.full(len(new), len(journeys.order))])
    first = np.concatenate([journeys.first, np.full(len(new), rows.num_rows)])
    every = Journeys(journeys.order, begin, np.concatenate([journeys.count, none]), first, leads)
    return every, match_leads(leads, people, LEAD)


def _check_asked(reading: Reading, journeys: Journeys, cut: bool) -> None:
    there = {value.decode(errors="replace") for value in journeys.leads.to_pylist()} if reading.only else set()
    missing = [lead for lead in reading.only if lead not in there]
    if missing:
        then = f" before {reading.at}" if cut else ""
        details = [f"and {len(missing) - 1} more"] if len(missing) > 1 else []
        raise DataError(f"no lead {missing[0]!r}{then} (--lead): neither an event nor a row of its own", details)


def _read(
    dataset: JourneyDataset, table: Table, file: str, reading: Reading, features: Collection[str], report: Report
) -> pa.Table:
    """Typed rows of a table, those of the leads asked for, in the order of the file."""
    only = pa.array([lead.encode() for lead in reading.only], pa.large_binary())
    batches: list[pa.RecordBatch] = []
    with _sniffed(file) as (path, kind):
        source = SourceFile(str(path), path.name)
        table = replace(table, view=table.view.model_copy(update={"format": "parquet" if kind == "parquet" else "csv"}))
        blocks: Iterator[Callable[[], RawBlock]]
        if kind == "jsonl":
            rows = read_json_lines(source, {dataset.events.time, dataset.leads.created if dataset.leads else None})
            table = _present(table, tuple(rows.schema.names), features, report)
            layout = make_layout(table.view, tuple(rows.schema.names), source.path, wanted=table.wanted)
            blocks = iter([partial(json_block, rows, source, layout.columns)])
        else:
            table = _present(table, column_names(table.view, source), features, report)
            units = plan_units(table.view, source, table.layout(source))
            blocks = itertools.chain.from_iterable(pieces(table.view, unit) for unit in units)
        for result in in_order((partial(_typed, dataset, table, call) for call in blocks), THREADS):
            if result.bad and not reading.skip_bad:
                raise DataError(_where(result.bad[0], file), ["--skip-bad leaves bad rows out"])
            report.bad += [_where(row, file) for row in result.bad]
            batch = result.batch
            batches.append(batch.filter(pc.is_in(batch.column(LEAD), only)) if len(only) else batch)
    if not batches:
        raise DataError(f"{shown(file)}: expected rows, received none")
    return pa.Table.from_batches(batches)


def _present(table: Table, columns: tuple[str, ...], features: Collection[str], report: Report) -> Table:
    """The table without features that it has no column for or that the model does not take."""

    def there(feature, name: str) -> bool:
        if name not in features:
            return False
        if feature.source not in columns:
            report.absent.append(name)
        return feature.source in columns

    events = tuple(f for f in table.event_features if there(f, names.history(f.name)))
    leads = tuple(f for f in table.lead_features if there(f, f.name))
    used = {f.source for f in (*events, *leads)}
    wanted = {c: what for c, what in table.wanted.items() if what != "feature" or c in used}
    return replace(table, wanted=wanted, event_features=events, lead_features=leads)


@contextlib.contextmanager
def _sniffed(file: str) -> Iterator[tuple[Path, str]]:
    """A path, and what the file is: csv, jsonl or parquet; standard input is kept in a file meanwhile."""
    with contextlib.ExitStack() as stack:
        stream: BinaryIO = stack.enter_context(opened(file))
        path = Path(file)
        if file == "-":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(folder) / "input"
            with open(path, "wb") as kept:
                shutil.copyfileobj(stream, kept)
        with open(path, "rb") as raw:
            start = raw.read(4)
        if start == _PARQUET:
            yield path, "parquet"
            return
        try:
            with gzip.open(path) if start.startswith(GZIP) else open(path, "rb") as text:
                start = text.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        except (EOFError, OSError) as error:
            raise DataError(f"{shown(file)}: cannot be read: {error}") from None
        yield path, "jsonl" if start.startswith(b"{") else "csv"


def _typed(dataset: JourneyDataset, table: Table, call: Callable[[], RawBlock]) -> TypedRows:
    return type_rows(dataset, table, call(), (0, 0, 0))


def _where(row: BadRow, file: str) -> str:
    return f"{shown(file)}: line {row.line}: {row.message}"


def _chunk(table: pa.Table, name: str) -> pa.Array:
    values = table.column(name)
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
