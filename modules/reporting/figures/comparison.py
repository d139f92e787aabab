"""Figures with a name per row and figures with intervals along it: slices, fairness, folds, policy values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from modules.reporting.figures.theme import MUTED, figure, rows_height
from modules.reporting.formats import name as shown
from modules.reporting.intervals import Interval


def dots(
    names: Sequence[str],
    series: Mapping[str, tuple[str, Sequence[Interval]]],
    x: str,
    *,
    reference: float | None = None,
    tickformat: str = "",
) -> go.Figure:
    """A dot with its interval per name and series, first name on top.

    Args:
      names: of the rows.
      series: name -> colour and one interval per row.
      x: title of the axis.
      reference: where to draw a vertical line.
      tickformat: of the axis, e.g. ".0%".
    """
    labels = _unique([shown(n) for n in names])
    positions = list(range(len(labels)))
    count = len(series)
    traces = []
    for i, (title, (colour, values)) in enumerate(series.items()):
        shift = (i - (count - 1) / 2) * 0.24
        known = [v.known for v in values]
        traces.append(
            go.Scatter(
                x=[v.value for v in values],
                y=[p + shift for p in positions],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [v.high - v.value if k else 0 for v, k in zip(values, known, strict=True)],
                    "arrayminus": [v.value - v.low if k else 0 for v, k in zip(values, known, strict=True)],
                    "thickness": 1.5,
                    "width": 0,
                    "color": colour,
                },
                mode="markers",
                marker={"size": 8, "color": colour},
                name=shown(title),
                customdata=labels,
                hovertemplate="%{customdata}<br>%{x:.4f}<extra>" + shown(title) + "</extra>",
            )
        )
    shapes = []
    if reference is not None:
        shapes.append(
            {"type": "line", "x0": reference, "x1": reference, "y0": 0, "y1": 1, "yref": "paper",
             "line": {"color": MUTED, "width": 1, "dash": "dash"}}
        )  # fmt: skip
    axis = {"tickformat": tickformat} if tickformat else {}
    return figure(
        traces,
        x,
        "",
        height=rows_height(len(labels), each=24 + 8 * (count - 1)),
        xaxis=axis,
        yaxis={
            "tickvals": positions,
            "ticktext": labels,
            "range": [len(labels) - 0.4, -0.6],
            "showgrid": False,
        },
        shapes=shapes,
    )


def bars(names: Sequence[str], values: Sequence[float], x: str, colour: str, errors: Sequence[float] | None = None):
    """A horizontal bar per name, first name on top."""
    labels = _unique([shown(n) for n in names])
    more = (
        {"error_x": {"type": "data", "array": list(errors), "thickness": 1.2, "width": 3, "color": MUTED}}
        if errors
        else {}
    )
    trace = go.Bar(
        x=list(values),
        y=list(range(len(labels))),
        orientation="h",
        marker={"color": colour},
        customdata=labels,
        hovertemplate="%{customdata}<br>%{x:.4g}<extra></extra>",
        **more,
    )
    return figure(
        [trace],
        x,
        "",
        height=rows_height(len(labels), each=21),
        yaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": labels,
            "range": [len(labels) - 0.4, -0.6],
            "showgrid": False,
        },
        bargap=0.25,
    )


def _unique(labels: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    found = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        found.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return found
