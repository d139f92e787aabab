"""JourneyExampleGen: tables of events as tf.Examples, one per decision, through Arrow."""

from __future__ import annotations

import os
from pathlib import Path

from tfx.components.example_gen import component
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from modules.dataset import SPLITS
from modules.errors import ConfigError
from modules.journeys.dataset import JourneyDataset
from pipeline.components.journey_example_gen.driver import JourneyDriver
from pipeline.components.journey_example_gen.executor import Executor
from pipeline.components.journey_example_gen.settings import JourneySettings


class JourneyExampleGen(component.FileBasedExampleGen):
    """A file-based ExampleGen for tables of events (CSV, gzip CSV and Parquet) whose data path is columnar.

    Outputs `examples`: a standard Examples artifact with the splits train, validation, calibration and test, gzip
    TFRecord files of tf.Examples as `modules.journeys.names` says, `ingest_report.json` and `quarantine.jsonl` at
    its root. All decisions of a lead are in one split.

    Attributes:
      outputs: `examples`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = JourneyDriver

    def __init__(
        self,
        dataset: JourneyDataset,
        validation_split: float = 0.2,
        span: int | None = None,
        fingerprint: str | None = None,
        last_spans: int = 1,
    ) -> None:
        """Constructs the component.

        Args:
          dataset: files and meaning of the columns; relative paths are relative to the current directory.
          validation_split: share, 0-1, of the journeys that are neither test nor calibration.
          span: newest span to read of files with `{SPAN}`; the newest there is when absent.
          fingerprint: stands for the contents of the files; computed when the component runs if absent.
          last_spans: how many spans, counted back from `span`, are read together.

        Raises:
          ConfigError: `validation_split` outside [0, 1).
        """
        if not 0 <= validation_split < 1:
            raise ConfigError(f"validation_split must be at least 0 and less than 1, received {validation_split}")
        settings = JourneySettings(dataset, validation_split, span, last_spans, fingerprint)
        names = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1) for name in SPLITS]
        super().__init__(
            input_base=os.path.commonpath([Path(f).absolute().parent for f in dataset.files]),
            input_config=example_gen_pb2.Input(
                splits=[example_gen_pb2.Input.Split(name="table", pattern=",".join(dataset.files))]
            ),
            # Only the names count: the dataset says how journeys are split.
            output_config=example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=names)),
            custom_config=settings.pack(),
        )
