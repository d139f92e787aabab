"""The component's own settings, packed into the `custom_config` that file-based ExampleGens carry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf import wrappers_pb2
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from modules.dataset import Dataset
from modules.journeys.dataset import JourneyDataset

D = TypeVar("D", Dataset, JourneyDataset)


@dataclass(frozen=True)
class Settings(Generic[D]):
    """What ColumnarExampleGen and JourneyExampleGen are told.

    Attributes:
      dataset: the table, or the tables.
      validation_split: share of the rows, or journeys, that are neither test nor calibration.
      span: newest span to read; the newest there is when absent.
      last_spans: how many spans, counted back from `span`, are read together.
      fingerprint: stands for the contents of the files when the pipeline already knows it.
    """

    dataset: D
    validation_split: float
    span: int | None = None
    last_spans: int = 1
    fingerprint: str | None = None

    def pack(self) -> example_gen_pb2.CustomConfig:
        values = {
            "dataset": self.dataset.model_dump(mode="json"),
            "validation_split": self.validation_split,
            "span": self.span,
            "last_spans": self.last_spans,
            "fingerprint": self.fingerprint,
        }
        config = example_gen_pb2.CustomConfig()
        config.custom_config.Pack(wrappers_pb2.StringValue(value=json.dumps(values, sort_keys=True)))
        return config

    @classmethod
    def unpack(cls, exec_properties: dict[str, Any], kind: type[D]) -> Settings[D]:
        config = example_gen_pb2.CustomConfig()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
        text = wrappers_pb2.StringValue()
        config.custom_config.Unpack(text)
        values = json.loads(text.value)
        return cls(**{**values, "dataset": kind.model_validate(values["dataset"])})
