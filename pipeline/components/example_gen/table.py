"""What ColumnarExampleGen and JourneyExampleGen share: a file-based ExampleGen that a dataset file describes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from tfx.components.example_gen import component, driver, utils
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2

from modules.dataset import SPLITS, Dataset
from modules.errors import ConfigError
from modules.ingest import hashing
from modules.journeys.dataset import JourneyDataset
from pipeline.components.example_gen.settings import Settings


class Contents(NamedTuple):
    """What the files are. fingerprint: of their contents. personal: whether the key for personal data matters."""

    span: int | None
    fingerprint: str
    personal: bool


class TableDriver(driver.FileBasedDriver):
    """The file-based driver for files anywhere: several patterns, absolute or relative.

    It resolves files, span and fingerprint when the component runs, so that changed data is never taken from the cache.
    The stock driver looks for one pattern below one folder and fingerprints names, sizes and dates; this one
    fingerprints contents, so a copy of a file is the same data, and a file that was only touched is not new.
    """

    def find(self, exec_properties: dict[str, Any]) -> Contents:
        """What the files are that the settings in the properties name; each ExampleGen has tables of its own."""
        raise NotImplementedError

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Adds `span`, `version` and `input_fingerprint`; the cache compares them with those of earlier runs."""
        found = self.find(exec_properties)
        # Values hashed under another key are other data.
        key = f"-{hashing.key_id(hashing.personal_key())}" if found.personal else ""
        exec_properties[utils.SPAN_PROPERTY_NAME] = found.span or 0
        exec_properties[utils.VERSION_PROPERTY_NAME] = None
        exec_properties[utils.FINGERPRINT_PROPERTY_NAME] = found.fingerprint + key
        return exec_properties


class TableExampleGen(component.FileBasedExampleGen):
    """A file-based ExampleGen whose data path is columnar; subclasses name executor and driver.

    Outputs `examples`: a standard Examples artifact with the splits train, validation, calibration and test, gzip
    TFRecord files of tf.Examples, `ingest_report.json` and `quarantine.jsonl` at its root.
    """

    def __init__(
        self,
        dataset: Dataset | JourneyDataset,
        validation_split: float = 0.2,
        span: int | None = None,
        fingerprint: str | None = None,
        last_spans: int = 1,
    ) -> None:
        """Constructs the component.

        Args:
          dataset: files and meaning of the columns; relative paths are relative to the current directory.
          validation_split: share, 0-1, of the rows, or journeys, that are neither test nor calibration.
          span: newest span to read of files with `{SPAN}`; the newest there is when absent.
          fingerprint: stands for the contents of the files; computed when the component runs if absent.
          last_spans: how many spans, counted back from `span`, are read together.

        Raises:
          ConfigError: `validation_split` outside [0, 1).
        """
        if not 0 <= validation_split < 1:
            raise ConfigError(f"validation_split must be at least 0 and less than 1, received {validation_split}")
        settings: Settings = Settings(dataset, validation_split, span, last_spans, fingerprint)
        names = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1) for name in SPLITS]
        super().__init__(
            input_base=os.path.commonpath([Path(f).absolute().parent for f in dataset.files]),
            input_config=example_gen_pb2.Input(
                splits=[example_gen_pb2.Input.Split(name="table", pattern=",".join(dataset.files))]
            ),
            # Only the names count: the dataset says how they are filled.
            output_config=example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=names)),
            custom_config=settings.pack(),
        )
