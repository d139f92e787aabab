"""Executor of JourneyExampleGen: a Beam pipeline over units of files, then over partitions of the leads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.example_gen import write_split
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_component_specs

from modules.ingest.staging import STAGING
from modules.journeys import finish, splits, tables, work
from modules.journeys.dataset import JourneyDataset
from modules.journeys.splits import JourneyPlan
from modules.journeys.tables import Tables
from modules.journeys.work import JourneyWork, Spilled, SpillResult
from pipeline.components.example_gen.artifact import describe, quarantine_of, version_of
from pipeline.components.example_gen.executor import threads
from pipeline.components.example_gen.settings import Settings


class _PlanFile(beam.DoFn):
    def __init__(self, found: Tables) -> None:
        self.found = found

    def process(self, number: int) -> Iterator[JourneyWork]:
        yield from work.plan_file(self.found, number)


class _Spill(beam.DoFn):
    def __init__(self, settings: Settings[JourneyDataset], found: Tables, partitions: int, folder: str) -> None:
        self.settings, self.found, self.partitions, self.folder = settings, found, partitions, folder

    def process(self, unit: JourneyWork) -> Iterator[SpillResult]:
        yield work.spill_unit(
            self.settings.dataset, self.found, unit, self.partitions, self.settings.validation_split, self.folder,
            threads(),
        )  # fmt: skip


class _FindPositions(beam.DoFn):
    def __init__(self, settings: Settings[JourneyDataset], found: Tables, folder: str) -> None:
        self.settings, self.found, self.folder = settings, found, folder

    def process(self, partition: int, results: list[SpillResult]) -> Iterator[int]:
        if finish.judge(self.settings.dataset, self.found, results) is None:
            work.find_positions(self.folder, Spilled.of(results), partition)
        yield partition


class _Write(beam.DoFn):
    def __init__(self, settings: Settings[JourneyDataset], found: Tables, folder: str) -> None:
        self.settings, self.found, self.folder = settings, found, folder
        self.rows = beam.metrics.Metrics.counter(write_split.METRICS_NAMESPACE, "num_instances")

    def process(self, partition: int, results: list[SpillResult], plan: JourneyPlan | None) -> None:
        if plan is None:
            return
        spilled = Spilled.of(results)
        result = work.write_partition(
            self.settings.dataset, self.found, plan, spilled, partition, self.folder, threads()
        )
        self.rows.inc(sum(result.rows))


def _make_plan(
    _: None, settings: Settings[JourneyDataset], found: Tables, folder: str, results: list[SpillResult], __: list[int]
) -> JourneyPlan | None:
    """The plan; None if nothing can be made of what was read, which `finish` says in full."""
    if finish.judge(settings.dataset, found, results) is not None:
        return None
    begin, first = work.read_positions(folder)
    as_of = finish.newest_event(results)
    plan = splits.make_plan(settings.dataset, settings.validation_split, as_of, begin, first)
    splits.keep_plan(plan, folder)
    return plan


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads the tables once, writes the examples in a second step.

    The first reads units of files in parallel, judges their rows and keeps the good ones in the staging folder,
    divided by lead. The second takes one partition of the leads at a time: puts journeys together, makes windows,
    encodes. Between them stands a look at where each journey begins, for splits by time or order. What passes through
    Beam are names and counts; the files get their final names when all partitions are done, so a failed run leaves
    none behind.
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
          DataError: the tables cannot be used; quarantined rows then lie beside the artifact's folder.
          ConfigError: the dataset cannot be used.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = Settings.unpack(exec_properties, JourneyDataset)
        dataset = settings.dataset
        found = tables.resolve(dataset, settings.span, settings.last_spans)
        ignored = tables.check(dataset, found)
        version = version_of(settings, exec_properties, lambda: tables.fingerprint(found))
        artifact = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        staging = Path(artifact.uri) / STAGING
        staging.mkdir(parents=True, exist_ok=True)
        self._run(settings, found, str(staging))
        report = finish.finish(dataset, found, ignored, version, artifact.uri, quarantine_of(artifact))
        describe(artifact, report)
        logging.info("%s: %d events read, %d decisions", dataset.name, report.events, report.kept)

    def _run(self, settings: Settings[JourneyDataset], found: Tables, folder: str) -> None:
        partitions = found.partitions
        with self._make_beam_pipeline() as pipeline:
            results = (
                pipeline
                | "Files" >> beam.Create(range(len(found.files)), reshuffle=False)
                | "Units" >> beam.ParDo(_PlanFile(found))
                | "SpreadUnits" >> beam.Reshuffle()
                | "Spill" >> beam.ParDo(_Spill(settings, found, partitions, folder))
            )
            every = (
                pipeline
                | "Partitions" >> beam.Create(range(partitions), reshuffle=False)
                | "SpreadPartitions" >> beam.Reshuffle()
            )
            spilled = beam.pvalue.AsList(results)
            positions = every
            if splits.needs_positions(settings.dataset):
                positions = every | "Positions" >> beam.ParDo(_FindPositions(settings, found, folder), spilled)
            plan = (
                pipeline
                | "Once" >> beam.Create([None], reshuffle=False)
                | "Plan" >> beam.Map(_make_plan, settings, found, folder, spilled, beam.pvalue.AsList(positions))
            )
            _ = every | "Write" >> beam.ParDo(_Write(settings, found, folder), spilled, beam.pvalue.AsSingleton(plan))
