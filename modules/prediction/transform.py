"""Batch prediction on Apache Beam: files -> units of work -> blocks of leads -> Beam's RunInference -> shards -> files.

A unit is some sixteen blocks of a file and goes to whichever worker is free; what is read of it stays with that worker
until it is written. Only counts travel on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, RunInference

from modules import progress
from modules.errors import AiqleadsError
from modules.ingest import quarantine
from modules.ingest.blocks import BLOCK_BYTES
from modules.ingest.typed import TypedBlock
from modules.ingest.units import Unit
from modules.prediction import inputs, predictor, report, shards
from modules.prediction.inputs import InputFile
from modules.prediction.predictor import Predictor
from modules.prediction.report import Counts, FileResult, Place
from modules.prediction.tree_shap import TreeShap
from modules.prediction.versions import Endpoint, ModelVersion, Signature

METRICS = "batch_prediction"


@dataclass(frozen=True)
class Job:
    """One batch prediction; every worker gets a copy.

    Attributes:
      files: what to score.
      model: which version answers.
      signature: how it is asked.
      formats: of `shards.FORMATS`.
      staging: folder that all workers reach; shards, joined files and results lie there.
      threads: per worker.
      block_bytes: CSV text that is read, scored and written at once.
      explained: columns that explaining adds to those of the signature; none where predictions are not explained.
    """

    files: tuple[InputFile, ...]
    model: ModelVersion
    signature: Signature
    formats: tuple[str, ...]
    staging: Path
    threads: int
    block_bytes: int = BLOCK_BYTES
    explained: tuple[Endpoint, ...] = ()

    def schema(self, number: int) -> pa.Schema:
        columns = Signature(self.signature.inputs, (*self.signature.outputs, *self.explained))
        return shards.output_schema(self.files[number].dataset.id_feature, columns)

    def shard(self, place: Place) -> Path:
        return self.staging / "-".join(f"{n:06d}" for n in place)

    def joined(self, number: int, suffix: str) -> Path:
        return self.staging / f"joined-{number:06d}.{suffix}"


@dataclass(frozen=True)
class Leads:
    """A block to be scored; its length is its number of leads, which RunInference counts."""

    place: Place
    block: TypedBlock

    def __len__(self) -> int:
        return self.block.rows


@dataclass(frozen=True)
class Scored:
    """A scored block: output -> [rows]."""

    leads: Leads
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """What became of a block, or why a unit could not be read to its end."""

    place: Place
    counts: Counts = field(default_factory=Counts)
    error: str | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """What a worker keeps: the model, and what explains it if that is asked for."""

    predict: Predictor
    explain: TreeShap | None = None


class SavedModelHandler(ModelHandler[Leads, Scored, Loaded]):
    """A published version for `RunInference`, which keeps one per process and measures it."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def load_model(self) -> Loaded:
        explain = TreeShap(self.job.model, self.job.threads) if self.job.explained else None
        return Loaded(predictor.load(self.job.model.path, self.job.signature, self.job.threads), explain)

    def run_inference(
        self, batch: Leads, model: Loaded, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Scored]:
        columns, rows = batch.block.columns, batch.block.rows
        outputs = model.predict(columns, rows)
        return [Scored(batch, outputs if model.explain is None else outputs | model.explain(columns, rows))]

    def should_skip_batching(self) -> bool:
        return True

    def get_num_bytes(self, batch: Leads) -> int:
        return sum(column.nbytes for column in batch.block.columns.values())

    def get_metrics_namespace(self) -> str:
        return METRICS


class _Plan(beam.DoFn):
    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, number: int) -> Iterator[tuple[int, Unit] | beam.pvalue.TaggedOutput]:
        try:
            for unit in inputs.input_units(self.job.files[number], self.job.block_bytes):
                yield number, unit
        except AiqleadsError as e:
            yield beam.pvalue.TaggedOutput("failed", Outcome((number, 0, 0), error=str(e), details=tuple(e.details)))


