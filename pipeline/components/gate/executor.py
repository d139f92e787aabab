"""Executor of DataGate: reads three protos per split, asks `modules.gate`, writes the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from modules.columns import read_dataset
from modules.gate import inspect

ANOMALIES_KEY = "anomalies"
STATISTICS_KEY = "statistics"
SCHEMA_KEY = "schema"
BASELINE_KEY = "baseline_statistics"
REPORT_KEY = "gate_report"
DATASET_KEY = "dataset"
ANOMALIES_MODE_KEY = "anomalies_mode"
DRIFT_MODE_KEY = "drift_mode"

BLESSED_PROPERTY = "blessed"
STATISTICS_ID_PROPERTY = "statistics_id"
REPORT_FILE = "report.json"

Artifacts = dict[str, list[types.Artifact]]


class Executor(base_executor.BaseExecutor):
    """See `DataGate`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes the gate report.

        Raises:
          GateClosed: with the findings as details; TFX then drops the output and marks the execution failed.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        statistics = artifact_utils.get_single_instance(input_dict[STATISTICS_KEY])
        anomalies = artifact_utils.get_single_instance(input_dict[ANOMALIES_KEY])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict[SCHEMA_KEY]))
        )
        baseline = next(iter(input_dict.get(BASELINE_KEY) or []), None)
        report = inspect(
            {split: _anomalies(anomalies, split) for split in artifact_utils.decode_split_names(anomalies.split_names)},
            {
                split: _statistics(statistics, split)
                for split in artifact_utils.decode_split_names(statistics.split_names)
            },
            schema,
            read_dataset(exec_properties[DATASET_KEY]),
            baseline=None if baseline is None else _statistics(baseline, "train"),
            against=None if baseline is None else _name(baseline, statistics),
            anomalies_mode=exec_properties[ANOMALIES_MODE_KEY],
            drift_mode=exec_properties[DRIFT_MODE_KEY],
        )
        report.raise_if_closed()
        for line in report.warnings:
            logging.warning("data gate: %s", line)
        output = artifact_utils.get_single_instance(output_dict[REPORT_KEY])
        output.split_names = artifact_utils.encode_split_names([])
        output.span = statistics.span
        output.set_int_custom_property(BLESSED_PROPERTY, 1)
        output.set_int_custom_property(STATISTICS_ID_PROPERTY, statistics.id)
        io_utils.write_string_file(str(Path(output.uri) / REPORT_FILE), report.to_json())


def _statistics(artifact: types.Artifact, split: str) -> statistics_pb2.DatasetFeatureStatistics:
    uri = artifact_utils.get_split_uri([artifact], split)
    with fileio.open(f"{uri}/FeatureStats.pb", "rb") as file:
        table = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())
    return table.datasets[0]


def _anomalies(artifact: types.Artifact, split: str) -> anomalies_pb2.Anomalies:
    uri = artifact_utils.get_split_uri([artifact], split)
    with fileio.open(f"{uri}/SchemaDiff.pb", "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def _name(baseline: types.Artifact, current: types.Artifact) -> str:
    """What messages call the baseline: its span, where spans tell the two apart."""
    if baseline.span is not None and baseline.span != current.span:
        return f"span {baseline.span}"
    return f"the last accepted run (statistics {baseline.id})"
