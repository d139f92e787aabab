"""The feature table: one row per feature, from which everything else is derived.

Schema, Transform, the serving signatures, the request builder and the documentation all read this table; nothing
keeps a second list of column names. What each option does: docs/features.md.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Kind(enum.StrEnum):
    """What a column holds, and so how it is encoded.

    Raw kinds, a column of the source file each:
      numeric: float32, missing is NaN.
      categorical: bytes, missing is absent; a vocabulary learned by Transform turns it into an index.
      text: bytes, free text; a limited vocabulary of words becomes presence indicators.
      date: a moment in time; age, weekday, month and hour become columns.
    Derived kinds, made of two raw features inside Transform and never part of a request:
      cross: the pair of two categorical values, encoded as a category.
      ratio: the quotient of two numbers, encoded as a number.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"
    DATE = "date"
    CROSS = "cross"
    RATIO = "ratio"


_OF = {Kind.CROSS: Kind.CATEGORICAL, Kind.RATIO: Kind.NUMERIC}
"""Kinds of derived rows, and the kind of raw feature they are made of."""

_RAW = frozenset(Kind) - frozenset(_OF)
_NUMBERS = frozenset({Kind.NUMERIC, Kind.RATIO})
_CATEGORIES = frozenset({Kind.CATEGORICAL, Kind.CROSS})
_WORDS = _CATEGORIES | {Kind.TEXT}

_BELONGS: dict[str, frozenset[Kind]] = {
    "column": _RAW,
    "missing_values": _RAW,
    "max_missing": _RAW,
    "max_drift": _RAW,
    "open_vocabulary": _RAW,
    "min": frozenset({Kind.NUMERIC}),
    "max": frozenset({Kind.NUMERIC}),
    "scaling": _NUMBERS,
    "buckets": _NUMBERS,
    "clip": _NUMBERS,
    "fill": _NUMBERS,
    "monotone": _NUMBERS | _CATEGORIES,
    "vocabulary_size": _WORDS,
    "min_count": _WORDS,
    "encoding": _CATEGORIES,
    "oov_buckets": _CATEGORIES,
    "hash_buckets": _CATEGORIES,
    "smoothing": _CATEGORIES,
    "ngrams": frozenset({Kind.TEXT}),
    "weighting": frozenset({Kind.TEXT}),
    "parts": frozenset({Kind.DATE}),
    "reference": frozenset({Kind.DATE}),
    "format": frozenset({Kind.DATE}),
    "of": frozenset(_OF),
    "terms": frozenset(Kind),
}
"""The kinds that know an option; whatever is not listed every kind knows."""


