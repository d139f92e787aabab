"""Executor of ColumnarExampleGen: a Beam pipeline over units of files, each worked on in columns."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.example_gen import write_split
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_component_specs

from modules.dataset import Dataset
from modules.ingest import sources, split, work
from modules.ingest.sources import Source
from modules.ingest.split import BlockSummary, Key, SplitPlan
from modules.ingest.staging import STAGING
from modules.ingest.work import Work
from pipeline.components.example_gen.artifact import describe, quarantine_of, version_of
from pipeline.components.example_gen.settings import Settings


class _PlanFile(beam.DoFn):
    def __init__(self, dataset: Dataset, source: Source) -> None:
        self.dataset, self.source = dataset, source

    def process(self, number: int) -> Iterator[Work]:
        yield from work.plan_file(self.dataset, self.source, number)


class _Summarise(beam.DoFn):
    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def process(self, unit: Work) -> Iterator[tuple[Key, BlockSummary]]:
        yield from work.summarise_unit(self.dataset, unit, threads())


class _Process(beam.DoFn):
    def __init__(self, dataset: Dataset, folder: str) -> None:
        self.dataset, self.folder = dataset, folder
        self.rows = beam.metrics.Metrics.counter(write_split.METRICS_NAMESPACE, "num_instances")

    def process(self, unit: Work, plan: SplitPlan) -> None:
        result = work.process_unit(self.dataset, plan, unit, self.folder, threads())
        self.rows.inc(sum(result.rows))


def threads() -> int:
    """Threads per worker: the cores there are, four at most, since every block at work takes memory."""
    return min(len(os.sched_getaffinity(0)), 4)


def _make_plan(
    _: None, dataset: Dataset, validation_split: float, folder: str, found: list[tuple[Key, BlockSummary]]
) -> SplitPlan:
    plan = split.make_plan(dataset, validation_split, found)
    work.keep_plan(plan, folder)
    return plan


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads the table in two passes.

    The first reads only the columns that splits by time, by order, or with exact shares depend on, and is left out
    if there are none. The second judges, splits, encodes and writes each unit on its own; the files get their final
    names when all units are done, so a failed run leaves none behind.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples.

        Args:
          input_dict: empty.
          output_dict: `examples`, one Examples artifact.
          exec_properties: of a file-based ExampleGen; `custom_config` holds the settings.

        Raises:
          DataError: the table cannot be used; quarantined rows then lie beside the artifact's folder.
          ConfigError: the dataset cannot be used.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = Settings.unpack(exec_properties, Dataset)
        dataset = settings.dataset
        source = sources.resolve(dataset, settings.span, settings.last_spans)
        ignored = work.check(dataset, source)
        version = version_of(settings, exec_properties, lambda: sources.fingerprint(source))
        artifact = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        staging = Path(artifact.uri) / STAGING
        staging.mkdir(parents=True, exist_ok=True)
        with self._make_beam_pipeline() as pipeline:
            units = (
                pipeline
                | "Files" >> beam.Create(range(len(source.files)), reshuffle=False)
                | "Units" >> beam.ParDo(_PlanFile(dataset, source))
                | "Spread" >> beam.Reshuffle()
            )
            if split.first_pass_columns(dataset):
                summaries = units | "Summarise" >> beam.ParDo(_Summarise(dataset))
                plan = (
                    pipeline
                    | "Once" >> beam.Create([None], reshuffle=False)
                    | "Plan"
                    >> beam.Map(
                        _make_plan, dataset, settings.validation_split, str(staging), beam.pvalue.AsList(summaries)
                    )
                )
                plan = beam.pvalue.AsSingleton(plan)
            else:
                plan = _make_plan(None, dataset, settings.validation_split, str(staging), [])
            _ = units | "Process" >> beam.ParDo(_Process(dataset, str(staging)), plan)
        report = work.finish(dataset, source, ignored, version, artifact.uri, quarantine_of(artifact))
        describe(artifact, report)
        logging.info("%s: %d rows read, %d kept", dataset.name, report.rows, report.kept)
