"""Which columns the booster sees, and why not the others."""

from __future__ import annotations

from modules.lead_scoring.selection import Dropped, Reason, Selection
from modules.reporting.document import Paragraph, Plot, Section, Table
from modules.reporting.figures.comparison import bars
from modules.reporting.figures.theme import CANDIDATE
from modules.reporting.formats import short
from pipeline.report.sections.common import missing
from pipeline.report.source import Absent, RunSource

WHY: dict[Reason, str] = {
    "constant": "the same value in all rows",
    "missing": "missing nearly everywhere",
    "duplicate": "says the same as another column",
    "shadows": "no better than random shadows",
    "top_k": "others are stronger",
    "base_model": "the model that was continued does not know it",
}
MOST_RANKED = 30


def selection(source: RunSource) -> Section:
    """Kept and dropped columns, and the ranking against the shadows."""
    title, found = "Selected features", source.selection
    if isinstance(found, Absent):
        return Section("selection", title, missing(found))
    columns = f"{len(found.kept):,} columns are kept, {len(found.dropped):,} dropped"
    features = found.dropped_features
    gone = f"; gone altogether: {', '.join(features)}" if features else ""
    blocks = [Paragraph(f"{columns}{gone}. A request may still carry what was dropped; it is not read.")]
    return Section("selection", title, [*blocks, *_ranking(found), _dropped(found)])


def _ranking(found: Selection):
    if not found.ranking:
        return missing(None, "no ranking against shadows: only useless columns were dropped")
    ranked = found.ranking[:MOST_RANKED]
    return [
        Plot(
            "selection-ranking",
            bars([r.name if r.kept else f"{r.name} (dropped)" for r in ranked], [r.score for r in ranked],
                 "log loss lost without it, nats per lead", CANDIDATE),
            f"Ranking over {found.rounds} rounds on {found.rows:,} rows; a feature stays with {found.needed} wins "
            f"over the best random shadow, whose mean score is {short(found.threshold)}.",
        ),
        Table(
            ("feature", "columns", "score", "wins", "kept"),
            tuple(
                (r.name, str(len(r.columns)), short(r.score), f"{r.hits} of {found.rounds}", "yes" if r.kept else "no")
                for r in found.ranking
            ),
            "All ranked features, strongest first.",
            (1, 2, 3),
            folded=True,
        ),
    ]  # fmt: skip


def _dropped(found: Selection):
    if not found.dropped:
        return Paragraph("No column was dropped.")
    return Table(
        ("column", "feature", "why", "figures"),
        tuple((d.name, d.source, WHY[d.reason], _figures(d)) for d in found.dropped),
        "Dropped columns.",
        folded=len(found.dropped) > 12,
    )


def _figures(dropped: Dropped) -> str:
    parts = [f"{name} {short(value)}" for name, value in dropped.figures.items()]
    if dropped.like:
        parts.append(f"like {dropped.like}")
    return ", ".join(parts)
