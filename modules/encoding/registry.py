"""The families of encoders: one file of this package each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

from modules.encoding import categorical, dates, numeric, target, text
from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.columns import TransformedFeature
from modules.features import Feature
from modules.transform_config import TransformConfig


@dataclass(frozen=True)
class Family:
    """Encoders that turn some of the rows of a feature table into a block of the transformed matrix.

    Attributes:
      rows: the rows it encodes, in the order of the block.
      learnings: what has to be learned for these rows.
      columns: the columns of the block, as many as it is wide; None where the learned vocabulary is too short for the
        column to ever hold anything but 0. The width depends on rows and settings only.
      encode: the block, float32 [n, width].
    """

    rows: Callable[[TransformConfig], Sequence[Feature]]
    learnings: Callable[[Sequence[Feature], TransformConfig], Sequence[Learning]]
    columns: Callable[[Sequence[Feature], TransformConfig, Words], Sequence[TransformedFeature | None]]
    encode: Callable[[Sequence[Feature], Batch], tf.Tensor]


FAMILIES: tuple[Family, ...] = (
    Family(numeric.rows, numeric.learnings, numeric.columns, numeric.encode),
    Family(categorical.rows, categorical.learnings, categorical.columns, categorical.encode),
    Family(target.rows, target.learnings, target.columns, target.encode),
    Family(text.rows, text.learnings, text.columns, text.encode),
    Family(dates.rows, dates.learnings, dates.columns, dates.encode),
)
"""In the order of their blocks in the transformed matrix."""


def in_use(config: TransformConfig) -> Iterator[tuple[Family, Sequence[Feature]]]:
    """The families that have rows in this dataset, and their rows."""
    for family in FAMILIES:
        rows = family.rows(config)
        if rows:
            yield family, rows


def learnings(config: TransformConfig) -> list[Learning]:
    """All that the analysis pass has to learn."""
    return [learning for family, rows in in_use(config) for learning in family.learnings(rows, config)]
