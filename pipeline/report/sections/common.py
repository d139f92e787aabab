"""Small helpers that several sections use."""

from __future__ import annotations

import math
from collections.abc import Mapping

from modules.evaluation.verdict import SliceKey, SliceMetrics
from modules.reporting.confusion import RATES, Confusion
from modules.reporting.document import Block, Missing
from modules.reporting.intervals import Interval, wilson
from pipeline.report.source import Absent, PlotData

COUNTED_RATES = frozenset(RATES) - {"mean_label"}
OF_DECISIONS = frozenset({"accuracy", "top_3_accuracy", "unknown_action_rate"})
OF_CONVERSION = {"conversion_auc": "auc", "conversion_log_loss": "log_loss", "conversion_rate": "mean_label"}


def missing(found: object, otherwise: str = "not available") -> list[Block]:
    """The line for a part that is not there."""
    return [Missing(found.why if isinstance(found, Absent) else otherwise)]


def metric_interval(name: str, metrics: Mapping[str, float], plots: PlotData | None, recommends: bool) -> Interval:
    """A metric of the Evaluator with the interval that its artifacts allow."""
    value = metrics.get(name, math.nan)
    if recommends:
        if name in OF_DECISIONS or (name.startswith("baseline_") and name.endswith("_accuracy")):
            count = metrics.get("example_count", 0.0)
            return wilson(value * count, count) if math.isfinite(value) else Interval(value)
        if name in OF_CONVERSION and plots is not None and plots.bins is not None:
            return plots.bins.metric_interval(OF_CONVERSION[name], value)
        return Interval(value)
    counts = Confusion.of_metrics(metrics)
    if counts is not None and (name in COUNTED_RATES or name == "f1_score"):
        found = counts.rate(name)
        return Interval(value, found.low, found.high)
    if plots is not None and plots.bins is not None:
        return plots.bins.metric_interval(name, value)
    return Interval(value)


def slices_by_feature(parts: tuple[SliceMetrics, ...]) -> dict[str, list[SliceMetrics]]:
    """Slices grouped by the features they are cut by, in order; largest slices first within a group."""
    found: dict[str, list[SliceMetrics]] = {}
    for part in parts:
        found.setdefault(" and ".join(feature for feature, _ in part.key), []).append(part)
    return {name: sorted(group, key=lambda p: -p.examples) for name, group in found.items()}


def value_text(key: SliceKey) -> str:
    """The values of a slice, for a table under the names of its features."""
    return ", ".join("(empty)" if value == "" else str(value) for _, value in key) or "overall"
