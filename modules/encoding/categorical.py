"""Categories as columns: an index by falling frequency, one indicator each, or the number of a hash bucket."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.columns import TransformedFeature, column
from modules.encoding.crosses import shown
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig
from modules.vocabulary import Vocabulary, VocabularySpec, lookup


def encoding_of(row: Feature, config: TransformConfig) -> str:
    """The row's encoding, the model's where it names none."""
    return row.encoding or config.model.categorical


def rows(config: TransformConfig) -> tuple[Feature, ...]:
    table = config.dataset.encoded
    every = (*table.of_kind(Kind.CATEGORICAL), *table.of_kind(Kind.CROSS))
    return tuple(row for row in every if encoding_of(row, config) != "target")


def categories_kept(row: Feature, config: TransformConfig) -> int:
    """Largest vocabulary; 0 when there is none to learn. With one_hot each word gets an indicator of its own."""
    match encoding_of(row, config):
        case "hash":
            return 0
        case "one_hot":
            return min(row.top_k, config.model.max_one_hot)
    return row.top_k


def learnings(rows: Sequence[Feature], config: TransformConfig) -> list[Learning]:
    return [
        Learning(
            Vocabulary(VocabularySpec(row.name, categories_kept(row, config), row.min_count)),
            functools.partial(_strings, row),
            row.raw,
        )
        for row in rows
        if categories_kept(row, config)
    ]


def _strings(row: Feature, batch: Batch) -> list[tf.Tensor]:
    return [batch.strings(row)]


def columns(rows: Sequence[Feature], config: TransformConfig, words: Words) -> list[TransformedFeature | None]:
    found: list[TransformedFeature | None] = []
    for row in rows:
        match encoding_of(row, config):
            case "index":
                found.append(column(row, row.name, "index"))
            case "hash":
                found.append(column(row, row.name, "hash"))
            case _:
                width = categories_kept(row, config)
                known = list(words.get(row.name, ()))[:width]
                found += [column(row, f"{row.name}={shown(word)}", "one_hot", i) for i, word in enumerate(known)]
                found += [None] * (width - len(known))
                several = row.oov_buckets > 1
                found += [
                    column(row, f"{row.name}=?{i if several else ''}", "out_of_vocabulary")
                    for i in range(row.oov_buckets)
                ]
    return found


def encode(rows: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """[n, columns]; missing is NaN in all columns of a row.

    index: line of the vocabulary; words out of vocabulary go to `oov_buckets` numbers from `top_k` on.
    hash: fingerprint modulo `hash_buckets`. one_hot: an indicator for each word, then `oov_buckets` more.
    """
    # One lookup table per row, everything else on all of them at once.
    words = [batch.strings(row) for row in rows]
    raw = tf.concat(words, axis=1)
    numbers = tf.concat([_numbers(row, word, batch) for row, word in zip(rows, words, strict=True)], axis=1)
    missing = tf.equal(raw, "")
    indices = tf.where(missing, float("nan"), tf.cast(numbers, tf.float32))
    if all(encoding_of(row, batch.config) != "one_hot" for row in rows):
        return indices
    parts = []
    for i, row in enumerate(rows):
        if encoding_of(row, batch.config) == "one_hot":
            width = categories_kept(row, batch.config) + row.oov_buckets
            parts.append(tf.where(missing[:, i : i + 1], float("nan"), tf.one_hot(numbers[:, i], width)))
        else:
            parts.append(indices[:, i : i + 1])
    return tf.concat(parts, axis=1)


def _numbers(row: Feature, words: tf.Tensor, batch: Batch) -> tf.Tensor:
    """Number of each category: int64, the shape of `words`."""
    if encoding_of(row, batch.config) == "hash":
        # A fingerprint that does not change between versions and machines, as the name does not say.
        return tf.strings.to_hash_bucket_fast(words, row.hash_buckets)
    width = categories_kept(row, batch.config)
    found = lookup(words, batch.vocabulary(row), width)
    if row.oov_buckets == 1:
        return found
    return tf.where(found < width, found, width + tf.strings.to_hash_bucket_fast(words, row.oov_buckets))
