"""Vocabularies of many string columns in one analyzer.

`tft.vocabulary` counts value by value in Python and adds a dozen Beam stages per column. Here TensorFlow counts each
batch (`tf.unique_with_counts`), so Beam only sees the distinct values of a batch, and one combiner merges all columns
in Arrow. The files are the ones `tft.vocabulary` would write: same order, same filter, same names in
`tft.TFTransformOutput`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform import annotators
from tensorflow_transform.beam.experimental import PTransformAnalyzer

from modules.analysis import VOCABULARY_FILES, Analyzer

EMPTY_VOCABULARY = b"49d0cd50-04bb-48c0-bc6f-5b575dce351a"
"""What tft writes into a vocabulary without words: TensorFlow cannot load an empty lookup table."""

_COMPACT_ROWS = 1 << 17


@dataclass(frozen=True)
class VocabularySpec:
    """What to learn about one column.

    Attributes:
      name: key of the vocabulary in `tft.TFTransformOutput`.
      top_k: at most this many words, the most frequent.
      min_count: words seen less often are left out.
    """

    name: str
    top_k: int
    min_count: int = 1


@dataclass(frozen=True)
class Vocabulary(Analyzer):
    """Learns the vocabulary of one column, a string tensor of any shape; what is handed on is the path of its file."""

    spec: VocabularySpec
    key: ClassVar[str] = VOCABULARY_FILES

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.spec.name

    def reduce(self, *columns: Any) -> Sequence[tf.Tensor]:
        return unique_counts(columns[0])

    def combiner(self) -> beam.CombineFn:
        return _MergeColumn()

    def write(self, found: pa.Table, folder: str, index: int) -> str:
        path = str(Path(folder) / file_name(index, self.name))
        with tf.io.gfile.GFile(path, "wb") as out:
            out.write(b"\n".join([*select_words(found, self.spec), b""]))
        return path


def vocabularies(
    columns: Sequence[tf.Tensor], specs: Sequence[VocabularySpec], learned: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Learns the vocabulary of each column over the whole dataset.

    Words are ordered by falling count, ties by falling bytes, as in `tft.vocabulary`; empty words and words with line
    breaks are left out.

    Args:
      columns: string tensors of shape [m] or [n, k]; '' does not count.
      specs: one for each column.
      learned: paths of vocabulary files by name, when an earlier pass has learned them; then nothing is analysed and
        `columns` is not looked at.

    Returns:
      By name, the path of the vocabulary file (an asset of the graph), to be given to `lookup`.
    """
    if not specs:
        return {}
    files = [file_name(i, spec.name) for i, spec in enumerate(specs)]
    if learned is not None:
        for spec in specs:
            annotators.annotate_asset(spec.name, Path(learned[spec.name]).name)
        return {spec.name: learned[spec.name] for spec in specs}
    counted = [tensor for column in columns for tensor in unique_counts(column)]
    paths = tft.experimental.ptransform_analyzer(
        inputs=counted,
        ptransform=CountAndWrite(tuple(specs), tuple(files)),
        output_dtypes=[tf.string] * len(specs),
        output_shapes=[[]] * len(specs),
        output_asset_default_values=[EMPTY_VOCABULARY] * len(specs),
        name="vocabularies",
    )
    for spec, file in zip(specs, files, strict=True):
        annotators.annotate_asset(spec.name, file)
    return {spec.name: path for spec, path in zip(specs, paths, strict=True)}


def unique_counts(words: tf.Tensor) -> list[tf.Tensor]:
    """Distinct words of a tensor of any shape, string [m], and how often each occurs, int64 [m]."""
    distinct, _, counts = tf.unique_with_counts(tf.reshape(words, [-1]), out_idx=tf.int64)
    return [distinct, counts]


def lookup(words: tf.Tensor, vocabulary_file: Any, default: int) -> tf.Tensor:
    """Line number of each word in its vocabulary file: int64, same shape; `default` for any other word."""
    return tft.apply_vocabulary(words, vocabulary_file, default_value=default)


def read_vocabularies(output: tft.TFTransformOutput, names: Iterable[str]) -> dict[str, list[str]]:
    """The learned words by feature, in order; invalid UTF-8 is replaced for display."""
    found: dict[str, list[str]] = {}
    for name in names:
        words = Path(output.vocabulary_file_by_name(name)).read_bytes().split(b"\n")
        found[name] = [w.decode("utf-8", "replace") for w in words if w and w != EMPTY_VOCABULARY]
    return found


