"""What a model looks at: importances, and contributions of a sample of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from modules.explanation.report import FeatureImportance, FeatureSample
from modules.reporting.figures.comparison import bars
from modules.reporting.figures.theme import BASELINE, CANDIDATE, DIVERGING, GOOD, MUTED, figure, rows_height
from modules.reporting.formats import metric as spelled
from modules.reporting.formats import name as shown

MOST_FEATURES = 20
MOST_POINTS = 400
MOST_CATEGORIES = 12


def permutation(features: Sequence[FeatureImportance], metric: str) -> go.Figure:
    """How much worse the metric gets without each feature."""
    shuffled = [f for f in features if f.permutation[metric].mean or f.permutation[metric].deviation]
    ranked = sorted(shuffled, key=lambda f: -f.permutation[metric].mean)[:MOST_FEATURES]
    means, deviations = zip(
        *((f.permutation[metric].mean, f.permutation[metric].deviation) for f in ranked), strict=True
    )
    return bars([f.name for f in ranked], means, f"{spelled(metric)} lost by shuffling", CANDIDATE, deviations)


def gain(features: Sequence[FeatureImportance]) -> go.Figure:
    """Share of the trees' gain by feature."""
    ranked = sorted((f for f in features if f.gain_share), key=lambda f: -(f.gain_share or 0))
    ranked = ranked[:MOST_FEATURES]
    return bars([f.name for f in ranked], [f.gain_share or 0.0 for f in ranked], "share of the trees' gain", GOOD)


def mean_contribution(features: Sequence[FeatureImportance]) -> go.Figure:
    """Mean absolute contribution by feature."""
    ranked = sorted(
        (f for f in features if f.mean_absolute_contribution),
        key=lambda f: -(f.mean_absolute_contribution or 0),
    )[:MOST_FEATURES]
    values = [f.mean_absolute_contribution or 0.0 for f in ranked]
    return bars([f.name for f in ranked], values, "mean |contribution|, log-odds", BASELINE)


def beeswarm(samples: Sequence[FeatureSample]) -> go.Figure:
    """A dot per row and feature where its contribution lies, coloured by the value's rank (grey: a word or missing)."""
    contributing = [s for s in samples if any(s.contributions)]
    ranked = sorted(contributing, key=lambda s: -float(np.mean(np.abs(s.contributions))))[:MOST_FEATURES]
    x, y, colour, words_x, words_y = [], [], [], [], []
    for row, sample in enumerate(ranked):
        contributions = np.array(sample.contributions[:MOST_POINTS])
        spread = row + _spread(contributions)
        values = np.array([_number(v) for v in sample.values[:MOST_POINTS]])
        known = np.isfinite(values)
        ranks = np.full(len(values), np.nan)
        if known.any():
            distinct, inverse = np.unique(values[known], return_inverse=True)
            ranks[known] = inverse / max(len(distinct) - 1, 1)
        x += contributions[known].tolist()
        y += spread[known].tolist()
        colour += ranks[known].tolist()
        words_x += contributions[~known].tolist()
        words_y += spread[~known].tolist()
    labels = [shown(s.feature) for s in ranked]
    traces = [
        go.Scatter(
            x=np.round(words_x, 4),
            y=np.round(words_y, 3),
            mode="markers",
            marker={"size": 4, "color": MUTED, "opacity": 0.6},
            name="words and missing",
            hovertemplate="%{x:.3f} log-odds<extra></extra>",
            showlegend=False,
        ),
        go.Scatter(
            x=np.round(x, 4),
            y=np.round(y, 3),
            mode="markers",
            marker={
                "size": 4,
                "color": np.round(colour, 3),
                "colorscale": DIVERGING,
                "cmin": 0,
                "cmax": 1,
                "opacity": 0.75,
                "colorbar": {
                    "title": {"text": "value", "side": "top"},
                    "tickvals": [0, 1],
                    "ticktext": ["low", "high"],
                    "thickness": 10,
                    "len": 0.6,
                    "outlinewidth": 0,
                },
            },
            name="numbers",
            hovertemplate="%{x:.3f} log-odds<extra></extra>",
            showlegend=False,
        ),
    ]
    return figure(
        traces,
        "contribution, log-odds",
        "",
        height=rows_height(len(labels), each=28),
        xaxis={"zeroline": True},
        yaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": labels,
            "range": [len(labels) - 0.4, -0.6],
            "showgrid": False,
        },
    )


def dependence(sample: FeatureSample) -> go.Figure:
    """Contribution of one feature against its value; a box per word for words."""
    values, contributions = sample.values[:MOST_POINTS], sample.contributions[:MOST_POINTS]
    numbers = [_number(v) for v in values]
    if any(math.isfinite(v) for v in numbers):
        known = [i for i, v in enumerate(numbers) if math.isfinite(v)]
        trace: go.Scatter | go.Box = go.Scatter(
            x=[numbers[i] for i in known],
            y=[contributions[i] for i in known],
            mode="markers",
            marker={"size": 5, "color": CANDIDATE, "opacity": 0.55},
            hovertemplate="%{x:.4g}<br>%{y:.3f} log-odds<extra></extra>",
            showlegend=False,
        )
        return figure([trace], shown(sample.feature), "contribution, log-odds", height=280)
    words = ["(missing)" if v is None or v == "" else shown(v, 18) for v in values]
    frequent = sorted(set(words), key=lambda w: (-words.count(w), w))[:MOST_CATEGORIES]
    traces = [
        go.Box(
            y=[c for c, w in zip(contributions, words, strict=True) if w == word],
            name=word,
            marker={"color": CANDIDATE, "size": 3},
            line={"width": 1.2},
            showlegend=False,
        )
        for word in frequent
    ]
    return figure(traces, shown(sample.feature), "contribution, log-odds", height=280)


def _number(value: float | str | None) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _spread(values: np.ndarray) -> np.ndarray:
    """Vertical offsets within ±0.36 that keep equal values apart: dots of a narrow range alternate up and down."""
    if not len(values):
        return np.zeros(0)
    width = float(np.ptp(values)) / 60 or 1.0
    cells = np.floor((values - values.min()) / width).astype(int)
    order = np.argsort(cells, kind="stable")
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    place = np.arange(len(values)) - np.repeat(starts, counts)
    signed = np.where(place % 2 == 0, 1, -1) * ((place + 1) // 2)
    offsets = np.empty(len(values))
    offsets[order] = signed / max(int(counts.max()), 1) * 0.72
    return np.clip(offsets, -0.36, 0.36)
