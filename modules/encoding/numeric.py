"""Numbers as columns."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.columns import TransformedFeature, column
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig


def rows(config: TransformConfig) -> tuple[Feature, ...]:
    table = config.dataset.encoded
    return (*table.of_kind(Kind.NUMERIC), *table.of_kind(Kind.RATIO))


def learnings(rows: Sequence[Feature], config: TransformConfig) -> list[Learning]:
    return []


def columns(rows: Sequence[Feature], config: TransformConfig, words: Words) -> list[TransformedFeature | None]:
    return [column(row, row.name, "numeric", monotone=row.monotone) for row in rows]


def encode(rows: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """[n, rows]: the value; NaN for missing and for infinities, which XGBoost does not take."""
    return batch.numbers(rows)
