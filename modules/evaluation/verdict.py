"""What the Evaluator found, read back from its output, in words.

verdict = read_verdict(evaluation_uri)
verdict.blessed, verdict.reason
for line in verdict.describe():
    print(line)          # auc 0.712 < 0.750 (short by 0.038) in source=portal
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modules.errors import DataError
from modules.evaluation import names
from modules.evaluation.families import LOWER_IS_BETTER, MetricFamily, family_metric
from modules.validation.bounds import BoundsVerdict, MissedBound

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2

SliceKey = tuple[tuple[str, str | int | float], ...]
OVERALL: SliceKey = ()


def slice_text(key: SliceKey) -> str:
    """A slice for people: "overall", or "source=portal, region=north"."""
    return ", ".join(f"{feature}={value!r}" if value == "" else f"{feature}={value}" for feature, value in key) or (
        "overall"
    )


@dataclasses.dataclass(frozen=True)
class SliceMetrics:
    """Metrics of one slice.

    Attributes:
      key: (feature, value) pairs, empty for all examples.
      candidate: metrics of the candidate by name, those of its family; NaN where not defined.
      baseline: metrics of the baseline, None without one.
      judged: False where the slice is too small for the thresholds on slices.
    """

    key: SliceKey
    candidate: Mapping[str, float]
    baseline: Mapping[str, float] | None = None
    judged: bool = True

    @property
    def examples(self) -> int:
        """Number of examples in the slice."""
        return int(self.candidate.get("example_count", 0))


@dataclasses.dataclass(frozen=True)
class FailedThreshold:
    """One bound that a candidate missed.

    Attributes:
      metric: name of the metric.
      key: the slice.
      kind: "min" and "max" bound the value, "change" bounds the improvement on the baseline (positive is better).
      bound: the value or improvement that was asked for.
      value: the candidate's metric, None when it was not computed.
      baseline: the baseline's metric, for changes.
      metrics: the candidate's metrics in the slice, to say what stands behind the value.
      family: what the metric belongs to.
    """

    metric: str
    key: SliceKey
    kind: Literal["min", "max", "change"]
    bound: float
    value: float | None
    baseline: float | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict, repr=False)
    family: MetricFamily | None = dataclasses.field(default=None, repr=False)

    @property
    def improvement(self) -> float | None:
        """candidate - baseline, sign reversed where lower is better."""
        if self.value is None or self.baseline is None:
            return None
        lower = self.metric in LOWER_IS_BETTER
        return self.baseline - self.value if lower else self.value - self.baseline

    @property
    def short_by(self) -> float:
        """By how much the bound was missed, above 0; NaN when there is no value."""
        reached = self.improvement if self.kind == "change" else self.value
        if reached is None:
            return math.nan
        return reached - self.bound if self.kind == "max" else self.bound - reached

    def describe(self) -> str:
        """One line: "auc 0.712 < 0.750 (short by 0.038) in source=portal"."""
        where = "overall" if self.key == OVERALL else f"in {slice_text(self.key)}"
        if self.value is None:
            return f"{self.metric} was not computed {where}"
        if math.isnan(self.short_by):
            what = "improvement" if self.kind == "change" else "value"
            return f"{self.metric} is not defined {where}, so its {what} cannot reach {self.bound:g}"
        digits = 3 if self.short_by == 0 else min(max(3, 1 - math.floor(math.log10(self.short_by))), 12)
        if self.kind == "change":
            reached = self.improvement
            return (
                f"{self.metric} improvement {reached:+.{digits}f} < {self.bound:+.{digits}f} "
                f"(short by {self.short_by:.{digits}f}) {where}: {self.value:.{digits}f}, "
                f"baseline {self.baseline:.{digits}f}"
            )
        sign, missed = (">", "over by") if self.kind == "max" else ("<", "short by")
        behind = self.family.explain(self.metric, self.metrics, digits) if self.family else ""
        return (
            f"{self.metric} {self.value:.{digits}f} {sign} {self.bound:.{digits}f} "
            f"({missed} {self.short_by:.{digits}f}) {where}{f': {behind}' if behind else ''}"
        )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of an evaluation.

    Attributes:
      blessed: whether every threshold held.
      overall: metrics over all examples.
      slices: metrics per slice, in order of their names, without the overall one.
      failures: the thresholds that did not hold.
      missing_slices: features whose thresholds met no example at all, as text.
      validated: whether there were thresholds at all; without any, nothing is blessed.
      family: what the metrics belong to, None when they are not of one of the families.
      missed_bounds: bounds on the intervals of cross-validation that do not hold.
    """

    blessed: bool
    overall: SliceMetrics
    slices: tuple[SliceMetrics, ...] = ()
    failures: tuple[FailedThreshold, ...] = ()
    missing_slices: tuple[str, ...] = ()
    validated: bool = True
    family: MetricFamily | None = None
    missed_bounds: tuple[MissedBound, ...] = ()

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that a summary shows, most telling first."""
        return self.family.shown if self.family else tuple(self.candidate)

    @property
    def candidate(self) -> Mapping[str, float]:
        """The candidate's metrics over all examples."""
        return self.overall.candidate

    @property
    def baseline(self) -> Mapping[str, float] | None:
        """The baseline's metrics over all examples, None without one."""
        return self.overall.baseline

    @property
    def unjudged(self) -> tuple[SliceMetrics, ...]:
        """Slices too small for the thresholds on slices."""
        return tuple(part for part in self.slices if not part.judged)

    @property
    def reason(self) -> str:
        """One line that says why."""
        if self.blessed:
            return "every threshold holds" + ("" if self.baseline is not None else "; there is no baseline yet")
        if not self.validated:
            return "no thresholds are set, so nothing was validated"
        missed = len(self.failures) + len(self.missing_slices) + len(self.missed_bounds)
        return f"{missed} threshold{'s' * (missed != 1)} missed" if missed else "there were no examples to evaluate"

    def describe(self) -> list[str]:
        """Lines for a terminal: every failure, the overall ones first; the reason when there is none."""
        lines = [failure.describe() for failure in sorted(self.failures, key=lambda f: len(f.key))]
        lines += [missed.describe() for missed in self.missed_bounds]
        lines += [f"no example to evaluate has a value of {features}" for features in self.missing_slices]
        if not lines:
            lines = [self.reason]
        small = self.unjudged
        if small:
            shown = ", ".join(f"{slice_text(part.key)} ({part.examples})" for part in small[:5])
            more = f" and {len(small) - 5} more" if len(small) > 5 else ""
            lines.append(f"not judged, too few examples: {shown}{more}")
        return lines


