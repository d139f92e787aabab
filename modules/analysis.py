"""One pass over raw tf.Examples that learns what a preprocessing function needs, without tracing that function.

The analyzers of modules/vocabulary.py and modules/moments.py run inside tft's own Beam pipeline, which reads records
one by one and traces the graph a dozen times. This pass reads, parses, counts and adds up in TensorFlow, a file at a
time, and writes the very same vocabulary files; what it learned is handed to `preprocessing_fn` in its custom_config
and leaves Transform nothing to analyse.

A module with a `preprocessing_fn` takes part by having

    def analysis(custom_config) -> Analysis

beside it, and by reading VOCABULARY_FILES and MOMENTS from its custom_config.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from numpy.typing import NDArray

from modules.moments import MergeMoments, batch_moments
from modules.transform_batches import files_of, record_dataset
from modules.vocabulary import MergeCounts, VocabularySpec, file_name, select_words, unique_counts

VOCABULARY_FILES = "vocabulary_files"
"""Key of custom_config: paths of vocabulary files by name, when they are already learned."""

MOMENTS = "moments"
"""Key of custom_config: [mean, standard deviation] by name of a numeric column, when they are already learned."""

Columns = tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]
"""Words (string) and numbers (float), tensors of any shape and length."""

_ROWS = 16384


@dataclass(frozen=True)
class Analysis:
    """What a preprocessing function has to learn.

    Attributes:
      vocabularies: one for each column of words.
      moments: names of the columns of numbers.
      columns: serialized raw tf.Examples, string [n] -> the columns, in the order of the two above. Beam sends it to
        its workers, so it is a module's function or a partial of one.
    """

    vocabularies: Sequence[VocabularySpec]
    moments: Sequence[str]
    columns: Callable[[tf.Tensor], Columns]


def learn(
    patterns: Sequence[str], analysis: Analysis, folder: str, make_pipeline: Callable[[], beam.Pipeline]
) -> dict[str, Any]:
    """Writes one vocabulary file per column of words, and learns mean and deviation of the numbers.

    Args:
      patterns: file patterns of raw tf.Examples, the split to analyse.
      analysis: what to learn.
      folder: where the files go; created.
      make_pipeline: Beam pipeline factory, so that any runner spreads the files over its workers.

    Returns:
      VOCABULARY_FILES and MOMENTS, to be added to the custom_config of `preprocessing_fn`.
    """
    specs, names = analysis.vocabularies, analysis.moments
    paths = {spec.name: str(Path(folder) / file_name(i, spec.name)) for i, spec in enumerate(specs)}
    moments_file = str(Path(folder) / "moments.json")
    found: dict[str, Any] = {VOCABULARY_FILES: paths, MOMENTS: {}}
    if not specs and not names:
        return found

    def write(learned: tuple[list[pa.Table], NDArray[Any]]) -> None:
        tables, standards = learned
        tf.io.gfile.makedirs(folder)
        for spec, table in zip(specs, tables, strict=True):
            with tf.io.gfile.GFile(paths[spec.name], "wb") as out:
                out.write(b"\n".join([*select_words(table, spec), b""]))
        with tf.io.gfile.GFile(moments_file, "w") as out:
            # repr of a double, so that reading gives the same one.
            out.write(json.dumps(dict(zip(names, standards.tolist(), strict=True))))

    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(files_of(patterns))
            | "Spread" >> beam.Reshuffle()
            | "Count" >> beam.ParDo(Count(analysis.columns))
            | "Merge"
            >> beam.CombineGlobally(beam.combiners.TupleCombineFn(MergeCounts(len(specs)), MergeMoments(len(names))))
            | "Write" >> beam.Map(write)
        )
    with tf.io.gfile.GFile(moments_file) as source:
        found[MOMENTS] = json.loads(source.read())
    return found


class Count(beam.DoFn):
    """A file of tf.Examples -> per batch, distinct words and their counts by column, and the moments, [K, 3]."""

    def __init__(self, columns: Callable[[tf.Tensor], Columns]) -> None:
        self._columns = columns

    def process(self, file: str) -> Iterator[tuple[list[NDArray[Any]], NDArray[Any]]]:
        @tf.autograph.experimental.do_not_convert
        def count(records: tf.Tensor) -> tuple[tf.Tensor, ...]:
            words, numbers = self._columns(records)
            counted = [tensor for column in words for tensor in unique_counts(column)]
            return (*counted, batch_moments(numbers))

        dataset = record_dataset([file], _ROWS).map(count, num_parallel_calls=2).prefetch(2)
        for *counted, moments in dataset.as_numpy_iterator():
            yield list(counted), moments
