"""The work on a unit of a file and on a partition of the leads."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from modules.dataset import SPLITS
from modules.errors import AiqleadsError
from modules.ingest import quarantine
from modules.ingest.convert import MICROS as MICROS_PER_SECOND
from modules.ingest.examples import ShardWriter
from modules.ingest.hashing import personal_key
from modules.ingest.raw import RawBlock
from modules.ingest.tfrecord import Piece, make_piece
from modules.ingest.units import Unit, in_order, pieces, plan_units
from modules.ingest.wire import framed_examples
from modules.journeys import splits, tables
from modules.journeys.dataset import JourneyDataset
from modules.journeys.examples import LeadRows, Partition, journey_begin, match_leads
from modules.journeys.read import BY_HASH, LEAD, MICROS, ROW, TypedRows, type_rows
from modules.journeys.spill import Place, SpillWriter, file_name, read_partition
from modules.journeys.splits import JourneyPlan
from modules.journeys.tables import EVENTS, LEADS, Tables
from modules.journeys.windows import Decisions, Journeys, find_journeys

FIRST_BAD = 10
LONG_AGO = -(2**62)


@dataclass(frozen=True)
class JourneyWork:
    """A unit, or why its file could not be cut into units."""

    place: Place
    unit: Unit | None
    error: str | None = None
    details: tuple[str, ...] = ()


@dataclass
class SpillResult:
    """What was read of a unit; `parts` see `SpillWriter`, `newest` in seconds."""

    place: list[int]
    records: int = 0
    rows: int = 0
    parts: list[int] = field(default_factory=list)
    quarantined: dict[str, int] = field(default_factory=dict)
    first_bad: list[str] = field(default_factory=list)
    newest: int = LONG_AGO
    error: str | None = None
    details: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return sum(self.quarantined.values())


@dataclass
class PartitionResult:
    """What became of a partition; lists are by split."""

    partition: int
    rows: list[int] = field(default_factory=lambda: [0] * len(SPLITS))
    journeys: list[int] = field(default_factory=lambda: [0] * len(SPLITS))
    converted: list[int] = field(default_factory=lambda: [0] * len(SPLITS))
    immature: int = 0
    left_out: int = 0
    events_without_lead: int = 0
    leads_without_events: int = 0
    duplicate_leads: int = 0


@dataclass(frozen=True)
class Spilled:
    """What was read of both tables: (place, parts) of each unit in order, what later steps need to find rows."""

    events: list[tuple[Place, list[int]]]
    leads: list[tuple[Place, list[int]]]

    @classmethod
    def of(cls, results: list[SpillResult]) -> Spilled:
        ordered = sorted(results, key=lambda r: r.place)
        units = [(tuple(r.place), r.parts) for r in ordered]
        return cls([u for u in units if u[0][0] == EVENTS], [u for u in units if u[0][0] == LEADS])


def plan_file(found: Tables, number: int) -> Iterator[JourneyWork]:
    """The units of a file, given its number among all files."""
    which, file = found.files[number]
    table = found.table(which)
    try:
        for unit in plan_units(table.view, file, table.layout(file)):
            yield JourneyWork((which, number, unit.number), unit)
    except AiqleadsError as e:
        yield JourneyWork((which, number, 0), None, str(e), tuple(e.details))


def spill_unit(
    dataset: JourneyDataset,
    found: Tables,
    work: JourneyWork,
    partitions: int,
    validation_split: float,
    folder: str,
    threads: int = 1,
) -> SpillResult:
    """Reads a unit, judges its rows and keeps the good ones below `folder`, by partition of their leads."""
    result = SpillResult(list(work.place), error=work.error, details=list(work.details))
    if work.unit is not None:
        try:
            _spill(dataset, found, work.place, work.unit, partitions, validation_split, Path(folder), threads, result)
        except AiqleadsError as e:
            result.error, result.details = str(e), list(e.details)
    _keep(result, Path(folder) / f"spill-{'-'.join(f'{n:05d}' for n in work.place)}.json")
    return result


def _spill(
    dataset: JourneyDataset,
    found: Tables,
    place: Place,
    unit: Unit,
    partitions: int,
    validation_split: float,
    folder: Path,
    threads: int,
    result: SpillResult,
) -> None:
    table = found.table(place[0])
    key = personal_key() if tables.needs_key(dataset) else None
    limits = splits.limits(dataset, validation_split)

    def call(piece: Callable[[], RawBlock]) -> Callable[[], TypedRows]:
        return lambda: type_rows(dataset, table, piece(), limits, key)

    done = in_order((call(piece) for piece in pieces(table.view, unit)), threads)
    name = "-".join(f"{n:05d}" for n in place)
    with (
        open(folder / f"bad-{name}.jsonl", "w", encoding="utf-8") as bad_rows,
        SpillWriter(folder / file_name(place), partitions) as writer,
    ):
        for rows in done:
            writer.write(_numbered(rows.batch, result.records))
            quarantine.write(rows.bad, bad_rows)
            result.records += rows.records
            result.rows += rows.batch.num_rows
            if table.number == EVENTS and rows.batch.num_rows:
                newest = int(rows.batch.column(MICROS).to_numpy().max()) // MICROS_PER_SECOND
                result.newest = max(result.newest, newest)
            reasons = Counter(result.quarantined) + Counter(str(bad.reason) for bad in rows.bad)
            result.quarantined = dict(reasons)
            result.first_bad += [str(bad) for bad in rows.bad[: FIRST_BAD - len(result.first_bad)]]
    result.parts = writer.parts
    # Lines without a record: their quoting is broken.
    result.records += result.quarantined.get(quarantine.Reason.QUOTING, 0)


def _numbered(batch: pa.RecordBatch, before: int) -> pa.RecordBatch:
    at = batch.schema.get_field_index(ROW)
    return batch.set_column(at, ROW, pa.array(batch.column(at).to_numpy() + before))


def find_positions(folder: str, spilled: Spilled, partition: int) -> None:
    """Keeps where each journey of a partition stands: begin in microseconds and first row, int64 [2, journeys]."""
    events = read_partition(Path(folder), spilled.events, partition, [LEAD, MICROS, ROW])
    if events is None:
        return
    micros = events.column(MICROS).to_numpy()
    journeys = find_journeys(events.column(LEAD).chunk(0), micros)
    leads = _leads(folder, spilled, partition, journeys, [LEAD, MICROS])
    begin = journey_begin(micros[journeys.order[journeys.begin]], _created(leads, journeys))
    first = events.column(ROW).to_numpy()[journeys.first]
    np.save(Path(folder) / f"begin-{partition:05d}.npy", np.stack([begin, first]), allow_pickle=False)


def read_positions(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """Begin and first row, int64 [journeys], of all partitions."""
    parts = [np.load(p, allow_pickle=False) for p in sorted(Path(folder).glob("begin-*.npy"))]
    begin, first = np.concatenate([np.zeros((2, 0), np.int64), *parts], axis=1)
    return begin, first


def write_partition(
    dataset: JourneyDataset,
    found: Tables,
    plan: JourneyPlan,
    spilled: Spilled,
    partition: int,
    folder: str,
    threads: int = 1,
) -> PartitionResult:
    """Puts the journeys of a partition together and writes an example per decision, a file per split."""
    result = PartitionResult(partition)
    events = read_partition(Path(folder), spilled.events, partition)
    if events is not None:
        _write(dataset, found, plan, spilled, partition, folder, threads, events, result)
    elif spilled.leads:
        table = read_partition(Path(folder), spilled.leads, partition, [LEAD])
        if table is not None:
            rows = match_leads(pa.array([], pa.large_binary()), table, LEAD)
            result.leads_without_events, result.duplicate_leads = rows.unused, rows.duplicates
    _keep(result, Path(folder) / f"part-{partition:05d}.json")
    return result


def _write(
    dataset: JourneyDataset,
    found: Tables,
    plan: JourneyPlan,
    spilled: Spilled,
    partition: int,
    folder: str,
    threads: int,
    events: pa.Table,
    result: PartitionResult,
) -> None:
    micros = events.column(MICROS).to_numpy()
    journeys = find_journeys(events.column(LEAD).chunk(0), micros)
    leads = _leads(folder, spilled, partition, journeys, None) if found.leads is not None else None
    created = _created(leads, journeys)
    begin = journey_begin(micros[journeys.order[journeys.begin]], created)
    by_hash = events.column(BY_HASH).to_numpy()[journeys.first]
    part = splits.assign(dataset, plan, by_hash, begin, events.column(ROW).to_numpy()[journeys.first])
    # Journeys of a split lie together, so that its histories are runs of one piece of memory.
    together = np.argsort(part, kind="stable")
    part, journeys = part[together], journeys.take(together)
    if leads is not None:
        leads = dataclasses.replace(leads, row=leads.row[together])
        result.leads_without_events, result.duplicate_leads = leads.unused, leads.duplicates
        result.events_without_lead = int(journeys.count[leads.row < 0].sum())
    created = created.take(pa.array(together)) if created is not None else None
    carried = tables.carried_features(found.carries)
    whole = Partition(dataset, carried, events, journeys, leads, created, plan.as_of)
    converted = np.zeros(len(part), bool)
    if whole.outcome is not None:
        converted = whole.outcome.fill_null(0).to_numpy() == 1
    of_decision = part[whole.decisions.journey]
    edges = np.searchsorted(of_decision, np.arange(len(SPLITS) + 1))
    result.immature = int(whole.immature.sum())
    result.left_out = int(journeys.count.sum()) - len(whole.decisions)
    with ShardWriter(folder, f"{partition:05d}") as writer:
        for i in range(len(SPLITS)):
            first, last = int(edges[i]), int(edges[i + 1])
            result.rows[i] = last - first
            result.journeys[i] = int((part == i).sum())
            result.converted[i] = int(converted[part == i].sum())
            for piece in in_order((partial(_encode, whole, c) for c in whole.chunks(first, last)), threads):
                writer.write({i: piece})


def _encode(whole: Partition, decisions: Decisions) -> Piece:
    return make_piece(framed_examples(whole.batch(decisions))[0])


def _leads(folder: str, spilled: Spilled, partition: int, journeys: Journeys, columns: list[str] | None) -> LeadRows:
    table = read_partition(Path(folder), spilled.leads, partition, columns)
    return match_leads(journeys.leads, table, LEAD)


def _created(leads: LeadRows | None, journeys: Journeys) -> pa.Array | None:
    """int64 [journeys], microseconds; None if the lead table does not say when leads were created."""
    if leads is None or leads.table is None or MICROS not in leads.table.schema.names:
        return None
    return leads.column(MICROS, np.arange(len(journeys.count)), pa.int64())


def _keep(result: SpillResult | PartitionResult, path: Path) -> None:
    path.write_text(json.dumps(dataclasses.asdict(result)))