def read_verdict(evaluation: Path | str) -> Verdict:
    """Reads the directory of a ModelEvaluation artifact.

    Raises:
      DataError: the directory holds no evaluation.
    """
    # Before TFMA, which tfx completes on import.
    from tfx import types  # noqa: F401, I001
    from tensorflow_model_analysis.writers import eval_config_writer, metrics_plots_and_validations_writer

    path = str(evaluation)
    if not any(Path(path).glob("metrics*")):
        raise DataError(
            f"Expected the output of an Evaluator in {path}, but it has no metrics. Point to the directory of a "
            "ModelEvaluation artifact, such as artifacts/<model>/Evaluator/evaluation/<n>."
        )
    config = eval_config_writer.load_eval_run(path)[0]
    metrics = list(metrics_plots_and_validations_writer.load_and_deserialize_metrics(path))
    validated = any(Path(path).glob("validations*"))
    result = metrics_plots_and_validations_writer.load_and_deserialize_validation_result(path) if validated else None
    verdict = make_verdict(config, metrics, result)
    missed = BoundsVerdict.find(path).missed
    return dataclasses.replace(verdict, blessed=verdict.blessed and not missed, missed_bounds=missed)


def make_verdict(
    config: config_pb2.EvalConfig,
    metrics: Iterable[metrics_for_slice_pb2.MetricsForSlice],
    result: validation_result_pb2.ValidationResult | None,
) -> Verdict:
    """The verdict of TFMA's own records; None for `result` when nothing was validated."""
    family, slice_bounds = _family_and_bounds(config)
    baseline = next((spec.name for spec in config.model_specs if spec.is_baseline), None)
    candidate = next((spec.name for spec in config.model_specs if not spec.is_baseline), "")
    on_slices = any(slice_bounds.get(bounds) for bounds in ("slice_min", "slice_max", "slice_change"))
    least = slice_bounds.get("min_slice_examples", 0) if on_slices else 0
    slices = {}
    for record in metrics:
        values = _values(record)
        key = slice_key_of(record.slice_key)
        of_candidate = values.get(candidate, {})
        slices[key] = SliceMetrics(
            key=key,
            candidate=of_candidate,
            baseline=None if baseline is None else values.get(baseline, {}),
            judged=key == OVERALL or of_candidate.get("example_count", 0) >= least,
        )
    overall = slices.pop(OVERALL, SliceMetrics(OVERALL, {}, None if baseline is None else {}))
    failures: list[FailedThreshold] = []
    missing: list[str] = []
    if result is not None:
        for validation in result.metric_validations_per_slice:
            key = slice_key_of(validation.slice_key)
            part = overall if key == OVERALL else slices.get(key, SliceMetrics(key, {}))
            for failure in validation.failures:
                found = _failures(failure, part, slice_bounds)
                failures += [dataclasses.replace(f, metrics=part.candidate, family=family) for f in found]
        missing = [" and ".join(sorted(spec.feature_keys)) for spec in result.missing_slices]
    return Verdict(
        blessed=bool(result is not None and result.validation_ok),
        overall=overall,
        slices=tuple(slices[key] for key in sorted(slices, key=slice_text)),
        failures=tuple(failures),
        missing_slices=tuple(missing),
        validated=result is not None and not result.missing_thresholds,
        family=family,
    )


