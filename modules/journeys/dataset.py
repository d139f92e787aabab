"""A dataset file of journeys as a typed value: the table of events, the leads they belong to, and what they mean."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from modules.dataset import CsvFormat, LeftOut, PersonalData
from modules.features import Feature, FeatureTable, Kind, refuse_options
from modules.journeys import names

FROZEN = ConfigDict(frozen=True, extra="forbid")

EVENT_OPTIONS = frozenset({"numeric", "categorical", "scaling", "clip", "fill"})
LEAD_OPTIONS = EVENT_OPTIONS | {"text"}
"""Kinds and encoding options of the feature table that the journeys' Transform knows, for events and for leads."""


class EventTable(BaseModel):
    """The table with one row per event."""

    model_config = FROZEN
    files: tuple[str, ...] = Field(min_length=1, description="paths or patterns of the table's files")
    format: Literal["csv", "parquet"] = "csv"
    csv: CsvFormat = CsvFormat()
    lead: str = Field(description="column that says to which lead an event belongs")
    time: str = Field(description="column with the time of an event")
    time_format: str | None = Field(default=None, description="strptime format; ISO 8601 when absent")
    action: str = Field(description="column with the action; what the model learns to predict")
    propensity: str | None = Field(
        default=None, description="column with the probability with which the action was chosen, 0-1, if it was logged"
    )
    features: tuple[Feature, ...] = Field(
        default=(), description="attributes of an event; seen only from the decision after it on"
    )

    @field_validator("features")
    @classmethod
    def _kinds(cls, rows: tuple[Feature, ...]) -> tuple[Feature, ...]:
        seen: set[str] = set()
        for row in rows:
            if row.kind is Kind.TEXT:
                raise ValueError(f"event feature {row.name!r}: text is not supported, only numeric and categorical")
            if names.history(row.name) in names.RESERVED or row.name in seen:
                raise ValueError(f"event feature {row.name!r}: the name is taken")
            seen.add(row.name)
        refuse_options(rows, EVENT_OPTIONS, "event features of journeys")
        return rows


class LeadTable(BaseModel):
    """A table with one row per lead; without one, the lead's features are columns of the events."""

    model_config = FROZEN
    files: tuple[str, ...] = Field(min_length=1)
    format: Literal["csv", "parquet"] = "csv"
    csv: CsvFormat = CsvFormat()
    id: str = Field(description="column that identifies a lead")
    created: str | None = Field(default=None, description="column with the time the lead came in")
    created_format: str | None = Field(default=None, description="strptime format; ISO 8601 when absent")


class Outcome(BaseModel):
    """What a journey is for. Either a column of the lead table, or an action that must occur in the journey."""

    model_config = FROZEN
    column: str | None = Field(default=None, description="column of the lead table (or of the events without one)")
    positive: tuple[str, ...] = ("1", "true", "True", "yes")
    negative: tuple[str, ...] = ("0", "false", "False", "no")
    action: str | None = Field(default=None, description="the journey converted if this action occurs in it")
    maturity_days: float = Field(
        default=0,
        ge=0,
        description="the outcome of a journey that began less than this before `as_of` is not known yet",
    )

    @model_validator(mode="after")
    def _one(self) -> Outcome:
        if (self.column is None) == (self.action is None):
            raise ValueError("give either column or action")
        return self


class History(BaseModel):
    """The window of a decision."""

    model_config = FROZEN
    length: int = Field(default=40, ge=1, le=1000, description="most events before a decision, L")
    min: int = Field(
        default=0, ge=0, description="decisions with fewer events before them are left out; 1 leaves out the first"
    )


