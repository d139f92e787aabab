"""The first rows of both tables as journeys, for a look at a dataset before anything runs on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from modules.ingest import convert
from modules.ingest.hashing import personal_key
from modules.ingest.quarantine import BadRow
from modules.ingest.units import pieces, plan_units
from modules.journeys.dataset import JourneyDataset
from modules.journeys.examples import LeadRows, Partition, match_leads
from modules.journeys.read import LEAD, MICROS, ROW, type_rows
from modules.journeys.splits import limits
from modules.journeys.tables import Table, Tables, carried_features, needs_key
from modules.journeys.windows import find_journeys

BLOCK_BYTES = 1 << 22
VALIDATION_SPLIT = 0.2
"""Of the model file; which of two parts of the training data a journey is in does not matter here."""


def other_column(name: str) -> str:
    """Name, in the rows that were read, of a source column that is neither used nor left out."""
    return f"other:{name}"


@dataclass(frozen=True)
class Rows:
    """The first rows of a table.

    Attributes:
      table: columns of `modules.journeys.read`, and `other_column` of those that the dataset does not mention.
      records: number of records read, bad ones included.
      bad: the bad ones.
      whole: whether there are no more.
      others: names of the columns that the dataset does not mention.
    """

    table: pa.Table
    records: int
    bad: tuple[BadRow, ...]
    whole: bool
    others: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """What was read of a dataset. `partition` holds the journeys; `leads` is None without a table of leads."""

    events: Rows
    leads: Rows | None
    partition: Partition

    @property
    def whole(self) -> bool:
        return self.events.whole and (self.leads is None or self.leads.whole)


def read_sample(dataset: JourneyDataset, tables: Tables, rows: int) -> Sample | None:
    """Reads at least `rows` rows of each table, or all there are; None if there is no good event.

    Raises:
      AiqleadsError: a file cannot be read.
    """
    events = _read(dataset, tables, tables.events, rows)
    leads = None if tables.leads is None else _read(dataset, tables, tables.leads, rows)
    if not events.table.num_rows:
        return None
    micros = events.table.column(MICROS).chunk(0).to_numpy()
    journeys = find_journeys(events.table.column(LEAD).chunk(0), micros)
    found: LeadRows | None = None
    created: pa.Array | None = None
    if leads is not None:
        found = match_leads(journeys.leads, leads.table if leads.table.num_rows else None, LEAD)
        if dataset.leads is not None and dataset.leads.created is not None:
            created = found.column(MICROS, np.arange(len(journeys.count)), pa.int64())
    as_of = int(micros.max() // convert.MICROS)
    carried = carried_features(tables.carries)
    return Sample(events, leads, Partition(dataset, carried, events.table, journeys, found, created, as_of))


def _read(dataset: JourneyDataset, tables: Tables, table: Table, rows: int) -> Rows:
    key = personal_key() if needs_key(dataset) else None
    batches: list[pa.RecordBatch] = []
    bad: list[BadRow] = []
    records = 0
    layouts = [(file, table.layout(file)) for number, file in tables.files if number == table.number]
    # A name that stands twice in a header cannot be read by it.
    once = [name for name, n in Counter(layouts[0][1].names).items() if n == 1 and name in layouts[0][1].ignored]
    others = tuple(name for name in once if all(name in layout.names for _, layout in layouts))
    for file, layout in layouts:
        wide = replace(layout, columns=(*layout.columns, *others))
        for unit in plan_units(table.view, file, wide):
            for piece in pieces(table.view, unit, BLOCK_BYTES):
                if records >= rows:
                    return Rows(_table(batches), records, tuple(bad), False, others)
                raw = piece()
                typed = type_rows(dataset, table, raw, limits(dataset, VALIDATION_SPLIT), key)
                index = np.arange(raw.rows) if raw.index is None else raw.index
                kept = pa.array(np.searchsorted(index, typed.batch.column(ROW).to_numpy()))
                batch = typed.batch
                for name in others:
                    batch = batch.append_column(other_column(name), convert.words(raw.columns[name]).take(kept))
                batches.append(batch)
                bad += typed.bad
                records += typed.records
    return Rows(_table(batches), records, tuple(bad), True, others)


def _table(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches).combine_chunks() if batches else pa.table({})
