"""Text as columns: one for each frequent word or n-gram, then the number of words.

What counts as a word: `tokenize`. With `ngrams: k` sequences of 1 to k neighbouring words are counted like words; the
`vocabulary_size` most frequent of all lengths are kept, `text_words` of the model at most.

    weighting   in the column of word w
    presence    1 where w occurs, 0 elsewhere
    count       how often w occurs
    tfidf       count(w) idf(w), divided by the Euclidean norm of the row's weights;
                idf(w) = log((1 + texts) / (1 + texts with w)) + 1, over the training texts that are there

These are the defaults of scikit-learn's TfidfVectorizer (smooth_idf, norm l2).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from numpy.typing import NDArray

from modules.analysis import Analyzer
from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.columns import TransformedFeature, column
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig
from modules.vocabulary import MergeCounts, Vocabulary, VocabularySpec, lookup, select_words

DOCUMENTS = "documents"
"""Key of custom_config: how many texts there are and in how many each word occurs, by name, see `Documents`."""


def rows(config: TransformConfig) -> tuple[Feature, ...]:
    return config.dataset.encoded.of_kind(Kind.TEXT)


def words_kept(row: Feature, config: TransformConfig) -> int:
    """Words that get a column of their own, at most."""
    return min(row.top_k, config.model.text_words)


def learnings(rows: Sequence[Feature], config: TransformConfig) -> list[Learning]:
    found = []
    for row in rows:
        if not words_kept(row, config):
            continue
        spec = VocabularySpec(row.name, words_kept(row, config), row.min_count)
        found.append(Learning(Vocabulary(spec), functools.partial(_flat, row), row.raw))
        if row.weighting == "tfidf":
            documents = Documents(spec)
            found.append(Learning(documents, functools.partial(_documents, row), row.raw))
    return found


def _flat(row: Feature, batch: Batch) -> list[Any]:
    return [batch.words(row).values]


def _documents(row: Feature, batch: Batch) -> list[Any]:
    return [batch.words(row), batch.strings(row)]


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
    """Per row [n, k + 1]: weights of the k frequent words, then the number of words.

    Without text the weights are 0 and the number of words is NaN.
    """
    parts = []
    for row in rows:
        k = words_kept(row, batch.config)
        if k:
            counts = word_counts(batch.words(row), batch.vocabulary(row), k)
            parts.append(_weighted(counts, row, batch.learned))
        lengths = tf.cast(batch.tokens(row).row_lengths(), tf.float32)
        absent = tf.equal(tf.squeeze(batch.strings(row), 1), "")
        parts.append(tf.expand_dims(tf.where(absent, float("nan"), lengths), 1))
    return tf.concat(parts, axis=1)


def word_counts(words: tf.RaggedTensor, vocabulary_file: Any, k: int) -> tf.Tensor:
    """How often each word of the vocabulary occurs in a text: string [n, (words)] -> float32 [n, k]."""
    ids = lookup(words.values, vocabulary_file, k)
    cells = tf.stack([words.value_rowids(), ids], axis=1)
    counts = tf.scatter_nd(cells, tf.ones_like(ids, tf.float32), tf.stack([words.nrows(), k + 1]))
    return counts[:, :k]


def word_indicators(words: tf.RaggedTensor, vocabulary_file: Any, k: int) -> tf.Tensor:
    """1 where a word of the vocabulary occurs in a text: string [n, (words)] -> float32 [n, k]."""
    return tf.minimum(word_counts(words, vocabulary_file, k), 1.0)


def _weighted(counts: tf.Tensor, row: Feature, learned: Mapping[str, Any]) -> tf.Tensor:
    """Counts of words, float32 [n, k], as the row's `weighting` wants them."""
    if row.weighting == "presence":
        return tf.minimum(counts, 1.0)
    if row.weighting == "count":
        return counts
    known = inverse_frequencies(learned[DOCUMENTS][row.name])
    # Columns behind the learned words hold nothing but 0.
    weights = np.pad(known, (0, counts.shape[1] - len(known)))
    weighted = tf.cast(counts, tf.float64) * weights
    norm = tf.sqrt(tf.reduce_sum(tf.square(weighted), axis=1, keepdims=True))
    return tf.cast(tf.math.divide_no_nan(weighted, norm), tf.float32)


def inverse_frequencies(learned: Mapping[str, Any]) -> NDArray[np.float64]:
    """log((1 + documents) / (1 + documents with the word)) + 1: float64 [words]."""
    frequencies = np.array(learned["frequencies"], np.float64)
    return np.log((1 + learned["documents"]) / (1 + frequencies)) + 1


@dataclass(frozen=True)
class Documents(Analyzer):
    """Learns in how many texts each word of a vocabulary occurs.

    Its columns are words, ragged string [n, (words)], and texts, string [n, 1], '' where there is none. Handed on are
    `documents`, the number of texts, and `frequencies`, of which entry i belongs to line i of the vocabulary file.
    """

    spec: VocabularySpec
    key: ClassVar[str] = DOCUMENTS

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.spec.name

    def reduce(self, *columns: Any) -> Sequence[tf.Tensor]:
        words, texts = columns
        distinct, ids, counts = tf.unique_with_counts(words.values, out_idx=tf.int64)
        size = tf.size(distinct, out_type=tf.int64)
        once, _ = tf.unique(tf.cast(words.value_rowids(), tf.int64) * size + ids)
        frequencies = tf.math.unsorted_segment_sum(tf.ones_like(once), once % tf.maximum(size, 1), size)
        # No word is empty, so that entry counts the texts.
        there = tf.math.count_nonzero(tf.not_equal(texts, ""))
        return [distinct, counts, tf.concat([distinct, [""]], 0), tf.concat([frequencies, [there]], 0)]

    def combiner(self) -> beam.CombineFn:
        return MergeCounts(2)

    def write(self, found: Sequence[pa.Table], folder: str, index: int) -> dict[str, Any]:
        counts, documents = found
        words, numbers = documents["word"].combine_chunks(), documents["count"].combine_chunks()
        kept = pa.array([b"", *select_words(counts, self.spec)], pa.large_binary())
        # The placeholder of an empty vocabulary occurs in no text.
        total, *frequencies = numbers.take(pc.index_in(kept, words)).fill_null(0).to_pylist()
        return {"documents": total, "frequencies": frequencies}
