"""The two tables of a dataset of journeys, each as the readers of `modules.ingest` see a table."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from modules.dataset import Dataset, Label, PersonalData
from modules.errors import ConfigError
from modules.features import Feature, Kind
from modules.ingest import sources
from modules.ingest.hashing import personal_key
from modules.ingest.layout import Layout, read_layout
from modules.ingest.sources import Source, SourceFile
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset

EVENTS, LEADS = 0, 1
"""The tables, as numbers: the first part of a unit's place."""

PARTITION_BYTES = 64 << 20
MAX_PARTITIONS = 4096
_INFLATION = {"parquet": 5, "gzip": 10, "csv": 1}


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
      number: EVENTS or LEADS.
      view: what the readers of files need to know; only name, files, format, csv, features and personal data count.
      wanted: source column -> what it is for.
      id_column: which column identifies the lead.
      lead_features: the lead's features that this table holds.
      event_features: attributes of an event.
      hashed: personal columns, other than the id, that are carried hashed.
      outcome: the column of the outcome, if this table holds it.
    """

    number: int
    view: Dataset
    wanted: dict[str, str]
    id_column: str
    lead_features: tuple[Feature, ...] = ()
    event_features: tuple[Feature, ...] = ()
    hashed: tuple[PersonalData, ...] = ()
    outcome: str | None = None

    def layout(self, file: SourceFile) -> Layout:
        """How a file of the table is read; DataError if it lacks a column."""
        return read_layout(self.view, file, wanted=self.wanted)


@dataclass(frozen=True)
class Tables:
    """Both tables, and their files."""

    events: Table
    leads: Table | None
    event_files: tuple[SourceFile, ...]
    lead_files: tuple[SourceFile, ...]
    span: int | None

    @property
    def files(self) -> tuple[tuple[int, SourceFile], ...]:
        """(number of the table, file), events first."""
        return (*((EVENTS, f) for f in self.event_files), *((LEADS, f) for f in self.lead_files))

    def table(self, number: int) -> Table:
        if number == EVENTS:
            return self.events
        assert self.leads is not None
        return self.leads

    @property
    def carries(self) -> Table:
        """The table that holds the lead's features."""
        return self.leads or self.events

    @property
    def partitions(self) -> int:
        """Into how many parts leads are divided: about 64 MiB of CSV text each, from the files' sizes alone."""
        size = 0
        for number, file in self.files:
            kind = "parquet" if self.table(number).view.format == "parquet" else "csv"
            kind = "gzip" if kind == "csv" and sources.is_gzip(file.path) else kind
            size += Path(file.path).stat().st_size * _INFLATION[kind]
        return min(max(1, math.ceil(size / PARTITION_BYTES)), MAX_PARTITIONS)


def resolve(dataset: JourneyDataset, span: int | None = None, last_spans: int = 1) -> Tables:
    """Finds the files of both tables; spans as `modules.ingest.sources.resolve`, the same one for both.

    Raises:
      DataError, ConfigError: see there.
    """
    whole = sources.resolve(dataset, span, last_spans)
    events, leads = event_table(dataset), lead_table(dataset)

    def files(table: Table) -> tuple[SourceFile, ...]:
        spanned = sources.has_spans(table.view.files)
        return sources.resolve(table.view, whole.span if spanned else None, last_spans if spanned else 1).files

    return Tables(events, leads, files(events), files(leads) if leads else (), whole.span)


def fingerprint(tables: Tables) -> str:
    """16 hex digits over names and contents of all files: the dataset version."""
    return sources.fingerprint(Source(tuple(file for _, file in tables.files)))


def event_table(dataset: JourneyDataset) -> Table:
    """The table of events; without a table of leads it also holds what is known of a lead."""
    events = dataset.events
    wanted = {events.lead: "lead column", events.time: "time column", events.action: "action column"}
    if events.propensity is not None:
        wanted.setdefault(events.propensity, "propensity column")
    alone = dataset.leads is None
    outcome = dataset.outcome.column if alone and dataset.outcome else None
    if outcome is not None:
        wanted.setdefault(outcome, "outcome column")
    hashed = _hashed(dataset, events.lead) if alone else ()
    wanted |= {p.column: "personal column to be hashed" for p in hashed if p.column not in wanted}
    features = dataset.features if alone else ()
    for feature in (*events.features, *features):
        wanted.setdefault(feature.source, "feature")
    view = _view(dataset, events.files, events.format, (*events.features, *features), csv=events.csv)
    return Table(EVENTS, view, wanted, events.lead, features, events.features, hashed, outcome)


