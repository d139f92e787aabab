"""Figures of a binary classifier: what happens at every threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from modules.reporting.confusion import Confusion, ThresholdTable
from modules.reporting.figures.theme import BAD, BASELINE, CANDIDATE, GOOD, figure, line, rule
from modules.reporting.score_bins import ScoreBins

COLOUR = {"candidate": CANDIDATE, "baseline": BASELINE}
CALIBRATION_GROUPS = 12


@dataclass(frozen=True)
class Scored:
    """A model in the curves: its score bins and, where known, its confusion matrix at the threshold in use."""

    bins: ScoreBins
    chosen: Confusion | None = None


def roc(models: Mapping[str, Scored], threshold: float) -> go.Figure:
    """ROC curves with the point of the threshold in use."""
    traces = []
    for name, scored in models.items():
        fpr, tpr, thresholds = scored.bins.roc()
        traces.append(line(fpr, tpr, name, COLOUR[name], customdata=_shown(thresholds), hovertemplate=_HOVER_ROC))
        if scored.chosen:
            x, y = scored.chosen.rate("false_positive_rate").value, scored.chosen.rate("true_positive_rate").value
            traces.append(_point(x, y, threshold, COLOUR[name]))
    traces.append(rule([0, 1], [0, 1], "chance"))
    return figure(traces, "false positive rate", "true positive rate", xaxis=_UNIT, yaxis=_UNIT)


def precision_recall(models: Mapping[str, Scored], threshold: float) -> go.Figure:
    """Precision-recall curves with the point of the threshold in use."""
    traces = []
    for name, scored in models.items():
        recall, precision, thresholds = scored.bins.precision_recall()
        shown = _shown(thresholds)
        traces.append(line(recall, precision, name, COLOUR[name], customdata=shown, hovertemplate=_HOVER_PR))
        if scored.chosen and scored.chosen.selected:
            x, y = scored.chosen.rate("recall").value, scored.chosen.rate("precision").value
            traces.append(_point(x, y, threshold, COLOUR[name]))
    rate = next(iter(models.values())).bins.rate
    traces.append(rule([0, 1], [rate, rate], "base rate"))
    return figure(traces, "recall", "precision", xaxis=_UNIT, yaxis=_UNIT)


def calibration(models: Mapping[str, ScoreBins], groups: int = CALIBRATION_GROUPS) -> go.Figure:
    """Reliability diagram: share of positives in groups of equal size against the mean prediction, with intervals."""
    traces, most = [], 0.0
    for name, bins in models.items():
        points = bins.calibration(groups)
        observed = [p.observed for p in points]
        most = max([most, *(p.predicted for p in points), *(o.high for o in observed)])
        traces.append(
            go.Scatter(
                x=[p.predicted for p in points],
                y=[o.value for o in observed],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [o.high - o.value for o in observed],
                    "arrayminus": [o.value - o.low for o in observed],
                    "thickness": 1.2,
                    "width": 3,
                },
                customdata=[p.examples for p in points],
                hovertemplate="predicted %{x:.3f}<br>observed %{y:.3f}<br>%{customdata:,.0f} examples<extra></extra>",
                name=name,
                mode="lines+markers",
                line={"color": COLOUR[name], "width": 1.5},
                marker={"size": 7},
            )
        )
    most = min(1.0, most * 1.05) or 1.0
    traces.append(rule([0, most], [0, most], "perfect"))
    return figure(
        traces, "mean prediction", "share of positives", xaxis={"range": [0, most]}, yaxis={"range": [0, most]}
    )


def gains(models: Mapping[str, Scored]) -> go.Figure:
    """Cumulative gains: share of all positives found in the best share of the examples."""
    traces = []
    for name, scored in models.items():
        selected, captured = scored.bins.gains()
        hover = "best %{x:.1%}<br>hold %{y:.1%} of the positives<extra></extra>"
        traces.append(line(selected, captured, name, COLOUR[name], hovertemplate=hover))
        if scored.chosen:
            x, y = scored.chosen.rate("selection_rate").value, scored.chosen.rate("recall").value
            traces.append(_point(x, y, None, COLOUR[name]))
    rate = next(iter(models.values())).bins.rate
    traces += [rule([0, 1], [0, 1], "chance"), rule([0, rate, 1], [0, 1, 1], "perfect")]
    return figure(traces, "share selected, best first", "share of positives found", xaxis=_PERCENT, yaxis=_PERCENT)


def lift(models: Mapping[str, Scored]) -> go.Figure:
    """Lift: how many times the base rate the best share of the examples holds."""
    traces = []
    for name, scored in models.items():
        selected, times = scored.bins.lift()
        # A handful of examples at the very top says little and would stretch the axis.
        shown = selected >= min(0.01, float(selected.max()))
        hover = "best %{x:.1%}<br>%{y:.2f} times the base rate<extra></extra>"
        traces.append(line(selected[shown], times[shown], name, COLOUR[name], hovertemplate=hover))
    traces.append(rule([0, 1], [1, 1], "chance"))
    return figure(traces, "share selected, best first", "lift", xaxis=_PERCENT, yaxis={"rangemode": "tozero"})


def by_threshold(table: ThresholdTable, threshold: float) -> go.Figure:
    """Precision, recall, F1 and share selected at every threshold, with the one in use."""
    rows = {name: [m.rate(name).value for m in table.matrices] for name in ("precision", "recall", "selection_rate")}
    f1 = [2 * m.true_positives / max(2 * m.true_positives + m.false_positives + m.false_negatives, 1e-12)
          for m in table.matrices]  # fmt: skip
    series: Sequence[tuple[str, list[float], str]] = (
        ("precision", rows["precision"], CANDIDATE),
        ("recall", rows["recall"], BASELINE),
        ("F1", f1, GOOD),
        ("share selected", rows["selection_rate"], BAD),
    )
    traces = [
        line(
            table.thresholds,
            values,
            name,
            colour,
            hovertemplate=f"threshold %{{x:.2f}}<br>{name} %{{y:.3f}}<extra></extra>",
        )
        for name, values, colour in series
    ]
    traces.append(rule([threshold, threshold], [0, 1], "in use"))
    return figure(traces, "threshold", "", xaxis=_UNIT, yaxis=_UNIT)


_UNIT = {"range": [-0.01, 1.01]}
_PERCENT = {"range": [-0.01, 1.01], "tickformat": ".0%"}
_HOVER_ROC = "threshold %{customdata}<br>false positive rate %{x:.3f}<br>true positive rate %{y:.3f}<extra></extra>"
_HOVER_PR = "threshold %{customdata}<br>recall %{x:.3f}<br>precision %{y:.3f}<extra></extra>"


def _shown(thresholds: np.ndarray) -> list[str]:
    return [f"{t:.4f}" if np.isfinite(t) else "above all" for t in thresholds]


def _point(x: float, y: float, threshold: float | None, colour: str) -> go.Scatter:
    said = f"at the threshold {threshold:g}" if threshold is not None else "at the threshold"
    return go.Scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"size": 11, "color": colour, "line": {"width": 2, "color": "#ffffff"}, "symbol": "diamond"},
        name=said,
        showlegend=False,
        hovertemplate=f"{said}<br>%{{x:.3f}}, %{{y:.3f}}<extra></extra>",
    )