class JourneySplit(BaseModel):
    """How journeys are held out; all decisions of a lead stand on one side.

    hash: by a keyed hash of the lead's id.
    time: journeys that began last are the test part, the ones before them calibration.
    order: as time, but by the first row of the journey in the file.

    Shares are of all journeys; train gets what is left. Validation is taken from what is neither test nor calibration:
    at random by hash, or the newest journeys (`inner: same`).
    """

    model_config = FROZEN
    method: Literal["hash", "time", "order"] = "time"
    test: float = Field(default=0.2, ge=0, lt=1)
    calibration: float = Field(default=0.1, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
    inner: Literal["hash", "same"] = "hash"

    @model_validator(mode="after")
    def _check(self) -> JourneySplit:
        if self.test + self.calibration >= 1:
            raise ValueError(f"test + calibration = {self.test + self.calibration:g} leaves nothing to train on")
        return self


class JourneyDataset(BaseModel):
    """A dataset file under configs/datasets/ whose top level has `events`."""

    model_config = FROZEN
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="short name; also the name of its schema folder")
    description: str = ""
    events: EventTable
    leads: LeadTable | None = None
    features: tuple[Feature, ...] = Field(
        default=(),
        description="features of the lead: columns of the lead table, known since the lead was created; or columns of "
        "the events, known from the value of the last event before the decision",
    )
    outcome: Outcome | None = Field(default=None, description="without one there is no value to predict")
    history: History = History()
    split: JourneySplit = JourneySplit()
    as_of: dt.datetime | None = Field(default=None, description="date of the export; the newest event's time otherwise")
    personal_data: tuple[PersonalData, ...] = ()
    leave_out: tuple[LeftOut, ...] = ()
    max_bad_rows: float = Field(default=0.001, ge=0, le=1, description="share of quarantined rows that stops the run")
    max_drift: float | None = Field(default=0.1, ge=0, le=1, description="drift threshold of lead and event features")

    @model_validator(mode="after")
    def _check(self) -> JourneyDataset:
        if self.features:
            refuse_options(self.features, LEAD_OPTIONS, "features of a journey's lead")
            FeatureTable(rows=self.features)
        for feature in self.features:
            taken = (*names.RESERVED, names.ACTION, self.events.lead)
            if feature.name.startswith(names.HISTORY_PREFIX) or feature.name in taken:
                raise ValueError(f"feature {feature.name!r}: the name is taken")
        used = {f.source for f in (*self.features, *self.events.features)}
        for other in self.leave_out:
            if other.column in used:
                raise ValueError(f"column {other.column!r} is both a feature and left out ({other.reason})")
        for person in self.personal_data:
            if person.column in used:
                raise ValueError(f"column {person.column!r} is personal data and cannot be a feature")
        if self.outcome is not None and self.outcome.column in used:
            raise ValueError(f"the outcome {self.outcome.column!r} is also a feature")
        if any(f.source == self.events.action for f in self.events.features):
            raise ValueError(f"the action {self.events.action!r} is also an event feature")
        return self

    @property
    def id_feature(self) -> str:
        """Name, in tf.Examples, of the lead's id (bytes)."""
        return self.events.lead

    @property
    def label_feature(self) -> str:
        """Name, in tf.Examples, of the label (bytes)."""
        return names.NEXT_ACTION

    @property
    def time_feature(self) -> str:
        """Name, in tf.Examples, of the decision's time (int64, seconds since 1970 UTC)."""
        return names.DECISION_TIME

    @property
    def files(self) -> tuple[str, ...]:
        """All files or patterns: what stands behind the dataset version."""
        return (*self.events.files, *(self.leads.files if self.leads else ()))

    @property
    def feature_columns(self) -> tuple[Feature, ...]:
        """Every feature as it is named in tf.Examples: the lead's, and the lists of the history.

        What schema, statistics, gate and drift look at.
        """
        action = Feature(name=names.HISTORY_ACTION, kind=Kind.CATEGORICAL, group="history", description="actions")
        lists = tuple(
            f.model_copy(update={"name": names.history(f.name), "group": "history"}) for f in self.events.features
        )
        return (*self.features, action, *lists)