class CountAndWrite(PTransformAnalyzer):
    """PCollection of (words, counts, words, counts, ...) per batch -> one vocabulary file per column."""

    def __init__(self, specs: tuple[VocabularySpec, ...], files: tuple[str, ...]) -> None:
        super().__init__()
        self._specs = specs
        self._files = files

    def expand(self, pcoll: beam.PCollection) -> tuple[beam.PCollection, ...]:
        specs, files, folder = self._specs, self._files, self.base_temp_dir
        tags = [f"file{i}" for i in range(len(specs))]

        def write(tables: list[pa.Table]) -> Iterator[beam.pvalue.TaggedOutput]:
            tf.io.gfile.makedirs(folder)
            for spec, file, tag, table in zip(specs, files, tags, tables, strict=True):
                path = f"{folder}/{file}"
                with tf.io.gfile.GFile(path, "wb") as out:
                    out.write(b"\n".join([*select_words(table, spec), b""]))
                yield beam.pvalue.TaggedOutput(tag, np.array(path.encode(), dtype=object))

        merged = pcoll | "Count" >> beam.CombineGlobally(MergeCounts(len(specs)))
        outputs = merged | "Write" >> beam.FlatMap(write).with_outputs(*tags)
        return tuple(outputs[tag] for tag in tags)


class MergeCounts(beam.CombineFn):
    """Adds up counts of distinct words, column by column; an accumulator holds small tables, compacted now and then."""

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def create_accumulator(self) -> list[list[pa.Table]]:
        return [[] for _ in range(self._columns)]

    def add_input(self, accumulator: list[list[pa.Table]], element: Sequence[np.ndarray]) -> list[list[pa.Table]]:
        for i, tables in enumerate(accumulator):
            words, counts = element[2 * i], element[2 * i + 1]
            tables.append(pa.table({"word": pa.array(words, pa.large_binary()), "count": pa.array(counts, pa.int64())}))
            _compact(tables)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[list[pa.Table]]]) -> list[list[pa.Table]]:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            for tables, more in zip(merged, accumulator, strict=True):
                tables.extend(more)
        return self.compact(merged)

    def compact(self, accumulator: list[list[pa.Table]]) -> list[list[pa.Table]]:
        return [[_sum(tables)] if tables else [] for tables in accumulator]

    def extract_output(self, accumulator: list[list[pa.Table]]) -> list[pa.Table]:
        return [_sum(tables) for tables in accumulator]


class _MergeColumn(MergeCounts):
    """`MergeCounts` of a single column."""

    def __init__(self) -> None:
        super().__init__(1)

    def extract_output(self, accumulator: list[list[pa.Table]]) -> pa.Table:
        return super().extract_output(accumulator)[0]


def select_words(table: pa.Table, spec: VocabularySpec) -> list[bytes]:
    """The vocabulary: the `top_k` most frequent words of a table (word, count), ties by falling bytes.

    Returns a placeholder word when nothing is left, see EMPTY_VOCABULARY.
    """
    words, counts = table["word"].combine_chunks(), table["count"].combine_chunks()
    unusable = pc.match_substring_regex(words, r"[\r\n]")
    keep = pc.and_not(pc.greater_equal(counts, spec.min_count), pc.or_(unusable, pc.equal(words, b"")))
    table = table.filter(keep)
    order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("word", "descending")])
    return table["word"].take(order[: spec.top_k]).to_pylist() or [EMPTY_VOCABULARY]


def _sum(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return pa.table({"word": pa.array([], pa.large_binary()), "count": pa.array([], pa.int64())})
    if len(tables) == 1:
        return tables[0]
    grouped = pa.concat_tables(tables).group_by("word").aggregate([("count", "sum")])
    return grouped.select(["word", "count_sum"]).rename_columns(["word", "count"])


def _compact(tables: list[pa.Table]) -> None:
    # The first table is the compacted one: paying for it again only when the rest has grown as large keeps it linear.
    rest = sum(t.num_rows for t in tables[1:])
    if len(tables) > 1 and rest > max(_COMPACT_ROWS, tables[0].num_rows):
        tables[:] = [_sum(tables)]


def file_name(index: int, name: str) -> str:
    """Name of a vocabulary file; the number is the position among all vocabularies of the graph."""
    # The number keeps names apart that differ only in characters a file name cannot carry.
    return f"vocabulary_{index:03d}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}"
