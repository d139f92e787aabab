"""Statistics of tf.Examples with TFDV's own generators, a whole file at a time.

TFDV's Beam transform passes every value of every string feature through Beam as an element of its own to count the
most frequent ones, which costs about ten times what the statistics themselves do and grows with the number of distinct
ids. Its in-memory generators (sketches of bounded size) compute the same protos from Arrow batches and can be merged;
they are what `tfdv.generate_statistics_from_dataframe` uses. Frequent values are exact up to 1,024 distinct values of a
feature (Misra-Gries) and the number of distinct values up to 16,384 (k minimum values); beyond, both are estimates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Before TFDV: tfx puts a stand-in for tfx_bsl.arrow.sql_util (docs/stack.md).
import tfx.types  # noqa: F401

# isort: split
import pyarrow as pa
from tensorflow_data_validation.statistics import stats_impl, stats_options
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.coders import example_coder

from modules.transform_batches import record_dataset

BATCH_ROWS = 32_768
BATCH_BYTES = 64 << 20
"""Of serialized examples: long histories make large examples, and so batches of fewer rows."""
_PROBE_ROWS = 1024

Accumulators = list[Any]
"""One mergeable accumulator per generator of TFDV, in the generators' order."""


class StatisticsCombiner:
    """Folds Arrow batches into accumulators, merges them, and extracts the proto."""

    def __init__(self) -> None:
        self._options = stats_options.StatsOptions()
        self._generators = stats_impl.get_generators(self._options, in_memory=True)
        for generator in self._generators:
            generator.setup()

    def create(self) -> Accumulators:
        return [generator.create_accumulator() for generator in self._generators]

    def add(self, accumulators: Accumulators, batch: pa.RecordBatch) -> Accumulators:
        pairs = zip(self._generators, accumulators, strict=True)
        return [generator.add_input(accumulator, batch) for generator, accumulator in pairs]

    def merge(self, several: Iterable[Accumulators]) -> Accumulators:
        by_generator = zip(self._generators, zip(*several, strict=True), strict=True)
        return [generator.merge_accumulators(list(accumulators)) for generator, accumulators in by_generator]

    def compact(self, accumulators: Accumulators) -> Accumulators:
        pairs = zip(self._generators, accumulators, strict=True)
        return [generator.compact(accumulator) for generator, accumulator in pairs]

    def extract(self, accumulators: Accumulators) -> statistics_pb2.DatasetFeatureStatisticsList:
        return stats_impl.extract_statistics_output(accumulators, self._generators)


def accumulate_file(path: str) -> Accumulators:
    """Accumulators of one TFRecord file of tf.Examples (gzip if it ends in .gz)."""
    combiner = StatisticsCombiner()
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    accumulators = combiner.create()
    for records in record_dataset([path], _batch_rows(path)).as_numpy_iterator():
        accumulators = combiner.compact(combiner.add(accumulators, decoder.DecodeBatch(records.tolist())))
    return accumulators


def _batch_rows(path: str) -> int:
    probe = next(iter(record_dataset([path], _PROBE_ROWS).take(1).as_numpy_iterator()), ())
    largest = max(map(len, probe), default=1)
    return min(BATCH_ROWS, max(1, BATCH_BYTES // largest))


def merged_statistics(several: Iterable[Accumulators]) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of all files together; without any file, those of no rows."""
    combiner = StatisticsCombiner()
    found = list(several)
    return combiner.extract(combiner.merge(found) if found else combiner.create())
