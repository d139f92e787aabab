"""Figures of a next-action model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from modules.off_policy.report import ActionShare
from modules.reporting.actions import ActionConfusion
from modules.reporting.figures.theme import BASELINE, CANDIDATE, MUTED, SEQUENTIAL, figure, rows_height
from modules.reporting.formats import name as shown
from modules.reporting.score_bins import CalibrationPoint

MOST_ACTIONS = 20


def confusion(found: ActionConfusion) -> go.Figure:
    """Heat map: of the decisions in which an action was taken (row), the share predicted as each (column)."""
    labels = [shown(a, 24) for a in found.actions[:MOST_ACTIONS]]
    shares = found.shares()[:MOST_ACTIONS, :MOST_ACTIONS]
    counts = found.counts[:MOST_ACTIONS, :MOST_ACTIONS]
    size = list(range(len(labels)))
    trace = go.Heatmap(
        z=np.round(shares, 4),
        x=size,
        y=size,
        customdata=[[[r, labels[j], n] for j, n in enumerate(row)] for r, row in zip(labels, counts, strict=True)],
        colorscale=SEQUENTIAL,
        zmin=0,
        zmax=1,
        text=[[f"{100 * s:.0f}" if s >= 0.005 else "" for s in row] for row in shares],
        texttemplate="%{text}" if len(labels) <= 14 else None,
        hovertemplate="taken %{customdata[0]}<br>predicted %{customdata[1]}<br>"
        "%{z:.1%}, %{customdata[2]:,.0f} decisions<extra></extra>",
        colorbar={"tickformat": ".0%", "thickness": 10, "outlinewidth": 0},
        showlegend=False,
    )  # fmt: skip
    return figure(
        [trace],
        "predicted",
        "taken",
        height=max(300, 130 + 26 * len(labels)),
        xaxis={"tickvals": size, "ticktext": labels, "showgrid": False, "tickangle": -40},
        yaxis={"tickvals": size, "ticktext": labels, "autorange": "reversed", "showgrid": False},
    )


def reliability(points: Sequence[CalibrationPoint]) -> go.Figure:
    """Share of decisions in which the likeliest action was taken, against its probability, with intervals."""
    observed = [p.observed for p in points]
    largest = max((p.examples for p in points), default=1.0)
    trace = go.Scatter(
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
        mode="lines+markers",
        line={"color": CANDIDATE, "width": 1.5},
        marker={"size": [6 + 10 * (p.examples / largest) ** 0.5 for p in points], "opacity": 0.85},
        customdata=[p.examples for p in points],
        hovertemplate="probability %{x:.3f}<br>taken in %{y:.1%}<br>%{customdata:,.0f} decisions<extra></extra>",
        showlegend=False,
    )
    perfect = go.Scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "dash": "dash", "width": 1}, showlegend=False,
        hoverinfo="skip",
    )  # fmt: skip
    return figure(
        [perfect, trace], "probability of the likeliest action", "share in which it was taken",
        xaxis={"range": [0, 1]}, yaxis={"range": [0, 1]},
    )  # fmt: skip


def policy_shares(actions: Sequence[ActionShare]) -> go.Figure:
    """How often each action was taken, and how often the policy would take it."""
    chosen = list(actions)[:MOST_ACTIONS]
    labels = [shown(a.action, 24) for a in chosen]
    size = list(range(len(labels)))
    traces = [
        go.Bar(
            x=[getattr(a, field) for a in chosen],
            y=size,
            orientation="h",
            name=title,
            marker={"color": colour},
            customdata=labels,
            hovertemplate="%{customdata}<br>%{x:.1%}<extra>" + title + "</extra>",
        )
        for field, title, colour in (("taken", "taken", BASELINE), ("recommended", "recommended", CANDIDATE))
    ]
    return figure(
        traces,
        "share of decisions",
        "",
        height=rows_height(len(labels), each=34),
        xaxis={"tickformat": ".0%"},
        yaxis={"tickvals": size, "ticktext": labels, "range": [len(labels) - 0.4, -0.6], "showgrid": False},
        bargap=0.25,
    )