def _family_and_bounds(config: config_pb2.EvalConfig) -> tuple[MetricFamily | None, dict[str, Any]]:
    """The family in the config and the settings of its metric, empty when there is none."""
    found = family_metric(config)
    return (None, {}) if found is None else (found[0], json.loads(found[1].config or "{}"))


def slice_key_of(proto: metrics_for_slice_pb2.SliceKey) -> SliceKey:
    """The key of a slice as TFMA's proto has it."""

    def value(single: Any) -> str | int | float:
        found = getattr(single, single.WhichOneof("kind"))
        return found.decode() if isinstance(found, bytes) else found

    return tuple((single.column, value(single)) for single in proto.single_slice_keys)


def _values(record: metrics_for_slice_pb2.MetricsForSlice) -> dict[str, dict[str, float]]:
    """Plain numbers by model and metric; differences and margins are left out."""
    values: dict[str, dict[str, float]] = {}
    for item in record.metric_keys_and_values:
        number = item.value.WhichOneof("type") == "double_value"
        if number and not item.key.is_diff and not item.key.name.endswith("_margin"):
            values.setdefault(item.key.model_name, {})[item.key.name] = item.value.double_value.value
    return values


def _failures(
    failure: validation_result_pb2.ValidationFailure, part: SliceMetrics, slice_bounds: Mapping[str, Any]
) -> list[FailedThreshold]:
    name = failure.metric_key.name
    for metric, least in slice_bounds.get("slice_change", {}).items():
        if name == names.change_margin(metric):
            return [_change(metric, least, part)]
    bounds: tuple[tuple[Literal["min", "max"], Mapping[str, float]], ...] = (
        ("min", slice_bounds.get("slice_min", {})),
        ("max", slice_bounds.get("slice_max", {})),
    )
    for kind, limits in bounds:
        for metric, bound in limits.items():
            if name == names.margin(metric) and not _holds(kind, part.candidate.get(metric), bound):
                return [FailedThreshold(metric, part.key, kind, bound, part.candidate.get(metric))]
    threshold = failure.metric_threshold
    if threshold.HasField("change_threshold"):
        absolute = threshold.change_threshold.absolute.value
        return [_change(name, -absolute if name in LOWER_IS_BETTER else absolute, part)]
    value = failure.metric_value.double_value.value if failure.HasField("metric_value") else None
    limits_of_value: list[tuple[Literal["min", "max"], float]] = []
    if threshold.value_threshold.HasField("lower_bound"):
        limits_of_value.append(("min", threshold.value_threshold.lower_bound.value))
    if threshold.value_threshold.HasField("upper_bound"):
        limits_of_value.append(("max", threshold.value_threshold.upper_bound.value))
    missed = [(kind, bound) for kind, bound in limits_of_value if not _holds(kind, value, bound)]
    return [FailedThreshold(name, part.key, kind, bound, value) for kind, bound in missed[:1]]


def _holds(kind: Literal["min", "max"], value: float | None, bound: float) -> bool:
    return value is not None and (value >= bound if kind == "min" else value <= bound)


def _change(metric: str, least: float, part: SliceMetrics) -> FailedThreshold:
    baseline = (part.baseline or {}).get(metric)
    return FailedThreshold(metric, part.key, "change", least, part.candidate.get(metric), baseline)