def lead_table(dataset: JourneyDataset) -> Table | None:
    """The table of leads, if there is one."""
    leads = dataset.leads
    if leads is None:
        return None
    wanted = {leads.id: "id column"}
    if leads.created is not None:
        wanted.setdefault(leads.created, "time column")
    outcome = dataset.outcome.column if dataset.outcome else None
    if outcome is not None:
        wanted.setdefault(outcome, "outcome column")
    hashed = _hashed(dataset, leads.id)
    wanted |= {p.column: "personal column to be hashed" for p in hashed if p.column not in wanted}
    for feature in dataset.features:
        wanted.setdefault(feature.source, "feature")
    view = _view(dataset, leads.files, leads.format, dataset.features, csv=leads.csv)
    return Table(LEADS, view, wanted, leads.id, dataset.features, hashed=hashed, outcome=outcome)


def _view(
    dataset: JourneyDataset, files: tuple[str, ...], kind: str, features: tuple[Feature, ...], **changes: object
) -> Dataset:
    # Not validated: a table may have no feature of its own, and the names of the whole were checked together.
    fields = {name: field.get_default() for name, field in Dataset.model_fields.items()}
    fields |= {"name": dataset.name, "files": files, "format": kind, "features": features}
    fields |= {"label": Label(column="\0"), "personal_data": dataset.personal_data, "leave_out": dataset.leave_out}
    return Dataset.model_construct(**(fields | changes))


def _hashed(dataset: JourneyDataset, identity: str) -> tuple[PersonalData, ...]:
    ids = {identity, dataset.events.lead}
    return tuple(p for p in dataset.personal_data if p.action == "hash" and p.column not in ids)


def hashes_id(dataset: JourneyDataset) -> bool:
    """Whether the lead's id is personal data that is carried hashed."""
    ids = {dataset.events.lead, dataset.leads.id if dataset.leads else None}
    return any(p.action == "hash" and p.column in ids for p in dataset.personal_data)


def needs_key(dataset: JourneyDataset) -> bool:
    return any(p.action == "hash" for p in dataset.personal_data)


def carried_features(table: Table) -> tuple[Feature, ...]:
    """The features of a lead as tf.Examples hold them: those of the dataset, then hashed personal columns."""
    hashed = (Feature(name=p.name or p.column, column=p.column, kind=Kind.CATEGORICAL) for p in table.hashed)
    return (*table.lead_features, *hashed)


def check(dataset: JourneyDataset, tables: Tables) -> tuple[str, ...]:
    """Everything that can be said before rows are read; returns the columns that no one mentions.

    Raises:
      DataError: a file cannot be read or lacks a column.
      ConfigError: two things have the same name in tf.Examples, a personal column plays a part in the clear, or
        there is no key for hashing.
    """
    taken = Counter([dataset.events.lead, *(f.name for f in carried_features(tables.carries)), *names.RESERVED])
    taken.update(names.history(f.name) for f in dataset.events.features)
    if twice := [name for name, count in taken.items() if count > 1]:
        raise ConfigError(
            f"dataset {dataset.name!r}: {twice[0]!r} names two things in tf.Examples",
            ["features, the lead column, hashed columns and the features of every decision need different names"],
        )
    personal = {p.column: p.action for p in dataset.personal_data}
    events, leads = dataset.events, dataset.leads
    roles = {"time": events.time, "action": events.action, "propensity": events.propensity}
    roles |= {"created": leads.created if leads else None}
    roles |= {"outcome": dataset.outcome.column if dataset.outcome else None}
    for role, column in roles.items():
        if column in personal:
            raise ConfigError(f"dataset {dataset.name!r}: the {role} column {column!r} is listed as personal data")
    for column in (events.lead, leads.id if leads else events.lead):
        if personal.get(column) == "drop":
            raise ConfigError(
                f"dataset {dataset.name!r}: the id {column!r} is personal data to be dropped",
                ["use `action: hash` or another id: a journey cannot be put together without one"],
            )
    if needs_key(dataset):
        personal_key()
    return tuple(dict.fromkeys(name for n, file in tables.files for name in tables.table(n).layout(file).ignored))
