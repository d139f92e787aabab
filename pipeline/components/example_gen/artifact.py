"""The Examples artifact that both ExampleGens fill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.example_gen import utils, write_split
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from modules.dataset import SPLITS
from modules.ingest.report import IngestReport
from modules.journeys.report import JourneyReport
from pipeline.components.example_gen.settings import Settings

ROWS_PROPERTY = "rows"
DATASET_VERSION_PROPERTY = "dataset_version"


def version_of(settings: Settings, exec_properties: dict[str, Any], fingerprint: Callable[[], str]) -> str:
    """Fingerprint of the files' contents, as the pipeline or the driver knows it, or computed now."""
    known = settings.fingerprint or exec_properties.get(utils.FINGERPRINT_PROPERTY_NAME)
    return str(known or fingerprint()).split("-")[0]


def quarantine_of(artifact: types.Artifact) -> str:
    """Where quarantined rows lie when the artifact's folder does not stay."""
    uri = Path(artifact.uri)
    return str(uri.parent.parent / "quarantine" / f"{uri.name}.jsonl")


def describe(artifact: types.Artifact, report: IngestReport | JourneyReport) -> None:
    """Writes what the examples are into their artifact, as stock components expect it."""
    artifact.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(artifact, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP))
    artifact.set_int_custom_property(ROWS_PROPERTY, report.kept)
    artifact.set_string_custom_property(DATASET_VERSION_PROPERTY, report.dataset_version)
    artifact.set_int_custom_property(utils.SPAN_PROPERTY_NAME, report.span or 0)
