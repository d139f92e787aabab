"""Text as columns: one for each frequent word, then the number of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.columns import TransformedFeature, column
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig
from modules.vocabulary import Vocabulary, VocabularySpec, lookup


def rows(config: TransformConfig) -> tuple[Feature, ...]:
    return config.dataset.encoded.of_kind(Kind.TEXT)


def words_kept(row: Feature, config: TransformConfig) -> int:
    """Words that get a column of their own, at most."""
    return min(row.top_k, config.model.text_words)


def learnings(rows: Sequence[Feature], config: TransformConfig) -> list[Learning]:
    return [
        Learning(
            Vocabulary(VocabularySpec(row.name, words_kept(row, config), row.min_count)),
            lambda batch, row=row: [batch.words(row).values],
            row.raw,
        )
        for row in rows
        if words_kept(row, config)
    ]


def columns(rows: Sequence[Feature], config: TransformConfig, words: Words) -> list[TransformedFeature | None]:
    found: list[TransformedFeature | None] = []
    for row in rows:
        width = words_kept(row, config)
        known = list(words.get(row.name, ()))[:width]
        found += [column(row, f"{row.name}:{word}", "word", rank) for rank, word in enumerate(known)]
        found += [None] * (width - len(known))
        found.append(column(row, f"{row.name}#words", "word_count"))
    return found


def encode(rows: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """Per row [n, k + 1]: 1 for each of the k frequent words that occurs, then the number of words.

    Without text the indicators are 0 and the number of words is NaN.
    """
    parts = []
    for row in rows:
        found, k = batch.words(row), words_kept(row, batch.config)
        lengths = batch.tokens(row).row_lengths()
        if k:
            parts.append(word_indicators(found, batch.vocabulary(row), k))
        count = tf.where(tf.equal(tf.squeeze(batch.strings(row), 1), ""), float("nan"), tf.cast(lengths, tf.float32))
        parts.append(tf.expand_dims(count, 1))
    return tf.concat(parts, axis=1)


def word_indicators(words: tf.RaggedTensor, vocabulary_file: Any, k: int) -> tf.Tensor:
    """1 where a word of the vocabulary occurs in a text: string [n, (words)] -> float32 [n, k]."""
    ids = lookup(words.values, vocabulary_file, k)
    cells = tf.stack([words.value_rowids(), ids], axis=1)
    counts = tf.scatter_nd(cells, tf.ones_like(ids, tf.float32), tf.stack([words.nrows(), k + 1]))
    return tf.minimum(counts[:, :k], 1.0)