class _Read(beam.DoFn):
    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, work: tuple[int, Unit]) -> Iterator[Leads | beam.pvalue.TaggedOutput]:
        number, unit = work
        try:
            blocks = inputs.read_unit(self.job.files[number], unit, self.job.threads, self.job.block_bytes)
            for i, block in enumerate(blocks):
                yield Leads((number, unit.number, i), block)
        except AiqleadsError as e:
            place = (number, unit.number, 0)
            yield beam.pvalue.TaggedOutput("failed", Outcome(place, error=str(e), details=tuple(e.details)))


class _Write(beam.DoFn):
    def __init__(self, job: Job) -> None:
        self.job = job
        self.rows = 0

    def process(self, scored: Scored) -> Iterator[Outcome]:
        place, block = scored.leads.place, scored.leads.block
        job = self.job
        ids = block.columns[job.files[place[0]].dataset.id_feature]
        stem = job.shard(place)
        shards.write_shard(stem, shards.output_batch(job.schema(place[0]), job.model, ids, scored.outputs), job.formats)
        if block.bad:
            with open(stem.with_name(stem.name + ".jsonl"), "w", encoding="utf-8") as out:
                quarantine.write(block.bad, out)
        self.rows += block.rows
        progress.report(self.rows, 0, "leads")
        yield Outcome(place, report.count(block.records, scored.outputs, block.rows, block.bad))


class _Join(beam.DoFn):
    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, found: tuple[int, Iterable[Outcome]]) -> None:
        number, outcomes = found
        join(self.job, number, sorted(outcomes, key=lambda outcome: outcome.place))


def join(job: Job, number: int, outcomes: Sequence[Outcome]) -> None:
    """Joins the shards of a file in the order of its rows, and writes its result; no outcomes, a file without leads."""
    result = FileResult(job.files[number].source.path)
    failed = next((outcome for outcome in outcomes if outcome.error), None)
    if failed:
        result.error, result.details = failed.error, list(failed.details)
    else:
        stems = [job.shard(outcome.place) for outcome in outcomes]
        if "parquet" in job.formats:
            shards.join_parquet(stems, job.joined(number, "parquet"), job.schema(number))
        if "csv" in job.formats:
            shards.join_csv(stems, job.joined(number, "csv"), job.schema(number))
        with open(job.joined(number, "jsonl"), "wb") as out:
            for outcome, stem in zip(outcomes, stems, strict=True):
                if outcome.counts.quarantined:
                    out.write(stem.with_name(stem.name + ".jsonl").read_bytes())
        result.counts = report.total(outcome.counts for outcome in outcomes)
    beside = job.joined(number, ".json")
    result.write(beside)
    beside.replace(job.joined(number, "json"))


def build(pipeline: beam.Pipeline, job: Job) -> None:
    """Adds the whole job to a pipeline; its results lie in `job.staging` when that has run."""
    planned = (
        pipeline
        | "Files" >> beam.Create(range(len(job.files)), reshuffle=False)
        | "Units" >> beam.ParDo(_Plan(job)).with_outputs("failed", main="units")
    )
    read = (
        planned.units
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(_Read(job)).with_outputs("failed", main="leads")
    )
    written = (
        read.leads
        | "Predict" >> RunInference(SavedModelHandler(job), metrics_namespace=METRICS)
        | "Write" >> beam.ParDo(_Write(job))
    )
    _ = (
        (planned.failed, read.failed, written)
        | "Outcomes" >> beam.Flatten()
        | "By file" >> beam.WithKeys(lambda outcome: outcome.place[0])
        | "Together" >> beam.GroupByKey()
        | "Join" >> beam.ParDo(_Join(job))
    )


def results(job: Job) -> list[FileResult]:
    """What the workers left in the staging folder, a result per file."""
    found = []
    for number in range(len(job.files)):
        path = job.joined(number, "json")
        if not path.is_file():
            join(job, number, ())
        found.append(FileResult.read(path))
    return found


def model_seconds(result: Any) -> float | None:
    """Seconds inside the model, summed over all workers, as RunInference measures them."""
    named = beam.metrics.MetricsFilter().with_namespace(METRICS).with_name("inference_batch_latency_micro_secs")
    found = result.metrics().query(named)["distributions"]
    return sum(m.result.sum for m in found) / 1e6 if found else None
