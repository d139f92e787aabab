"""JourneyExampleGen: tables of events as tf.Examples, one per decision, through Arrow."""

from __future__ import annotations

from tfx.dsl.components.base import executor_spec

from pipeline.components.example_gen.table import TableExampleGen
from pipeline.components.journey_example_gen.driver import JourneyDriver
from pipeline.components.journey_example_gen.executor import Executor


class JourneyExampleGen(TableExampleGen):
    """A file-based ExampleGen for tables of events (CSV, gzip CSV and Parquet) whose data path is columnar.

    Outputs `examples`: a standard Examples artifact with the splits train, validation, calibration and test, gzip
    TFRecord files of tf.Examples as `modules.journeys.names` says, `ingest_report.json` and `quarantine.jsonl` at
    its root. All decisions of a lead are in one split.

    Attributes:
      outputs: `examples`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = JourneyDriver
