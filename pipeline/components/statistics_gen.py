"""TFX's StatisticsGen with an executor that computes a whole file at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx import components, types
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.statistics_gen import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as specs

from modules.statistics import Accumulators, accumulate_file, merged_statistics
from modules.transform_batches import files_of

_STOCK_ONLY = (specs.STATS_OPTIONS_JSON_KEY, specs.SAMPLE_RATE_BY_SPLIT_KEY, specs.SHARDED_STATS_OUTPUT_KEY)


class Executor(stock.Executor):
    """Default statistics of plain tf.Examples; whatever else is asked for goes to TFX's own executor.

    Inputs, outputs and files are the stock ones: `Split-<name>/FeatureStats.pb`.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        examples = artifact_utils.get_single_instance(input_dict[specs.EXAMPLES_KEY])
        if not _is_plain(examples, input_dict, exec_properties):
            super().Do(input_dict, output_dict, exec_properties)
            return
        self._log_startup(input_dict, output_dict, exec_properties)
        statistics = artifact_utils.get_single_instance(output_dict[specs.STATISTICS_KEY])
        excluded = set(stock.json_utils.loads(exec_properties.get(specs.EXCLUDE_SPLITS_KEY) or "[]") or [])
        splits = [s for s in artifact_utils.decode_split_names(examples.split_names) if s not in excluded]
        statistics.split_names = artifact_utils.encode_split_names(splits)
        statistics.span = examples.span
        statistics.set_json_value_custom_property(
            stock.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME, stock.json_utils.dumps(dict.fromkeys(splits, 1.0))
        )
        files = [
            (split, file)
            for split in splits
            for file in files_of([f"{artifact_utils.get_split_uri([examples], split)}/*"])
        ]
        with self._make_beam_pipeline() as pipeline:
            partial = pipeline | "Files" >> beam.Create(files) | "Accumulate" >> beam.FlatMap(_accumulate)
            every_split = pipeline | "Splits" >> beam.Create([(split, None) for split in splits])
            _ = (
                (partial, every_split)
                | "Flatten" >> beam.Flatten()
                | "BySplit" >> beam.GroupByKey()
                | "Write" >> beam.Map(_write, {s: artifact_utils.get_split_uri([statistics], s) for s in splits})
            )


class StatisticsGen(components.StatisticsGen):
    """TFX's StatisticsGen, computing a whole file at a time."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)


def _is_plain(examples: types.Artifact, inputs: dict[str, Any], exec_properties: dict[str, Any]) -> bool:
    payload = examples_utils.get_payload_format(examples)
    return (
        payload == example_gen_pb2.FORMAT_TF_EXAMPLE
        and not inputs.get(specs.SCHEMA_KEY)
        and not examples.has_custom_property(examples_utils.CUSTOM_SPLIT_PATTERN_PROPERTY_NAME)
        and not any(exec_properties.get(key) for key in _STOCK_ONLY)
        and examples.get_string_custom_property(example_gen_utils.FILE_FORMAT_PROPERTY_NAME).startswith("tfrecord")
    )


def _accumulate(split_and_file: tuple[str, str]) -> Iterator[tuple[str, Accumulators]]:
    split, file = split_and_file
    yield split, accumulate_file(file)


def _write(split_and_parts: tuple[str, Iterable[Accumulators | None]], folders: dict[str, str]) -> None:
    split, parts = split_and_parts
    folder = Path(folders[split])
    folder.mkdir(parents=True, exist_ok=True)
    statistics = merged_statistics(part for part in parts if part is not None)
    (folder / stock.DEFAULT_FILE_NAME).write_bytes(statistics.SerializeToString())
