"""Everything a report reads, as typed values; each part is read once, when a section asks for it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from modules.errors import AiqleadsError
from modules.evaluation import names
from modules.evaluation.verdict import OVERALL, SliceKey, Verdict, make_verdict, slice_key_of
from modules.manifest import Manifest
from modules.report_file import ReportFile
from modules.reporting.confusion import ThresholdTable
from modules.reporting.score_bins import ScoreBins
from pipeline.report.find import Found
from pipeline.report.store import Artifact

T = TypeVar("T")
EXAMPLE_GENS = ("ColumnarExampleGen", "JourneyExampleGen")
EVALUATED, TRAINED = "test", "train"
CANDIDATE, BASELINE = "candidate", "baseline"
_MODEL_NAMES = {"": CANDIDATE}


@dataclass(frozen=True)
class Absent:
    """A part that a run does not have: why, in a line."""

    why: str


@dataclass(frozen=True)
class PlotData:
    """What the Evaluator kept of one model in one slice.

    Attributes:
      bins: examples by score, in intervals of equal weight where there are any, else of equal width.
      table: confusion matrices; None for models without a positive class.
      reliability: intervals of equal width over the probability.
      actions: entries of the confusion of actions; None for other models.
    """

    bins: ScoreBins | None
    table: ThresholdTable | None
    reliability: ScoreBins | None
    actions: tuple[Any, ...] | None


class RunSource:
    """One run of one model."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.run = found.run

    @property
    def servable(self) -> str:
        return self.found.servable

    @cached_property
    def model_dir(self) -> Path:
        """The SavedModel that the Trainer wrote."""
        model = self.run.output("Trainer", "model")
        if model is None:
            raise AiqleadsError(f"run {self.run.id} has no model of a Trainer; run the pipeline again")
        return model.path / "Format-Serving"

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.load(self.model_dir)

    @cached_property
    def raw_manifest(self) -> dict[str, Any]:
        """All of the manifest, what only one kind of model has included."""
        from modules.manifest import EXTRA, MANIFEST

        return json.loads((self.model_dir / EXTRA / MANIFEST).read_text())

    @cached_property
    def config(self) -> dict[str, Any]:
        """The effective configuration of the model file, as the run had it."""
        return self.manifest.configuration.get("config", {})

    @cached_property
    def dataset(self) -> dict[str, Any]:
        """The dataset file, as the run had it."""
        return self.manifest.configuration.get("dataset", {})

    @property
    def recommends(self) -> bool:
        """Whether the model is of the recommendation family."""
        return self.config.get("kind") == "recommendation" or "JourneyExampleGen" in self.run.executions

    @property
    def threshold(self) -> float:
        """Decision threshold of the evaluation, 0-1."""
        return float(self.config.get("evaluation", {}).get("threshold", 0.5))

    def option(self, path: str, default: Any = None) -> Any:
        """A setting by its dotted path in the model file."""
        value: Any = self.config
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        return value

    @cached_property
    def examples(self) -> Artifact | None:
        for node in EXAMPLE_GENS:
            if found := self.run.output(node, "examples"):
                return found
        return None

    @cached_property
    def ingest(self) -> Any:
        """IngestReport or JourneyReport; Absent where it cannot be read."""
        if self.examples is None:
            return Absent("no ingest report: the run has no examples of ours")
        uri = self.examples.uri
        if self.recommends:
            from modules.journeys.report import read_report as read_journeys

            return attempt(lambda: read_journeys(uri), "the ingest report")
        from modules.ingest.report import read_report

        return attempt(lambda: read_report(uri), "the ingest report")

    @cached_property
    def statistics(self) -> dict[str, Any] | Absent:
        """DatasetFeatureStatistics by part."""
        artifact = self.run.output("StatisticsGen", "statistics")
        if artifact is None:
            return Absent("no statistics: the run has no StatisticsGen")

        def read() -> dict[str, Any]:
            from tensorflow_metadata.proto.v0 import statistics_pb2

            found = {}
            for folder in sorted(artifact.path.glob("Split-*")):
                table = statistics_pb2.DatasetFeatureStatisticsList.FromString(
                    (folder / "FeatureStats.pb").read_bytes()
                )
                if table.datasets and table.datasets[0].num_examples:
                    found[folder.name.removeprefix("Split-")] = table.datasets[0]
            return found

        return attempt(read, "the statistics")

    @cached_property
    def gate(self) -> dict[str, Any] | Absent:
        """The data gate's report."""
        artifact = self.run.output("DataGate", "gate_report")
        if artifact is None:
            return Absent("no report of the data gate")
        return attempt(lambda: json.loads((artifact.path / "report.json").read_text()), "the gate's report")

    @cached_property
    def _records(self) -> Any:
        artifact = self.run.output("Evaluator", "evaluation")
        if artifact is None:
            return Absent("no evaluation: the run has no Evaluator")
        from modules.evaluation.records import read_records

        return attempt(lambda: read_records(artifact.uri), "the evaluation")

    @cached_property
    def verdict(self) -> Verdict | Absent:
        """What the Evaluator found."""
        records = self._records
        if isinstance(records, Absent):
            return records
        return attempt(lambda: make_verdict(records.config, records.metrics, records.result), "the evaluation")

    @cached_property
    def plots(self) -> dict[tuple[str, SliceKey], PlotData]:
        """What is drawn of a model in a slice: (candidate or baseline, slice) -> data."""
        records = self._records
        if isinstance(records, Absent):
            return {}
        by_key: dict[tuple[str, SliceKey], dict[str, Any]] = {}
        for record in records.plots:
            key = slice_key_of(record.slice_key)
            for item in record.plot_keys_and_values:
                model = _MODEL_NAMES.get(item.key.model_name, item.key.model_name)
                by_key.setdefault((model, key), {})[item.key.output_name] = item.value
        return {key: _plot_data(values) for key, values in by_key.items()}

    def overall(self, model: str = CANDIDATE) -> PlotData | None:
        """The plots of all examples; None where the Evaluator kept none."""
        return self.plots.get((model, OVERALL))

    @cached_property
    def infra(self) -> dict[str, Any] | Absent:
        """Report of the infrastructure check."""
        artifact = self.run.output("InfraCheck", "blessing")
        if artifact is None:
            return Absent("no report of our infrastructure check: `infra.kind` is not `session`")
        return attempt(lambda: json.loads((artifact.path / "report.json").read_text()), "the infrastructure report")

    @cached_property
    def infra_blessed(self) -> bool:
        artifact = self.run.output("InfraCheck", "blessing")
        return artifact is None or artifact.properties.get("blessed") == 1

    @cached_property
    def curves(self) -> Any:
        from modules.convergence import Curves

        return attempt(lambda: Curves.read(self.model_dir), "the loss curves")

    @cached_property
    def convergence(self) -> Any:
        """What the run's summary says of its training (`pipeline.findings.Convergence`)."""
        from pipeline.findings import read_convergence

        verdict = self.verdict
        if isinstance(verdict, Absent):
            return verdict
        return attempt(lambda: read_convergence(self.model_dir, verdict), "the convergence findings")

    @cached_property
    def bounds(self) -> Any:
        """What the Evaluator made of the bounds on cross-validation; None when there are none."""
        artifact = self.run.output("Evaluator", "evaluation")
        if artifact is None:
            return None
        from modules.validation.bounds import BoundsVerdict

        if not (artifact.path / BoundsVerdict.FILE).is_file():
            return None
        return attempt(lambda: BoundsVerdict.read(artifact.uri), "the bounds on cross-validation")

    @property
    def blessed(self) -> bool:
        """Whether the Evaluator's blessing stands, cross-validation's veto included."""
        artifact = self.run.output("Evaluator", "blessing")
        return artifact is not None and artifact.properties.get("blessed") == 1

    @cached_property
    def outliers(self) -> Any:
        """OutlierReport of the Trainer."""
        from modules.encoding.report import OutlierReport

        found = attempt(lambda: OutlierReport.read(self.model_dir), "the outliers")
        return (
            Absent("nothing is clipped: give a numeric feature `clip`, e.g. [0.01, 0.99]") if found is None else found
        )

    @cached_property
    def selection(self) -> Any:
        from modules.lead_scoring.selection import SELECTION, Selection
        from modules.manifest import EXTRA

        if not (self.model_dir / EXTRA / SELECTION).is_file():
            return Absent("no feature selection: set `model.selection` to have useless columns dropped")
        return attempt(lambda: Selection.read(self.model_dir), "the selection")

    @cached_property
    def importance(self) -> Any:
        from modules.explanation.report import ImportanceReport

        return self._report(ImportanceReport, "no importances: the run has no node Importance")

    @cached_property
    def cross_validation(self) -> Any:
        from modules.validation.report import CrossValidationReport

        return self._report(CrossValidationReport, "no cross-validation: set `validation.folds`")

    @cached_property
    def tuning(self) -> Any:
        from modules.tuning.report import TuningReport

        return self._report(TuningReport, "no tuning: set `tuning` to search for better settings")

    @cached_property
    def policy_value(self) -> Any:
        from modules.off_policy.report import PolicyValueReport

        return self._report(PolicyValueReport, "no policy value: the dataset names no `outcome`")

    def _report(self, kind: type[ReportFile], absent: str) -> ReportFile | Absent:
        for execution in self.run.executions.values():
            for artifacts in execution.outputs.values():
                for artifact in artifacts:
                    if (artifact.path / kind.FILE).is_file():
                        return attempt(functools.partial(kind.read, artifact.uri), kind.FILE)
        return Absent(absent)


