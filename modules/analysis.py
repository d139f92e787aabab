"""One pass over raw tf.Examples that learns what a preprocessing function needs, without tracing that function.

The analyzers of tft run inside its own Beam pipeline, which reads records one by one and traces the graph a dozen
times. This pass reads, parses, counts and adds up in TensorFlow, a file at a time; what it learned is handed to
`preprocessing_fn` in its custom_config and leaves Transform nothing to analyse.

A module with a `preprocessing_fn` takes part by having

    def analysis(custom_config) -> Analysis

beside it, and by reading what was learned from its custom_config, under the keys of the analyzers.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import tensorflow as tf
from numpy.typing import NDArray

from modules.transform_batches import files_of, record_dataset

VOCABULARY_FILES = "vocabulary_files"
"""Key of custom_config: paths of vocabulary files by name, when they are already learned."""

MOMENTS = "moments"
"""Key of custom_config: [mean, standard deviation] by name of a numeric column, when they are already learned."""

_ROWS = 16384

Reduced = Sequence[NDArray[Any]]
"""What is left of a batch: the arrays of the tensors that `Analyzer.reduce` returned."""


class Analyzer(abc.ABC):
    """Something to be learned over all rows.

    TensorFlow reduces each batch to small tensors; a Beam combiner merges those in any order; what comes out is
    written down as JSON. Subclasses are frozen dataclasses: Beam sends them to its workers.

    Attributes:
      key: key of custom_config under which `preprocessing_fn` finds what was learned, by name.
      name: unique among the analyzers of one key.
    """

    key: ClassVar[str]
    name: str

    @abc.abstractmethod
    def reduce(self, *columns: Any) -> Sequence[tf.Tensor]:
        """What counts of a batch; in the graph, with as many columns as `Analysis.columns` gives this analyzer."""

    @abc.abstractmethod
    def combiner(self) -> beam.CombineFn:
        """Merges what `reduce` left, `Reduced` per batch. The result must not depend on their order."""

    @abc.abstractmethod
    def write(self, found: Any, folder: str, index: int) -> Any:
        """What is handed on, as JSON: the combiner's result, or the path of a file written for it.

        Args:
          found: result of the combiner.
          folder: where files go; exists.
          index: position among the analyzers of the same key.
        """


@dataclass(frozen=True)
class Analysis:
    """What a preprocessing function has to learn.

    Attributes:
      analyzers: all there is to learn.
      columns: serialized raw tf.Examples, string [n] -> the columns of each analyzer, in their order. Beam sends it
        to its workers, so it is a module's function or a partial of one.
    """

    analyzers: Sequence[Analyzer]
    columns: Callable[[tf.Tensor], Sequence[Sequence[Any]]]

    def reduce(self, records: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], ...]:
        """Serialized raw tf.Examples, string [n] -> what each analyzer keeps of them."""
        pairs = zip(self.analyzers, self.columns(records), strict=True)
        return tuple(tuple(analyzer.reduce(*columns)) for analyzer, columns in pairs)

    def combiner(self) -> beam.CombineFn:
        """Merges what `reduce` returned for the batches."""
        return beam.combiners.TupleCombineFn(*(analyzer.combiner() for analyzer in self.analyzers))

    def write(self, found: Sequence[Any], folder: str) -> dict[str, Any]:
        """What was learned, by key and name; ready to be added to custom_config. `folder` is created."""
        tf.io.gfile.makedirs(folder)
        learned: dict[str, Any] = {VOCABULARY_FILES: {}, MOMENTS: {}}
        for analyzer, result in zip(self.analyzers, found, strict=True):
            of_key = learned.setdefault(analyzer.key, {})
            of_key[analyzer.name] = analyzer.write(result, folder, len(of_key))
        return learned


def learn(
    patterns: Sequence[str], analysis: Analysis, folder: str, make_pipeline: Callable[[], beam.Pipeline]
) -> dict[str, Any]:
    """Learns from files of raw tf.Examples.

    Args:
      patterns: file patterns of the split to analyse.
      analysis: what to learn.
      folder: where the files of the analyzers go; created.
      make_pipeline: Beam pipeline factory, so that any runner spreads the files over its workers.

    Returns:
      What was learned by key and name, to be added to the custom_config of `preprocessing_fn`.
    """
    if not analysis.analyzers:
        return {VOCABULARY_FILES: {}, MOMENTS: {}}
    path = str(Path(folder) / "learned.json")

    def write(found: Sequence[Any]) -> None:
        learned = analysis.write(found, folder)
        with tf.io.gfile.GFile(path, "w") as out:
            # repr of a double, so that reading gives the same one.
            out.write(json.dumps(learned))

    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(files_of(patterns))
            | "Spread" >> beam.Reshuffle()
            | "Reduce" >> beam.ParDo(Reduce(analysis))
            | "Merge" >> beam.CombineGlobally(analysis.combiner())
            | "Write" >> beam.Map(write)
        )
    with tf.io.gfile.GFile(path) as source:
        return json.loads(source.read())


class Reduce(beam.DoFn):
    """A file of tf.Examples -> what the analyzers keep of each batch."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis

    def process(self, file: str) -> Iterator[tuple[Reduced, ...]]:
        reduce = tf.autograph.experimental.do_not_convert(self._analysis.reduce)
        yield from record_dataset([file], _ROWS).map(reduce, num_parallel_calls=2).prefetch(2).as_numpy_iterator()
