"""A dataset file as a typed value: where the table lies and what its columns mean. Datasets are data, not code."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from modules.features import Feature, FeatureTable

FROZEN = ConfigDict(frozen=True, extra="forbid")

SPLITS = ("train", "validation", "calibration", "test")
"""Every Examples artifact holds these four, in this order.

train fits the trees, validation stops them early, calibration maps margins to probabilities and carries the
reference population of the score, test is what the Evaluator sees."""


class CsvFormat(BaseModel):
    """How the text of a CSV file is laid out."""

    model_config = FROZEN
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    header: bool = Field(default=True, description="first line names the columns")
    columns: tuple[str, ...] = Field(default=(), description="names of the columns when there is no header")
    decimal: Literal[".", ","] = Field(default=".", description="what stands before the fraction of a number")
    thousands: Literal[".", ",", "'", " "] | None = Field(
        default=None, description="what stands between groups of three digits"
    )
    trim: bool = Field(default=False, description="blanks around a field are not part of it")

    @model_validator(mode="after")
    def _separators(self) -> CsvFormat:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; give thousands another value or none")
        return self


class Label(BaseModel):
    """The column the model learns to predict, 1 for converted."""

    model_config = FROZEN
    column: str
    positive: tuple[str, ...] = Field(default=("1", "true", "True", "yes"), description="spellings of 'converted'")
    negative: tuple[str, ...] = Field(default=("0", "false", "False", "no"), description="spellings of 'not converted'")


class TimeColumn(BaseModel):
    """When a lead was created; needed for time-based splits and label maturity."""

    model_config = FROZEN
    column: str | None = Field(default=None, description="name of the column; or use year_from_month_order")
    format: str | None = Field(default=None, description="strptime format; ISO 8601 when absent")
    month_order: MonthOrder | None = Field(default=None, description="rows are in order of time but carry no year")

    @model_validator(mode="after")
    def _one(self) -> TimeColumn:
        if (self.column is None) == (self.month_order is None):
            raise ValueError("give either column or month_order")
        return self


class MonthOrder(BaseModel):
    """Recovers the year of rows that are ordered by time and carry only a month name.

    The year grows by one whenever the month steps back (dec to mar, say). Rows of a month share its first day.
    """

    model_config = FROZEN
    column: str
    first_year: int


class Split(BaseModel):
    """How rows are held out.

    hash: a row's part is decided by a keyed hash of its id, so it never changes between runs or file orders.
    time: the newest rows are the test part, the ones before them calibration, and so on; `gap_days` between training
      and test keeps labels from overlapping.
    column: the file says it; values are mapped to the parts by name.
    order: as time, but by row number in files that are in order of time.

    Shares are of all rows; train gets what is left.
    """

    model_config = FROZEN
    method: Literal["hash", "time", "column", "order"] = "hash"
    test: float = Field(default=0.2, ge=0, lt=1, description="share of rows for the Evaluator")
    calibration: float = Field(default=0.1, ge=0, lt=1, description="share of rows for calibration")
    seed: int = Field(default=0, ge=0, description="another seed, another hash split")
    stratify: bool = Field(default=False, description="hash only: exact shares within each class instead of on average")
    gap_days: float = Field(default=0, ge=0, description="time only: days left out before the test part")
    column: str | None = Field(default=None, description="column only: name of the column")
    values: dict[str, Literal["train", "validation", "calibration", "test"]] = Field(
        default_factory=dict, description="column only: which value belongs to which part"
    )
    inner: Literal["hash", "same"] = Field(
        default="hash",
        description="time, order and column: how validation and calibration are taken from what is not test: at "
        "random by hash of the id, or as the newest blocks ('same', time and order only)",
    )

    @model_validator(mode="after")
    def _check(self) -> Split:
        if self.test + self.calibration >= 1:
            raise ValueError(f"test + calibration = {self.test + self.calibration:g} leaves nothing to train on")
        if self.method == "column" and not self.column:
            raise ValueError("method column needs `column`")
        if self.gap_days and self.method != "time":
            raise ValueError(f"gap_days goes with method time; the method is {self.method}")
        if self.stratify and self.method != "hash":
            raise ValueError(f"stratify goes with method hash; the method is {self.method}")
        return self


class PersonalData(BaseModel):
    """A column about a person: it never reaches an artifact in the clear."""

    model_config = FROZEN
    column: str
    action: Literal["drop", "hash"] = "drop"
    name: str | None = Field(default=None, description="hash only: name of the hashed feature, the column's otherwise")


class LeftOut(BaseModel):
    """A column that is deliberately not used, and why."""

    model_config = FROZEN
    column: str
    reason: str


class Dataset(BaseModel):
    """A dataset file under configs/datasets/.

    Paths may hold wildcards and `{SPAN}`; relative ones are relative to the current directory of the command.
    """

    model_config = FROZEN
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="short name; also the name of its schema folder")
    description: str = ""
    files: tuple[str, ...] = Field(min_length=1, description="paths or patterns of the table's files")
    format: Literal["csv", "parquet"] = Field(default="csv", description="csv may be gzip-compressed (.gz)")
    csv: CsvFormat = CsvFormat()
    id: str | None = Field(default=None, description="column that identifies a lead; row numbers otherwise")
    label: Label
    time: TimeColumn | None = None
    split: Split = Split()
    label_maturity_days: float = Field(
        default=0,
        ge=0,
        description="a lead younger than this at `as_of` is left out, converted or not: "
        "to keep only the ones that converted early would raise the base rate",
    )
    as_of: dt.datetime | None = Field(default=None, description="date of the export; the newest row's time otherwise")
    features: tuple[Feature, ...] = Field(min_length=1, description="the feature table, derived rows included")
    personal_data: tuple[PersonalData, ...] = ()
    leave_out: tuple[LeftOut, ...] = ()
    max_bad_rows: float = Field(default=0.001, ge=0, le=1, description="share of quarantined rows that stops the run")
    max_drift: float | None = Field(
        default=0.1,
        ge=0,
        le=1,
        description="drift threshold (Jensen-Shannon or L-infinity); a feature may have its own",
    )

    @field_validator("features")
    @classmethod
    def _table(cls, rows: tuple[Feature, ...]) -> tuple[Feature, ...]:
        FeatureTable(rows=rows)
        return rows

    @model_validator(mode="after")
    def _check(self) -> Dataset:
        feature_columns = {f.source for f in self.table}
        for other in self.leave_out:
            if other.column in feature_columns:
                raise ValueError(f"column {other.column!r} is both a feature and left out ({other.reason})")
        for person in self.personal_data:
            if person.column in feature_columns:
                raise ValueError(f"column {person.column!r} is personal data and cannot be a feature")
        if self.label.column in feature_columns:
            raise ValueError(f"the label {self.label.column!r} is also a feature")
        if self.time is None:
            if self.label_maturity_days:
                raise ValueError("label_maturity_days needs `time`")
            if self.split.method == "time":
                raise ValueError("split.method time needs `time`")
        return self

    @property
    def table(self) -> FeatureTable:
        """The raw features: columns of the source file, inputs of every model."""
        return FeatureTable(rows=tuple(f for f in self.features if not f.derived))

    @property
    def encoded(self) -> FeatureTable:
        """All rows, derived ones too: what Transform turns into columns."""
        return FeatureTable(rows=self.features)

    @property
    def id_feature(self) -> str:
        """Name, in tf.Examples, of the lead's id (bytes); `file:row` when the table has no id."""
        return self.id or ROW_ID

    @property
    def time_feature(self) -> str | None:
        """Name, in tf.Examples, of the lead's time (int64, seconds since 1970 UTC)."""
        if self.time is None:
            return None
        return self.time.column or ROW_TIME

    @property
    def as_of_seconds(self) -> int | None:
        """`as_of` in seconds since 1970 UTC, rounded down; without an offset it is UTC."""
        if self.as_of is None:
            return None
        moment = self.as_of if self.as_of.tzinfo else self.as_of.replace(tzinfo=dt.UTC)
        return int((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1))

    @property
    def label_feature(self) -> str:
        """Name, in tf.Examples, of the label (int64, 0 or 1)."""
        return self.label.column


ROW_ID = "row_id"
ROW_TIME = "row_time"

TimeColumn.model_rebuild()