class Feature(BaseModel):
    """One row of the feature table.

    `name` is the feature's name in tf.Examples and in every request; `column` is the name in the source file when
    that differs. A derived row has neither: its columns appear under its name in the transformed matrix only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="name in tf.Examples and requests")
    kind: Kind = Field(description="numeric, categorical, text or date; cross and ratio are made of two others")
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
    of: tuple[str, ...] = Field(
        default=(), description="cross: two categorical features; ratio: numerator and denominator, numeric"
    )
    scaling: Literal["none", "z_score", "min_max", "quantile", "log"] | None = Field(
        default=None,
        description="numeric: how the number is scaled, after clip and fill; none for trees and z_score for the "
        "network by default",
    )
    buckets: Annotated[int, Field(ge=2, le=1000)] | tuple[float, ...] | None = Field(
        default=None, description="numeric: so many buckets of equal mass, or their boundaries, instead of scaling"
    )
    clip: tuple[float, float] | None = Field(
        default=None, description="numeric: clip at these training quantiles, e.g. [0.01, 0.99]; adds a flag column"
    )
    fill: Literal["native", "mean", "median"] | Annotated[float, Field(allow_inf_nan=False)] = Field(
        default="native",
        description="numeric: what stands for a missing value, with an indicator column; native leaves NaN",
    )
    encoding: Literal["index", "one_hot", "hash", "target"] | None = Field(
        default=None, description="categorical: how a category becomes columns; the model's `categorical` by default"
    )
    vocabulary_size: int | None = Field(
        default=None, ge=1, description="largest vocabulary of a categorical or text feature (1000 and 100 by default)"
    )
    min_count: int = Field(default=1, ge=1, description="a word seen less often in training is out of vocabulary")
    oov_buckets: int = Field(
        default=1, ge=1, le=1000, description="index and one_hot: words out of vocabulary are hashed into so many"
    )
    hash_buckets: int = Field(default=256, ge=2, le=1 << 20, description="encoding hash: number of buckets")
    smoothing: float = Field(
        default=20.0, ge=0, allow_inf_nan=False, description="encoding target: rows that the overall mean weighs"
    )
    open_vocabulary: bool = Field(
        default=False, description="new categories are expected (ids, post codes) and do not close the gate"
    )
    ngrams: int = Field(default=1, ge=1, le=3, description="text: sequences of 1 up to so many words")
    weighting: Literal["presence", "count", "tfidf"] = Field(
        default="presence", description="text: what stands in a word's column"
    )
    parts: tuple[Literal["age", "weekday", "month", "hour"], ...] = Field(
        default=("age", "weekday", "month"), min_length=1, description="date: what becomes columns"
    )
    reference: str | None = Field(
        default=None, description="date: name of the date feature that age is measured against"
    )
    format: str | None = Field(default=None, description="date: strptime format; ISO 8601 when absent")
    monotone: Literal[-1, 0, 1] = Field(
        default=0, description="monotone constraint of the trees; numeric, and encoding target"
    )
    terms: Literal["both", "trees", "linear"] = Field(
        default="both", description="what of the lead-scoring model reads it, where it has a linear term"
    )
    description: str = Field(default="", description="one line for people, with the unit")

    @property
    def source(self) -> str:
        """Name of the column in the source file."""
        return self.column or self.name

    @property
    def derived(self) -> bool:
        """Whether it is made of other features and so never an input."""
        return self.kind in _OF

    @property
    def raw(self) -> tuple[str, ...]:
        """Names of the raw features behind it."""
        if self.derived:
            return tuple(dict.fromkeys(self.of))
        return (self.name, self.reference) if self.reference else (self.name,)

    @property
    def top_k(self) -> int:
        """Largest vocabulary, words."""
        return self.vocabulary_size or (100 if self.kind is Kind.TEXT else 1000)

    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults, by name."""
        fields = type(self).model_fields
        found = {name: getattr(self, name) for name in fields if name not in ("name", "kind")}
        return {name: value for name, value in found.items() if value != fields[name].default}

    def encoding_options(self) -> dict[str, Any]:
        """Those of `options` that say how the feature is encoded."""
        return {name: value for name, value in self.options().items() if name in _ENCODING}

    @model_validator(mode="after")
    def _check(self) -> Feature:
        for option in self.options():
            kinds = _BELONGS.get(option)
            if kinds is not None and self.kind not in kinds:
                known = " and ".join(kind.value for kind in Kind if kind in kinds)
                raise ValueError(
                    f"{option} belongs to {known} features only, and {self.name!r} is {self.kind.value}: "
                    f"remove {option} or change the kind"
                )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        self._check_number()
        self._check_category()
        if self.derived and len(self.of) != 2:
            kind = _OF[self.kind].value
            raise ValueError(f"a {self.kind.value} needs `of` with the names of two {kind} features, got {self.of}")
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(f"parts names a part twice: {list(self.parts)}")
        return self

    def _check_number(self) -> None:
        if isinstance(self.buckets, tuple):
            edges = self.buckets
            if not edges or any(a >= b for a, b in itertools.pairwise(edges)) or not _finite(edges):
                raise ValueError(f"buckets needs a number or rising boundaries like [18, 30, 65], got {list(edges)}")
        if self.buckets is not None and self.scaling not in (None, "none"):
            raise ValueError(f"buckets stand instead of scaling {self.scaling!r}: remove one of the two")
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 1:
            raise ValueError(f"clip needs two rising shares from 0 to 1 like [0.01, 0.99], got {list(self.clip)}")

    def _check_category(self) -> None:
        wrong = {
            "hash_buckets": self.encoding != "hash",
            "smoothing": self.encoding != "target",
            "monotone": self.kind in _CATEGORIES and self.encoding != "target",
            "oov_buckets": self.encoding in ("hash", "target"),
            "vocabulary_size": self.encoding == "hash",
            "min_count": self.encoding == "hash",
        }
        for option in self.options():
            if wrong.get(option, False):
                chosen = f"encoding {self.encoding!r}" if self.encoding else "the model's default encoding"
                raise ValueError(f"{option} has no meaning with {chosen}: remove it or change encoding")


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

    @field_validator("rows")
    @classmethod
    def _references(cls, rows: tuple[Feature, ...]) -> tuple[Feature, ...]:
        for row in rows:
            if row.derived:
                _check_names(row, "of", row.of, _OF[row.kind], rows)
            if row.reference is not None:
                if row.reference == row.name:
                    raise ValueError(f"date {row.name!r}: reference names the feature itself; name another date")
                _check_names(row, "reference", (row.reference,), Kind.DATE, rows)
        if rows and all(row.derived for row in rows):
            raise ValueError("a table needs at least one raw feature")
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

    @property
    def raw(self) -> tuple[Feature, ...]:
        """Rows that are columns of the source file."""
        return tuple(row for row in self.rows if not row.derived)

    @property
    def derived(self) -> tuple[Feature, ...]:
        """Rows made of two raw ones."""
        return tuple(row for row in self.rows if row.derived)

    def of_kind(self, *kinds: Kind) -> tuple[Feature, ...]:
        return tuple(row for row in self.rows if row.kind in kinds)


def refuse_options(rows: Iterable[Feature], known: frozenset[str], where: str) -> None:
    """ValueError where a row has a kind or an option that `where` does not know.

    Args:
      rows: rows of a feature table.
      known: names of kinds and options that are understood beside those that every kind has.
      where: who reads the rows, for the message.
    """
    for row in rows:
        if row.kind.value not in known:
            kinds = ", ".join(kind.value for kind in Kind if kind.value in known)
            raise ValueError(f"feature {row.name!r}: {where} know no kind {row.kind.value!r}, only {kinds}")
        for option in row.encoding_options():
            if option not in known:
                raise ValueError(f"feature {row.name!r}: {where} do not know the option {option!r}; remove it")


_ENCODING = frozenset(_BELONGS) - {
    "column", "missing_values", "max_missing", "max_drift", "open_vocabulary", "min", "max", "monotone",
    "vocabulary_size", "min_count",
}  # fmt: skip
"""Options of how a feature is encoded, which each Transform has to know."""


def _check_names(row: Feature, option: str, wanted: tuple[str, ...], kind: Kind, rows: tuple[Feature, ...]) -> None:
    found = {other.name: other.kind for other in rows}
    for name in wanted:
        if found.get(name) is not kind:
            what = f"is {found[name].value}" if name in found else "is not in the feature table"
            names = ", ".join(n for n, k in found.items() if k is kind and n != row.name) or "none"
            raise ValueError(
                f"{row.kind.value} {row.name!r}: {option} names {name!r}, which {what}; "
                f"{kind.value} features are: {names}"
            )


def _finite(values: Iterable[float]) -> bool:
    return all(abs(value) < float("inf") for value in values)
