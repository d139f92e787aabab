"""The feature table: one row per feature, from which everything else is derived.

Schema, Transform, the serving signatures, the request builder and the documentation all read this table; nothing
keeps a second list of column names.
"""

from __future__ import annotations

import enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Kind(enum.StrEnum):
    """What a column holds, and so how it is encoded.

    numeric: float32, missing is NaN.
    categorical: bytes, missing is absent; a vocabulary learned by Transform turns it into an index.
    text: bytes, free text; a limited vocabulary of words becomes presence indicators.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"


class Feature(BaseModel):
    """One row of the feature table.

    `name` is the feature's name in tf.Examples and in every request; `column` is the name in the source file when
    that differs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="name in tf.Examples and requests")
    kind: Kind = Field(description="numeric, categorical or text")
    group: str = Field(default="other", description="heading under which people see it, e.g. demographic")
    column: str | None = Field(default=None, description="name in the source file, if it differs")
    missing_values: tuple[str, ...] = Field(
        default=(), description="spellings of 'missing' beside the empty field, e.g. '999' or 'unknown'"
    )
    min: float | None = Field(default=None, description="smallest legal value; the schema's float domain")
    max: float | None = Field(default=None, description="largest legal value; the schema's float domain")
    max_missing: float = Field(default=1.0, ge=0, le=1, description="largest share of missing values the gate accepts")
    max_drift: float | None = Field(
        default=None, ge=0, le=1, description="drift threshold of this feature; the dataset's `max_drift` otherwise"
    )
    vocabulary_size: int | None = Field(
        default=None, ge=1, description="largest vocabulary of a categorical or text feature (1000 and 100 by default)"
    )
    min_count: int = Field(default=1, ge=1, description="a word seen less often in training is out of vocabulary")
    open_vocabulary: bool = Field(
        default=False, description="new categories are expected (ids, post codes) and do not close the gate"
    )
    monotone: Literal[-1, 0, 1] = Field(default=0, description="monotone constraint of the trees; numeric only")
    description: str = Field(default="", description="one line for people, with the unit")

    @property
    def source(self) -> str:
        """Name of the column in the source file."""
        return self.column or self.name

    @property
    def top_k(self) -> int:
        """Largest vocabulary, words."""
        return self.vocabulary_size or (100 if self.kind is Kind.TEXT else 1000)

    @model_validator(mode="after")
    def _check(self) -> Feature:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        if self.kind is not Kind.NUMERIC and (self.min is not None or self.max is not None):
            raise ValueError("min and max belong to numeric features only")
        if self.kind is not Kind.NUMERIC and self.monotone:
            raise ValueError("monotone belongs to numeric features only")
        return self


class FeatureTable(BaseModel):
    """All features of a dataset, in the order of the file that declares them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[Feature, ...] = Field(min_length=1)

    @field_validator("rows")
    @classmethod
    def _unique(cls, rows: tuple[Feature, ...]) -> tuple[Feature, ...]:
        seen: set[str] = set()
        for row in rows:
            if row.name in seen:
                raise ValueError(f"feature {row.name!r} is listed twice")
            seen.add(row.name)
        return rows

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Feature:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows)

    def of_kind(self, *kinds: Kind) -> tuple[Feature, ...]:
        return tuple(row for row in self.rows if row.kind in kinds)
