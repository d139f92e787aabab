"""Trials of a search: their history, and what their settings were."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from modules.reporting.figures.theme import BAD, CANDIDATE, GOOD, MUTED, figure, line
from modules.reporting.formats import metric, short
from modules.reporting.formats import name as shown
from modules.tuning.report import TrialReport, TuningReport


def history(report: TuningReport) -> go.Figure:
    """Score of each trial, and the best one so far."""
    traces = []
    for state, colour, symbol in (("complete", CANDIDATE, "circle"), ("pruned", MUTED, "x")):
        trials = [t for t in report.trials if t.state == state and t.score is not None]
        if trials:
            traces.append(
                go.Scatter(
                    x=[t.number for t in trials],
                    y=[t.score for t in trials],
                    mode="markers",
                    marker={"color": colour, "size": 8, "symbol": symbol},
                    name=state,
                    customdata=[_settings(t) for t in trials],
                    hovertemplate="trial %{x}: %{y:.5f}<br>%{customdata}<extra></extra>",
                )
            )
    best = report.best_so_far()
    traces.append(line([t.number for t in report.trials], best, "best so far", GOOD, line={"shape": "hv"}))
    return figure(traces, "trial", metric(report.objective), height=300)


def parallel(report: TuningReport) -> go.Figure:
    """A line per trial over one axis per setting and the score; the better, the stronger; the best one in colour."""
    trials = [t for t in report.trials if t.score is not None]
    names = [n for n in report.space if any(n in t.parameters for t in trials)]
    axes = [_axis([t.parameters.get(n) for t in trials], _is_log(report.space[n])) for n in names]
    scores = _axis([t.score for t in trials], False)
    better = [p if report.direction == "maximize" else 1 - p for p in scores.positions]
    traces = []
    for i in sorted(range(len(trials)), key=lambda i: better[i]):
        best = trials[i].number == report.best
        traces.append(
            go.Scatter(
                x=list(range(len(names) + 1)),
                y=[*(axis.positions[i] for axis in axes), scores.positions[i]],
                mode="lines",
                line={"color": BAD if best else CANDIDATE, "width": 3 if best else 1.4},
                opacity=1.0 if best else 0.15 + 0.5 * (better[i] if math.isfinite(better[i]) else 0.0),
                name=f"trial {trials[i].number}",
                text=f"trial {trials[i].number}: {trials[i].score:.5f}<br>{_settings(trials[i])}",
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
            )
        )
    annotations = []
    for x, axis in enumerate([*axes, scores]):
        for position, text in axis.ticks:
            annotations.append(
                {"x": x, "y": position, "text": shown(text, 14), "showarrow": False, "xanchor": "left", "xshift": 3,
                 "font": {"size": 10}}
            )  # fmt: skip
    shapes = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": {"color": MUTED, "width": 1}}
        for x in range(len(names) + 1)
    ]
    labels = [shown(n.rsplit(".", 1)[-1], 22) for n in names] + [metric(report.objective)]
    return figure(
        traces,
        "",
        "",
        height=360,
        xaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": labels,
            "showgrid": False,
            "range": [-0.1, len(names) + 0.45],
        },
        yaxis={"visible": False, "range": [-0.04, 1.04]},
        annotations=annotations,
        shapes=shapes,
    )


class _Axis:
    """Positions 0-1 of the values of an axis, and its ticks."""

    def __init__(self, positions: list[float], ticks: list[tuple[float, str]]) -> None:
        self.positions, self.ticks = positions, ticks


def _axis(values: list[Any], log: bool) -> _Axis:
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None):
        numbers = np.array([math.nan if v is None else float(v) for v in values])
        scale = np.log if log and np.nanmin(numbers) > 0 else np.asarray
        low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
        if high == low:
            return _Axis([0.5 if math.isfinite(n) else math.nan for n in numbers], [(0.5, short(low))])
        a, b = float(scale(low)), float(scale(high))
        return _Axis(((scale(numbers) - a) / (b - a)).tolist(), [(0.0, short(low)), (1.0, short(high))])
    words = sorted({str(v) for v in values})
    at = {w: i / max(len(words) - 1, 1) for i, w in enumerate(words)}
    return _Axis([at[str(v)] for v in values], [(p, w) for w, p in at.items()])


def _is_log(parameter: Any) -> bool:
    return bool(getattr(parameter, "log", False))


def _settings(trial: TrialReport) -> str:
    return "<br>".join(
        f"{shown(k)} = {shown(short(v) if isinstance(v, float) else v)}" for k, v in trial.parameters.items()
    )
