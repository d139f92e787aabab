"""Loss curves, with the step in use."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from modules.convergence import IN_WORDS, Training
from modules.reporting.figures.theme import BASELINE, CANDIDATE, MUTED, figure, line

MOST_POINTS = 600


def metrics_of(training: Training) -> list[str]:
    """Names of the metrics that have a curve, the loss and what decided the step first."""
    found = dict.fromkeys((training.loss, training.watched))
    for curves in training.curves.values():
        found |= dict.fromkeys(curves)
    return [name for name in found if any(name in curves for curves in training.curves.values())]


def loss_curve(training: Training, metric: str) -> go.Figure:
    """One metric of training and validation part by round or epoch."""
    traces, lows, highs = [], [], []
    for split, colour in (("train", CANDIDATE), ("validation", BASELINE)):
        values = training.values(split, metric)
        if not np.isfinite(values).any():
            continue
        steps = np.arange(len(values))
        if len(values) > MOST_POINTS:
            steps = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(int))
        traces.append(
            line(
                steps + training.first,
                values[steps],
                split,
                colour,
                mode="lines+markers" if len(values) < 30 else "lines",
                hovertemplate=f"{training.unit} %{{x}}<br>%{{y:.4f}}<extra>{split}</extra>",
            )
        )
        lows.append(float(np.nanmin(values)))
        highs.append(float(np.nanmax(values)))
    used = training.number(training.used)
    if traces:
        traces.append(
            go.Scatter(
                x=[used, used],
                y=[min(lows), max(highs)],
                mode="lines",
                line={"color": MUTED, "dash": "dot", "width": 1.5},
                name=f"{training.unit} in use: {used:,}",
                hoverinfo="name",
            )
        )
    return figure(traces, training.unit, IN_WORDS.get(metric, metric.replace("_", " ")), height=300)
