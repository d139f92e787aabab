"""ColumnarExampleGen: tables of leads as tf.Examples, through Arrow."""

from __future__ import annotations

from tfx.dsl.components.base import executor_spec

from pipeline.components.example_gen.driver import ColumnarDriver
from pipeline.components.example_gen.executor import Executor
from pipeline.components.example_gen.table import TableExampleGen


class ColumnarExampleGen(TableExampleGen):
    """A file-based ExampleGen for CSV, gzip CSV and Parquet whose data path is columnar.

    Outputs `examples`: a standard Examples artifact with the splits train, validation, calibration and test, gzip
    TFRecord files of tf.Examples, `ingest_report.json` and `quarantine.jsonl` at its root. Numeric features are
    float32, categorical and text features and the id bytes, time int64 seconds since 1970 UTC, the label int64 0 or
    1; a missing value is an absent feature.

    Attributes:
      outputs: `examples`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = ColumnarDriver
