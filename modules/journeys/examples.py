"""The decisions of a partition as columns of tf.Examples (`modules.journeys.names`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.features import Feature, Kind
from modules.ingest.convert import MICROS as MICROS_PER_SECOND
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset
from modules.journeys.read import (
    ACTION,
    CONVERTED,
    MICROS,
    PROPENSITY,
    event_column,
    lead_column,
)
from modules.journeys.windows import Decisions, Journeys, find_decisions, first_rows

CHUNK_CELLS = 400_000
"""Events in the histories that are encoded at once; what bounds the memory of a chunk."""

_STAGE_FROM = np.array([least for least, _ in names.STAGES])
_STAGE_NAMES = pa.array([name.encode() for _, name in names.STAGES], pa.large_binary())


@dataclass(frozen=True)
class LeadRows:
    """Which row of the lead table belongs to each journey.

    Attributes:
      table: the partition of the lead table; None if it has no rows.
      row: int64 [journeys], -1 where there is none.
      duplicates: rows whose id an earlier one has too.
      unused: leads without a journey.
    """

    table: pa.Table | None
    row: np.ndarray
    duplicates: int = 0
    unused: int = 0

    def column(self, name: str, which: np.ndarray, kind: pa.DataType) -> pa.Array:
        """Values for journeys; null where there is no row."""
        if self.table is None:
            return pa.nulls(len(which), kind)
        row = self.row[which]
        return self.table.column(name).chunk(0).take(pa.array(row, mask=row < 0))


def match_leads(leads: pa.Array, table: pa.Table | None, ids: str) -> LeadRows:
    """Finds the lead's row for each journey; of several with the same id the first one."""
    if table is None:
        return LeadRows(None, np.full(len(leads), -1, np.int64))
    encoded = pc.dictionary_encode(table.column(ids).chunk(0))
    first = first_rows(encoded.indices.to_numpy())
    found = pc.index_in(leads, encoded.dictionary)
    known = np.asarray(found.is_valid())
    row = np.where(known, first[found.fill_null(0).to_numpy()], -1)
    return LeadRows(table, row, table.num_rows - len(first), len(first) - int(known.sum()))


def journey_begin(first_event: np.ndarray, created: pa.Array | None) -> np.ndarray:
    """int64 [journeys], microseconds: when the lead was created, or its first event where that is not known."""
    if created is None:
        return first_event
    return np.where(np.asarray(created.is_valid()), created.fill_null(0).to_numpy(), first_event)


