"""Smoothed target encoding: a category becomes the share of leads with it that converted.

    value(c) = (positives(c) + smoothing * prior) / (rows(c) + smoothing)        prior = all positives / all rows

learned on the training split and served as it is: a rate, 0-1. A category that was not seen often enough has the
prior; a missing one is a category of its own.

A training row must not meet its own label in that value, or trees learn to trust a column that says nothing. So the
rows of each fold get the value learned without the fold, *out of fold*:

    fold(lead) = hash(id) mod folds, the same for all rows of a lead
    value(c, k) = (positives(c) - positives(c, k) + smoothing * prior) / (rows(c) - rows(c, k) + smoothing)

The prior is that of all training rows in both. The prior of the other folds, which scikit-learn takes, is the higher
the lower the rate of the fold itself: where nothing else is known of a category (all of its rows in one fold, as with
ids) it would tell the folds apart and give each one's rate away. A constant tells nothing.

Reference: D. Micci-Barreca (2001), A preprocessing scheme for high-cardinality categorical attributes in classification
and prediction problems, SIGKDD Explorations 3(1).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from numpy.typing import NDArray

from modules.analysis import Analyzer
from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.categorical import encoding_of
from modules.encoding.columns import TransformedFeature, column
from modules.encoding.inputs import dense_column
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig
from modules.vocabulary import MergeCounts, VocabularySpec, file_name, lookup, select_words, unique_counts

TARGET_FILES = "target_files"
"""Key of custom_config: by name of the column, the files that `TargetCounts` wrote."""

MISSING, UNKNOWN, FIRST = 0, 1, 2
"""Rows of a table: the missing category, every unknown one, the first line of the file of categories."""

_KEY = (0x1E3779B97F4A7C15, 0x51B54A32D192ED03)
_CODE_DIGITS = 3


@dataclass(frozen=True)
class TargetSpec:
    """What to learn about one column of categories.

    Attributes:
      name: of the column.
      smoothing: weight of the prior, rows; 0 and more.
      folds: into how many parts training rows are dealt, 2 to 100.
      top_k: at most this many categories, the most frequent; all of them by default.
      min_count: a category with fewer training rows has the prior.
    """

    name: str
    smoothing: float
    folds: int = 5
    top_k: int | None = None
    min_count: int = 1


@dataclass(frozen=True)
class TargetTable:
    """What one column's categories are worth.

    Attributes:
      file: path of the categories, one a line, the most frequent first; an asset of the graph.
      served: float32 [V], 0-1: missing, unknown, then the lines of the file.
      out_of_fold: float32 [V, folds], the same for training rows of each fold.
    """

    file: str
    served: NDArray[np.float32]
    out_of_fold: NDArray[np.float32]


def fold_of(ids: tf.Tensor, folds: int) -> tf.Tensor:
    """Fold of each lead: string of any shape -> int64, 0 to folds - 1, the same on every machine (SipHash, fixed key).

    Unlike the hashes that split tables, so the folds are alike in every split.
    """
    return tf.strings.to_hash_bucket_strong(ids, folds, key=_KEY)


def labelled(categories: tf.Tensor, ids: tf.Tensor, labels: tf.Tensor, folds: int) -> tf.Tensor:
    """Categories marked with fold and label, so that counting words counts all three.

    Args:
      categories: string, '' is missing.
      ids: string, the leads' ids.
      labels: int64, 0 or 1.
      folds: 2 to 100.

    Returns:
      string of the same shape: three digits, 2 * fold + label, then the category.
    """
    codes = 2 * fold_of(ids, folds) + tf.cast(labels, tf.int64)
    return tf.strings.join([tf.strings.as_string(codes, width=_CODE_DIGITS, fill="0"), categories])


def count_categories(counted: pa.Table, spec: TargetSpec) -> tuple[list[bytes], NDArray[np.int64]]:
    """Counts by category, fold and label from counts of labelled words.

    Args:
      counted: columns `word` (large_binary, see `labelled`) and `count` (int64), each word once.
      spec: which categories count.

    Returns:
      The categories in use, the most frequent first, ties by falling bytes; and rows, int64 [2 + categories, folds, 2],
      in the order of a TargetTable with all rows of categories that are not in use under UNKNOWN.
    """
    words = counted["word"].combine_chunks()
    codes = pc.binary_slice(words, 0, _CODE_DIGITS).cast(pa.large_string()).cast(pa.int64()).to_numpy()
    # binary_slice fails where nothing is left of a word (Arrow 18).
    encoded = pc.binary_replace_slice(words, 0, _CODE_DIGITS, b"").dictionary_encode()
    found, width = encoded.dictionary, 2 * spec.folds
    cells = encoded.indices.to_numpy().astype(np.int64) * width + codes
    rows = np.zeros((len(found), width), np.int64)
    np.add.at(rows.reshape(-1), cells, counted["count"].to_numpy())
    totals = pa.table({"word": found, "count": rows.sum(1)})
    limit = len(found) if spec.top_k is None else spec.top_k
    categories = select_words(totals, VocabularySpec(spec.name, limit, spec.min_count))
    place = pc.index_in(found, pa.array(categories, found.type)).fill_null(UNKNOWN - FIRST).to_numpy() + FIRST
    missing = np.asarray(pc.equal(found, b"")) & (rows.sum(1) >= spec.min_count)
    result = np.zeros((FIRST + len(categories), width), np.int64)
    np.add.at(result, np.where(missing, MISSING, place), rows)
    return categories, result.reshape(-1, spec.folds, 2)


def rates(counts: NDArray[np.int64], smoothing: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The values of a TargetTable.

    Args:
      counts: int64 [V, folds, 2], see `count_categories`.
      smoothing: weight of the prior, rows.

    Returns:
      float32 [V] served and float32 [V, folds] out of fold. Without any row everything is 0.
    """
    positives, rows = counts[:, :, 1], counts.sum(2)
    prior = positives.sum() / max(rows.sum(), 1)

    def shrunk(positives: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        weight = rows + smoothing
        value = (positives + smoothing * prior) / np.where(weight > 0, weight, 1.0)
        value = np.where(weight > 0, value, prior)
        value[UNKNOWN] = prior
        return value.astype(np.float32)

    all_positives, all_rows = positives.sum(1), rows.sum(1)
    return (
        shrunk(all_positives, all_rows),
        shrunk(all_positives[:, None] - positives, all_rows[:, None] - rows),
    )


@dataclass(frozen=True)
class TargetCounts(Analyzer):
    """Counts categories by fold and label; what is handed on is the file of categories and that of the counts (.npy).

    Columns: categories (string), ids (string) and labels (int64), of one shape; see `labelled`.
    """

    spec: TargetSpec
    key: ClassVar[str] = TARGET_FILES

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.spec.name

    def reduce(self, *columns: Any) -> Sequence[tf.Tensor]:
        categories, ids, labels = columns
        return unique_counts(labelled(categories, ids, labels, self.spec.folds))

    def combiner(self) -> beam.CombineFn:
        return MergeCounts(1)

    def write(self, found: list[pa.Table], folder: str, index: int) -> list[str]:
        categories, counts = count_categories(found[0], self.spec)
        path = str(Path(folder) / file_name(index, self.name).replace("vocabulary", "target", 1))
        with tf.io.gfile.GFile(path, "wb") as out:
            out.write(b"\n".join([*categories, b""]))
        with tf.io.gfile.GFile(f"{path}.npy", "wb") as out:
            np.save(out, counts, allow_pickle=False)
        return [path, f"{path}.npy"]


def read_table(files: Sequence[str], spec: TargetSpec) -> TargetTable:
    """The table of a column from the files that `TargetCounts` wrote; its values become constants of the graph."""
    categories_file, counts_file = files
    with tf.io.gfile.GFile(counts_file, "rb") as source:
        served, out_of_fold = rates(np.load(source, allow_pickle=False), spec.smoothing)
    return TargetTable(categories_file, served, out_of_fold)


class TargetEncoding:
    """The columns of a batch, looked up once.

    Args:
      columns: string [n, 1] each, '' is missing.
      tables: one for each, all with the same folds.
    """

    def __init__(self, columns: Sequence[tf.Tensor], tables: Sequence[TargetTable]) -> None:
        lines = [lookup(c, t.file, UNKNOWN - FIRST) for c, t in zip(columns, tables, strict=True)]
        missing = tf.equal(tf.concat(columns, axis=1), "")
        # All tables lie in one, behind each other.
        starts = np.cumsum([0, *(len(t.served) for t in tables[:-1])])
        self._places = starts + tf.where(missing, np.int64(MISSING), FIRST + tf.concat(lines, axis=1))
        self._served = np.concatenate([t.served for t in tables])
        self._out_of_fold = np.concatenate([t.out_of_fold for t in tables])

    def served(self) -> tf.Tensor:
        """float32 [n, columns], 0-1."""
        return tf.gather(self._served, self._places)

    def out_of_fold(self, ids: tf.Tensor) -> tf.Tensor:
        """The values of training rows: ids, string [n, 1] -> float32 [n, columns], 0-1."""
        folds = self._out_of_fold.shape[1]
        return tf.gather(self._out_of_fold.reshape(-1), self._places * folds + fold_of(ids, folds))


def rows(config: TransformConfig) -> tuple[Feature, ...]:
    """The rows of the feature table that are target-encoded, in the order of both outputs of Transform."""
    every = config.dataset.encoded.of_kind(Kind.CATEGORICAL), config.dataset.encoded.of_kind(Kind.CROSS)
    return tuple(row for several in every for row in several if encoding_of(row, config) == "target")


def learnings(rows: Sequence[Feature], config: TransformConfig) -> list[Learning]:
    marks = config.dataset.id_feature, config.dataset.label_feature
    return [
        Learning(TargetCounts(_spec(row, config)), functools.partial(_labelled_rows, row, *marks), (*row.raw, *marks))
        for row in rows
    ]


def _labelled_rows(row: Feature, id_feature: str, label_feature: str, batch: Batch) -> list[tf.Tensor]:
    inputs = batch.inputs
    return [batch.strings(row), dense_column(inputs[id_feature], ""), dense_column(inputs[label_feature], 0)]


def columns(rows: Sequence[Feature], config: TransformConfig, words: Words) -> list[TransformedFeature | None]:
    return [column(row, row.name, "target", monotone=row.monotone) for row in rows]


def encode(rows: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """[n, rows]: what is served, 0-1; never missing."""
    return _encoding(rows, batch).served()


def encode_out_of_fold(rows: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """[n, rows]: what the lead would have as a row of the training split, 0-1; never missing."""
    return _encoding(rows, batch).out_of_fold(dense_column(batch.inputs[batch.config.dataset.id_feature], ""))


def _encoding(rows: Sequence[Feature], batch: Batch) -> TargetEncoding:
    def make() -> TargetEncoding:
        tables = [read_table(batch.learned[TARGET_FILES][row.name], _spec(row, batch.config)) for row in rows]
        return TargetEncoding([batch.strings(row) for row in rows], tables)

    return batch.once("target", make)


def _spec(row: Feature, config: TransformConfig) -> TargetSpec:
    return TargetSpec(row.name, row.smoothing, config.model.target_folds, row.vocabulary_size, row.min_count)
