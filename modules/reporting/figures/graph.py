"""A directed graph without cycles, drawn in layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from modules.reporting.figures.theme import CANDIDATE, MUTED, figure
from modules.reporting.formats import name as shown


@dataclass(frozen=True)
class Node:
    """A node; `parents` are ids of nodes it depends on, all of which come before it."""

    id: int
    label: str
    note: str
    parents: tuple[int, ...]


def layers(nodes: Sequence[Node]) -> dict[int, int]:
    """Layer of each node: one more than the highest of its parents, 0 without any."""
    found: dict[int, int] = {}
    for node in nodes:
        found[node.id] = 1 + max((found[p] for p in node.parents if p in found), default=-1)
    return found


def reduced(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """Edges (parent, child) without those that a longer way implies."""
    behind: dict[int, set[int]] = {}
    edges = []
    for node in nodes:
        further = set().union(*(behind.get(p, set()) for p in node.parents))
        edges += [(p, node.id) for p in node.parents if p not in further and p in behind]
        behind[node.id] = further | set(node.parents)
    return edges


def graph(nodes: Sequence[Node]) -> go.Figure:
    """Nodes by layer from left to right, with the edges that no longer way implies."""
    layer = layers(nodes)
    columns: dict[int, list[int]] = {}
    place: dict[int, tuple[float, float]] = {}
    for node in nodes:
        columns.setdefault(layer[node.id], []).append(node.id)
    for x, ids in columns.items():
        for i, node_id in enumerate(ids):
            # Every other layer a little lower, so that labels of neighbours do not meet.
            place[node_id] = (x, i - (len(ids) - 1) / 2 + (0.22 if x % 2 else -0.22))
    xs: list[float | None] = []
    ys: list[float | None] = []
    for parent, child in reduced(nodes):
        (x0, y0), (x1, y1) = place[parent], place[child]
        xs += [x0, x1, None]
        ys += [y0, y1, None]
    traces = [
        go.Scatter(x=xs, y=ys, mode="lines", line={"color": MUTED, "width": 1.2}, hoverinfo="skip", showlegend=False),
        go.Scatter(
            x=[place[n.id][0] for n in nodes],
            y=[place[n.id][1] for n in nodes],
            mode="markers+text",
            marker={"size": 13, "color": CANDIDATE},
            text=[shown(n.label, 24) for n in nodes],
            textposition="bottom center",
            textfont={"size": 11},
            customdata=[shown(n.note, 120) for n in nodes],
            hovertemplate="%{text}<br>%{customdata}<extra></extra>",
            showlegend=False,
            cliponaxis=False,
        ),
    ]
    tallest = max((len(ids) for ids in columns.values()), default=1)
    hidden = {"visible": False}
    return figure(
        traces,
        "",
        "",
        height=120 + 90 * tallest,
        xaxis={**hidden, "range": [-0.6, max(layer.values(), default=0) + 0.6]},
        yaxis={**hidden, "range": [tallest / 2 + 0.3, -tallest / 2 - 0.1]},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
    )