class Partition:
    """Journeys of a partition, ready to be turned into examples."""

    def __init__(
        self,
        dataset: JourneyDataset,
        carried: tuple[Feature, ...],
        events: pa.Table,
        journeys: Journeys,
        leads: LeadRows | None,
        created: pa.Array | None,
        as_of: int | None,
    ) -> None:
        """Brings the events into the order of the journeys.

        Args:
          dataset: what the columns mean.
          carried: features of the lead.
          events: columns of the event table as they came.
          journeys: which rows belong together.
          leads: rows of the lead table, in the order of `journeys`; None without a lead table.
          created: int64 [journeys], microseconds, null where not known; None if it is never known.
          as_of: seconds since 1970 UTC.
        """
        self.dataset, self.carried, self.journeys, self.leads, self.created = dataset, carried, journeys, leads, created
        order = pa.array(journeys.order)
        self.events = {name: events.column(name).chunk(0).take(order) for name in events.schema.names}
        micros = self.events[MICROS].to_numpy()
        self.seconds = micros // MICROS_PER_SECOND
        self.decisions = find_decisions(journeys.count, dataset.history.length, dataset.history.min)
        self.begin = journey_begin(micros[journeys.begin], created) // MICROS_PER_SECOND
        self.histories = {names.HISTORY_ACTION: self.events[ACTION], names.HISTORY_TIME: pa.array(self.seconds)}
        for feature in dataset.events.features:
            missing = np.float32("nan") if feature.kind is Kind.NUMERIC else b""
            self.histories[names.history(feature.name)] = self.events[event_column(feature)].fill_null(missing)
        self.outcome, self.immature = self._outcome(as_of)

    def _outcome(self, as_of: int | None) -> tuple[pa.Array | None, np.ndarray]:
        """int64 [journeys], null where not known; bool [journeys], where it is not known yet."""
        outcome, journeys = self.dataset.outcome, self.journeys
        immature = np.zeros(len(journeys.count), bool)
        if outcome is None:
            return None, immature
        if outcome.action is not None:
            happened = pc.equal(self.events[ACTION], pa.scalar(outcome.action.encode(), pa.large_binary()))
            values = pa.array(np.maximum.reduceat(np.asarray(happened).astype(np.int64), journeys.begin))
        elif self.leads is not None:
            every = np.arange(len(journeys.count))
            values = self.leads.column(CONVERTED, every, pa.int8()).cast(pa.int64())
        else:
            known = np.asarray(self.events[CONVERTED].is_valid())
            last = np.maximum.reduceat(np.where(known, np.arange(len(known)), -1), journeys.begin)
            values = self.events[CONVERTED].take(pa.array(last, mask=last < 0)).cast(pa.int64())
        if outcome.maturity_days and as_of is not None:
            immature = self.begin + outcome.maturity_days * 86_400 > as_of
            values = pc.if_else(pa.array(immature), pa.scalar(None, pa.int64()), values)
        return values, immature

    def chunks(self, begin: int, end: int) -> Iterator[Decisions]:
        """Decisions `begin` to `end`, in pieces of about `CHUNK_CELLS` events."""
        cells = np.cumsum(self.decisions.window[begin:end] + 8)
        edges = np.searchsorted(cells, np.arange(0, int(cells[-1]) if end > begin else 0, CHUNK_CELLS), side="right")
        stops = [*np.unique(edges[1:]).tolist(), end - begin]
        start = 0
        for stop in stops:
            if stop > start:
                yield self.decisions.slice(begin + start, begin + stop)
            start = stop

    def batch(self, decisions: Decisions) -> pa.RecordBatch:
        """One row per decision, one column per feature; null is an absent feature. Lists are large_list_view."""
        dataset, event = self.dataset, pa.array(decisions.event)
        columns: dict[str, pa.Array] = {dataset.id_feature: self.journeys.leads.take(pa.array(decisions.journey))}
        previous = pa.array(decisions.event - 1, mask=decisions.earlier == 0)
        for feature in self.carried:
            name = lead_column(feature)
            if self.leads is None:
                columns[feature.name] = self.events[name].take(previous)
            else:
                kind = pa.float32() if feature.kind is Kind.NUMERIC else pa.large_binary()
                columns[feature.name] = self.leads.column(name, decisions.journey, kind)
        for name, values in self.histories.items():
            columns[name] = decisions.history(values)
        columns[names.HISTORY_LENGTH] = pa.array(decisions.earlier)
        columns[names.JOURNEY_START] = pa.array(self.begin[decisions.journey], mask=self._unknown_start(decisions))
        columns[names.NEXT_ACTION] = self.events[ACTION].take(event)
        if self.outcome is not None:
            columns[names.OUTCOME] = self.outcome.take(pa.array(decisions.journey))
        columns[names.DECISION_TIME] = pa.array(self.seconds[decisions.event])
        stage = np.searchsorted(_STAGE_FROM, decisions.earlier, side="right") - 1
        columns[names.STAGE] = _STAGE_NAMES.take(pa.array(stage))
        if dataset.events.propensity is not None:
            columns[names.PROPENSITY] = self.events[PROPENSITY].take(event)
        columns[names.TRAINING_POSITIONS] = pa.array(decisions.positions)
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    def _unknown_start(self, decisions: Decisions) -> np.ndarray:
        first = decisions.earlier == 0
        if self.created is None:
            return first
        return first & np.asarray(self.created.is_null())[decisions.journey]
