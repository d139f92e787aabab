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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_transform as tft
from numpy.typing import NDArray
from tensorflow_transform.beam.experimental import PTransformAnalyzer

from modules.vocabulary import (
    EMPTY_VOCABULARY,
    MergeCounts,
    VocabularySpec,
    file_name,
    lookup,
    select_words,
    unique_counts,
)

MISSING, UNKNOWN, FIRST = 0, 1, 2
"""Rows of a table: the missing category, every unknown one, the first line of the file of categories."""

_KEY = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_CODE_DIGITS = 3
MAX_FOLDS = 100


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

    file: Any
    served: Any
    out_of_fold: Any


def fold_of(ids: tf.Tensor, folds: int) -> tf.Tensor:
    """Fold of each lead: string of any shape -> int64, 0 to folds - 1, the same on every machine (SipHash, fixed key).

    Unlike the hashes that split tables, so the folds are alike in every split.
    """
    return tf.strings.to_hash_bucket_strong(ids, folds, key=_KEY)


def labelled(categories: tf.Tensor, ids: tf.Tensor, labels: tf.Tensor, folds: int) -> tf.Tensor:
    """Categories marked with fold and label, so that counting words counts all three.

    Args:
      categories: string [n], '' is missing.
      ids: string [n], the leads' ids.
      labels: int64 [n], 0 or 1.
      folds: 2 to 100.

    Returns:
      string [n]: three digits, 2 * fold + label, then the category.
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
    encoded = pc.binary_slice(words, _CODE_DIGITS).dictionary_encode()
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


def target_tables(
    columns: Sequence[tf.Tensor],
    ids: tf.Tensor | None,
    labels: tf.Tensor | None,
    specs: Sequence[TargetSpec],
    learned: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, TargetTable]:
    """Learns the table of each column over the whole dataset.

    Args:
      columns: string tensors [n], one for each spec; '' is missing.
      ids: string [n]; labels: int64 [n], 0 or 1.
      learned: by name, the paths that `write_counts` wrote, when an earlier pass has counted; then nothing is analysed
        and neither columns nor ids nor labels are looked at.
    """
    if learned is not None:
        return {spec.name: read_table(learned[spec.name], spec) for spec in specs}
    if not specs:
        return {}
    assert ids is not None and labels is not None
    counted = [t for c, s in zip(columns, specs, strict=True) for t in unique_counts(labelled(c, ids, labels, s.folds))]
    count = len(specs)
    # Two passes: an analyzer's outputs are either all assets or none of them.
    files = tft.experimental.ptransform_analyzer(
        inputs=counted,
        ptransform=_WriteCategories(tuple(specs)),
        output_dtypes=[tf.string] * count,
        output_shapes=[[]] * count,
        output_asset_default_values=[EMPTY_VOCABULARY] * count,
        name="target_categories",
    )
    values = tft.experimental.ptransform_analyzer(
        inputs=counted,
        ptransform=_Rates(tuple(specs)),
        output_dtypes=[tf.float32] * (2 * count),
        output_shapes=[shape for spec in specs for shape in ([None], [None, spec.folds])],
        name="target_rates",
    )
    return {
        spec.name: TargetTable(file, values[2 * i], values[2 * i + 1])
        for i, (spec, file) in enumerate(zip(specs, files, strict=True))
    }


def write_counts(counted: pa.Table, spec: TargetSpec, index: int, folder: str) -> tuple[str, str]:
    """Writes what `target_tables` reads: the file of categories and the counts (.npy).

    Args:
      counted: see `count_categories`.
      spec: the column.
      index: its place among all target-encoded columns.
      folder: exists.

    Returns:
      Both paths, as `count_files` names them.
    """
    categories, counts = count_categories(counted, spec)
    categories_file, counts_file = count_files(spec, index, folder)
    with tf.io.gfile.GFile(categories_file, "wb") as out:
        out.write(b"\n".join([*categories, b""]))
    with tf.io.gfile.GFile(counts_file, "wb") as out:
        np.save(out, counts, allow_pickle=False)
    return categories_file, counts_file


def count_files(spec: TargetSpec, index: int, folder: str) -> tuple[str, str]:
    """Where `write_counts` writes."""
    path = str(Path(folder) / file_name(index, spec.name).replace("vocabulary", "target", 1))
    return path, f"{path}.npy"


def read_table(files: Sequence[str], spec: TargetSpec) -> TargetTable:
    """The table of a column from the files of `write_counts`; its values become constants of the graph."""
    categories_file, counts_file = files
    with tf.io.gfile.GFile(counts_file, "rb") as source:
        served, out_of_fold = rates(np.load(source, allow_pickle=False), spec.smoothing)
    return TargetTable(categories_file, served, out_of_fold)


class TargetEncoding:
    """The columns of a batch, looked up once.

    Args:
      columns: string [n, 1] each, '' is missing.
      tables: one for each.
    """

    def __init__(self, columns: Sequence[tf.Tensor], tables: Sequence[TargetTable]) -> None:
        self._served = [tf.convert_to_tensor(t.served) for t in tables]
        self._out_of_fold = [t.out_of_fold for t in tables]
        lines = [lookup(c, t.file, UNKNOWN - FIRST) for c, t in zip(columns, tables, strict=True)]
        missing = tf.equal(tf.concat(columns, axis=1), "")
        # All tables lie in one, behind each other.
        starts = tf.concat([[0], tf.cumsum([tf.size(s, out_type=tf.int64) for s in self._served])[:-1]], axis=0)
        self._places = starts + tf.where(missing, np.int64(MISSING), FIRST + tf.concat(lines, axis=1))

    def served(self) -> tf.Tensor:
        """float32 [n, columns], 0-1."""
        return tf.gather(tf.concat(self._served, axis=0), self._places)

    def out_of_fold(self, ids: tf.Tensor) -> tf.Tensor:
        """The values of training rows: string [n] -> float32 [n, columns], 0-1. All columns have the same folds."""
        values = tf.concat(self._out_of_fold, axis=0)
        folds = int(values.shape[1])
        cells = self._places * folds + tf.expand_dims(fold_of(ids, folds), 1)
        return tf.gather(tf.reshape(values, [-1]), cells)


class _WriteCategories(PTransformAnalyzer):
    """PCollection of (words, counts, words, counts, ...) per batch -> one file of categories per column."""

    def __init__(self, specs: tuple[TargetSpec, ...]) -> None:
        super().__init__()
        self._specs = specs

    def expand(self, pcoll: beam.PCollection) -> tuple[beam.PCollection, ...]:
        specs, folder = self._specs, self.base_temp_dir

        def write(tables: list[pa.Table]) -> list[beam.pvalue.TaggedOutput]:
            tf.io.gfile.makedirs(folder)
            found = [write_counts(t, s, i, folder)[0] for i, (t, s) in enumerate(zip(tables, specs, strict=True))]
            return [beam.pvalue.TaggedOutput(str(i), np.array(p.encode(), object)) for i, p in enumerate(found)]

        return _tagged(pcoll, len(specs), len(specs), write)


class _Rates(PTransformAnalyzer):
    """PCollection of (words, counts, words, counts, ...) per batch -> per column, served and out-of-fold values."""

    def __init__(self, specs: tuple[TargetSpec, ...]) -> None:
        super().__init__()
        self._specs = specs

    def expand(self, pcoll: beam.PCollection) -> tuple[beam.PCollection, ...]:
        specs = self._specs

        def learn(tables: list[pa.Table]) -> list[beam.pvalue.TaggedOutput]:
            pairs = zip(tables, specs, strict=True)
            values = [v for table, spec in pairs for v in rates(count_categories(table, spec)[1], spec.smoothing)]
            return [beam.pvalue.TaggedOutput(str(i), value) for i, value in enumerate(values)]

        return _tagged(pcoll, len(specs), 2 * len(specs), learn)


def _tagged(pcoll: beam.PCollection, columns: int, outputs: int, finish: Any) -> tuple[beam.PCollection, ...]:
    tags = [str(i) for i in range(outputs)]
    merged = pcoll | "Count" >> beam.CombineGlobally(MergeCounts(columns))
    found = merged | "Finish" >> beam.FlatMap(finish).with_outputs(*tags)
    return tuple(found[tag] for tag in tags)
