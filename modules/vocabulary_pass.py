"""One pass over raw tf.Examples that learns all vocabularies, without tracing the preprocessing function.

The analyzer in modules/vocabulary.py runs inside tft's own Beam pipeline, which reads records one by one and traces
the graph a dozen times. This pass reads, parses and counts in TensorFlow, a file at a time, and writes the very same
vocabulary files; handed to `preprocessing_fn` they leave Transform nothing to analyse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf

from modules.features import Feature, Kind
from modules.transform_batches import files_of, record_dataset
from modules.vocabulary import MergeCounts, VocabularySpec, file_name, select_words, unique_counts

_ROWS = 16384

Tokenizer = Callable[[tf.Tensor], tf.RaggedTensor]


def learn_vocabularies(
    patterns: Sequence[str],
    features: Sequence[Feature],
    specs: Sequence[VocabularySpec],
    tokenizer: Tokenizer,
    folder: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> dict[str, str]:
    """Writes one vocabulary file per feature.

    Args:
      patterns: file patterns of raw tf.Examples, the split to analyse.
      features: categorical and text features, bytes in the examples.
      specs: one for each feature.
      tokenizer: string [n] -> ragged words [n, (words)], for text.
      folder: where the files go; created.
      make_pipeline: Beam pipeline factory, so that any runner spreads the files over its workers.

    Returns:
      Path of the vocabulary file by feature name.
    """
    if not features:
        return {}
    paths = {spec.name: str(Path(folder) / file_name(i, spec.name)) for i, spec in enumerate(specs)}

    def write(tables: list[pa.Table]) -> None:
        tf.io.gfile.makedirs(folder)
        for spec, table in zip(specs, tables, strict=True):
            with tf.io.gfile.GFile(paths[spec.name], "wb") as out:
                out.write(b"\n".join([*select_words(table, spec), b""]))

    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(files_of(patterns))
            | "Spread" >> beam.Reshuffle()
            | "Count" >> beam.ParDo(CountWords(features, tokenizer))
            | "Merge" >> beam.CombineGlobally(MergeCounts(len(features)))
            | "Write" >> beam.Map(write)
        )
    return paths


class CountWords(beam.DoFn):
    """A file of tf.Examples -> per batch, distinct words and their counts for each feature."""

    def __init__(self, features: Sequence[Feature], tokenizer: Tokenizer) -> None:
        self._features = tuple(features)
        self._tokenizer = tokenizer

    def process(self, file: str) -> Iterator[list[np.ndarray]]:
        spec = {f.name: tf.io.VarLenFeature(tf.string) for f in self._features}

        def count(records: tf.Tensor) -> list[tf.Tensor]:
            parsed: Mapping[str, Any] = tf.io.parse_example(records, spec)
            counted: list[tf.Tensor] = []
            for feature in self._features:
                values = parsed[feature.name].values
                counted += unique_counts(self._tokenizer(values).values if feature.kind is Kind.TEXT else values)
            return counted

        dataset = record_dataset([file], _ROWS).map(lambda r: tuple(count(r)), num_parallel_calls=2).prefetch(2)
        yield from dataset.as_numpy_iterator()
