"""A column of the transformed matrix: what it is called, where it comes from and how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modules.features import Feature

FEATURES = "features"
"""Name of the float32 [n, F] output of Transform."""

LABEL = "label"
"""Name of the int64 [n] label output of Transform."""

TARGET_ENCODED = "target_encoded"
"""Name of the float32 [n, T] output of Transform: the target-encoded columns for rows of the training split."""

TIME = "time"
"""Name of the int64 [n] output of Transform that holds seconds since 1970 UTC, for datasets with a time column."""

Encoding = Literal[
    "numeric",
    "bucket",
    "clipped",
    "missing",
    "index",
    "hash",
    "target",
    "one_hot",
    "out_of_vocabulary",
    "word",
    "word_count",
    "date",
]
"""How a column was made.

numeric: a number, scaled or not. bucket: number of the bucket it lies in. clipped: 1 where it was clipped. missing: 1
where it was filled. index: line of the vocabulary. hash: number of the hash bucket. target: smoothed mean of the label.
one_hot: 1 for one category. out_of_vocabulary: 1 for all others. word: presence, count or tf-idf of a word or n-gram.
word_count: number of words. date: a part of a date.
"""


@dataclass(frozen=True)
class TransformedFeature:
    """One column of the transformed matrix.

    Attributes:
      name: unique; `age`, `age#clipped`, `age=?` (missing), `job`, `job=admin`, `job=?` (out of vocabulary),
        `message:price`, `message#words`, `since:weekday_sin`.
      source: name of the row of the feature table it comes from.
      encoding: how it was made.
      position: column in Transform's `features` output.
      rank: of one_hot and word, the line of the vocabulary file it stands for; -1 otherwise.
      monotone: -1, 0 or 1, the constraint of the trees.
      raw: names of the raw features behind it: the source itself, or the two that a cross or a ratio is made of.
      terms: who reads it where the model has a linear term: trees, the linear term, or both.
    """

    name: str
    source: str
    encoding: Encoding
    position: int
    rank: int = -1
    monotone: int = 0
    raw: tuple[str, ...] = ()
    terms: Literal["both", "trees", "linear"] = "both"

    def __post_init__(self) -> None:
        if not self.raw:
            object.__setattr__(self, "raw", (self.source,))


def column(row: Feature, name: str, encoding: Encoding, rank: int = -1, monotone: int = 0) -> TransformedFeature:
    """A column made of a row; whoever lays out the matrix gives it its position."""
    return TransformedFeature(name, row.name, encoding, -1, rank, monotone, row.raw, row.terms)
