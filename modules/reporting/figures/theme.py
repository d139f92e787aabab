"""What all figures share. Backgrounds are transparent and texts without colour, so that the page's script can give
them the colours of its light or dark scheme."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

CANDIDATE = "#3b76d6"
BASELINE = "#d9822b"
GOOD = "#2a9d63"
BAD = "#d1495b"
MUTED = "#8a93a0"
COLOURS = (CANDIDATE, BASELINE, GOOD, "#9b5de5", BAD, "#14a3b8", "#b8860b", MUTED)
"""Readable on white and on near-black (contrast of at least 3 to 1 with both)."""
SEQUENTIAL = [[0.0, "rgba(59,118,214,0.06)"], [1.0, "rgba(59,118,214,1)"]]
DIVERGING = [[0.0, CANDIDATE], [0.5, MUTED], [1.0, BAD]]

HEIGHT = 340


def figure(traces: list[Any], x: str, y: str, *, height: int = HEIGHT, **layout: Any) -> go.Figure:
    """A figure with the shared layout.

    Args:
      traces: plotly traces.
      x, y: titles of the axes.
      height: pixels.
      layout: laid over the shared layout.
    """
    base: dict[str, Any] = {
        "template": go.layout.Template(),
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 14, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "showlegend": sum(trace.showlegend is not False for trace in traces) > 1,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "font": {"size": 12}},
        "xaxis": {"title": {"text": x, "standoff": 8}, "zeroline": False, "automargin": True},
        "yaxis": {"title": {"text": y, "standoff": 8}, "zeroline": False, "automargin": True},
        "colorway": list(COLOURS),
    }
    if base["showlegend"]:
        base["margin"]["t"] = 40
    for key, value in layout.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return go.Figure(data=traces, layout=base)


def line(x: Any, y: Any, label: str, colour: str, **more: Any) -> go.Scatter:
    """A line."""
    style = {"color": colour, "width": 2, **more.pop("line", {})}
    return go.Scatter(x=x, y=y, name=label, mode=more.pop("mode", "lines"), line=style, **more)


def rule(x: Any, y: Any, label: str) -> go.Scatter:
    """A dashed line of reference, without a place in the legend."""
    return go.Scatter(
        x=x, y=y, name=label, mode="lines", line={"color": MUTED, "width": 1, "dash": "dash"},
        showlegend=False, hoverinfo="skip",
    )  # fmt: skip


def rows_height(rows: int, least: int = 160, each: int = 24) -> int:
    """Height of a figure with a row per name, pixels."""
    return max(least, 90 + each * rows)