def attempt(read: Callable[[], T], what: str) -> T | Absent:
    """The value, or why it cannot be read: a report shows what is there and says what is not."""
    try:
        return read()
    except AiqleadsError as error:
        return Absent(f"{what} cannot be shown: {_without_folders(str(error))}")
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        return Absent(f"{what} cannot be shown: {type(error).__name__}: {_without_folders(str(error))[:200]}")


def _without_folders(text: str) -> str:
    """The first line, with the folders of paths left out: they tell who ran it, and where."""
    return re.sub(r"(?<![\w.])/(?:[^\s/:]+/)+", "…/", text.splitlines()[0] if text else "")


def _plot_data(values: Mapping[str, Any]) -> PlotData:
    quantiles = values.get(names.QUANTILES) or values.get(names.CONVERSION_QUANTILES)
    plain, conversion, actions = (values.get(name) for name in ("", names.CONVERSION, names.ACTIONS))
    is_actions = conversion is not None
    bins: ScoreBins | None
    if quantiles is not None:
        bins = ScoreBins.from_buckets(quantiles.calibration_histogram_buckets.buckets)
    else:
        source = conversion if is_actions else plain
        bins = ScoreBins.from_buckets(source.calibration_histogram_buckets.buckets) if source is not None else None
    table = None
    if plain is not None and len(plain.confusion_matrix_at_thresholds.matrices):
        table = ThresholdTable.from_matrices(plain.confusion_matrix_at_thresholds.matrices)
    reliability = ScoreBins.from_buckets(plain.calibration_histogram_buckets.buckets) if plain is not None else None
    entries = None
    if actions is not None:
        matrices = actions.multi_class_confusion_matrix_at_thresholds.matrices
        entries = tuple(matrices[0].entries) if len(matrices) else ()
    return PlotData(bins, table, reliability, entries)
