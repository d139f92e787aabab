"""Small drawings inside tables, as paths of an SVG of 160 x 34."""

from __future__ import annotations

from dataclasses import dataclass

from modules.reporting.document import Bars

WIDTH, HEIGHT, BASE = 160.0, 34.0, 33.0


@dataclass(frozen=True)
class Shape:
    """A path, the number of its style, and what it says when pointed at."""

    path: str
    series: int
    title: str


def sparkline(bars: Bars) -> list[Shape]:
    """Words as pairs of bars; bins of numbers as an area (first part) and a line (second part)."""
    parts = list(bars.series.items())[:2]
    most = max((max(shares, default=0.0) for _, shares in parts), default=0.0) or 1.0
    words = bars.caption.startswith("most frequent")
    if not words:
        return [Shape(_steps(shares, most, closed=i == 0), i, f"{name} part") for i, (name, shares) in enumerate(parts)]
    found = []
    slot = WIDTH / max(len(bars.labels), 1)
    for i, (name, shares) in enumerate(parts):
        for j, (label, share) in enumerate(zip(bars.labels, shares, strict=True)):
            x, height = j * slot + (0.1 + 0.4 * i) * slot, share / most * (BASE - 1)
            path = f"M{x:.1f} {BASE}v{-height:.1f}h{0.38 * slot:.1f}v{height:.1f}z"
            found.append(Shape(path, 2 + i, f"{label}: {100 * share:.1f} % of the {name} part"))
    return found


def _steps(shares: tuple[float, ...], most: float, closed: bool) -> str:
    width = WIDTH / max(len(shares), 1)
    path = f"M0 {BASE}" if closed else f"M0 {BASE - shares[0] / most * (BASE - 1):.1f}" if shares else ""
    for i, share in enumerate(shares):
        path += f"V{BASE - share / most * (BASE - 1):.1f}H{(i + 1) * width:.1f}"
    return path + (f"V{BASE}z" if closed else "")
