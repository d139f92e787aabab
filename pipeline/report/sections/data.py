"""What went in: ingest, statistics of both parts side by side, what the gate found, what was clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from modules.drift import Distance
from modules.journeys import names
from modules.reporting.document import Bars, Block, Cell, Heading, Items, Missing, Paragraph, Section, Table, Tone
from modules.reporting.feature_statistics import DescribedColumn, FeatureSummary, summarize
from modules.reporting.formats import NOTHING, count, percent, short
from pipeline.report.sections.common import missing
from pipeline.report.source import EVALUATED, TRAINED, Absent, RunSource, attempt

MOST_REASONS = 12
DERIVED = ("cross", "ratio")
"""Kinds of features that are made of others and so have no statistics."""


def data(source: RunSource) -> Section:
    """Ingest report, statistics, anomalies and drift."""
    return Section("data", "Data", [*_ingest(source), *_gate(source), *_statistics(source), *_outliers(source)])


def _ingest(source: RunSource) -> list[Block]:
    report = source.ingest
    if isinstance(report, Absent):
        return missing(report)
    blocks: list[Block] = []
    if source.recommends:
        rows = [(name, count(s.rows), count(s.journeys), count(s.converted)) for name, s in report.splits.items()]
        caption = "Parts of the data; journeys whose outcome is not known yet do not count as converted."
        blocks.append(Table(("part", "decisions", "journeys", "converted"), tuple(rows), caption, (1, 2, 3)))
        notes = {
            "journeys too young for an outcome": report.immature,
            "events of unknown leads": report.events_without_lead,
            "leads without events": report.leads_without_events,
            "duplicate leads": report.duplicate_leads,
            "decisions with too short a history": report.left_out,
        }
    else:
        rows = [
            (name, count(s.rows), count(s.positives), percent(s.positives / s.rows if s.rows else math.nan))
            for name, s in report.splits.items()
        ]
        blocks.append(Table(("part", "leads", "converted", "rate"), tuple(rows), "Parts of the data.", (1, 2, 3)))
        notes = {
            "too young for a label": report.immature,
            "in the gap before the test part": report.gap,
            "with the id of an earlier row": report.duplicate_ids,
        }
    lines = [f"{count(report.rows)} records read from {len(report.files)} file(s)"]
    if report.as_of:
        lines.append(f"as of {report.as_of}")
    lines += [
        f"{name} {value}" if " " in name else f"the {name} part begins at {value}"
        for name, value in report.thresholds.items()
    ]
    lines += [f"{count(value)} {what}" for what, value in notes.items() if value]
    lines += [f"{count(n)} quarantined: {why}" for why, n in list(report.quarantined.items())[:MOST_REASONS]]
    if report.ignored_columns:
        lines.append(f"columns that the feature table does not know: {', '.join(report.ignored_columns[:20])}")
    left_out = [f"{c.get('column')} ({c.get('reason')})" for c in source.dataset.get("leave_out", ())]
    if left_out:
        lines.append(f"left out on purpose: {'; '.join(left_out)}")
    personal = [f"{c.get('column')} ({c.get('action')})" for c in source.dataset.get("personal_data", ())]
    if personal:
        lines.append(f"personal data, never in an artifact in the clear: {', '.join(personal)}")
    return [*blocks, Items(tuple(lines))]


def _gate(source: RunSource) -> list[Block]:
    gate = source.gate
    blocks: list[Block] = [Heading("Anomalies and drift")]
    if isinstance(gate, Absent):
        return [*blocks, *missing(gate)]
    if gate["stops"] or gate["warnings"]:
        blocks.append(Items((*gate["stops"], *gate["warnings"])))
    else:
        blocks.append(Paragraph("The gate opened: no anomaly against the schema.", "good"))
    drift = {d["column"]: Distance(**d) for d in gate["drift"]}
    skew = {d["column"]: Distance(**d) for d in gate["skew"]}
    if not drift:
        blocks.append(Missing("no drift figures: there is no earlier accepted run to compare with"))
    rows = []
    for name in dict.fromkeys([*drift, *skew]):
        d, s = drift.get(name), skew.get(name)
        one = d or s
        assert one is not None
        limit = NOTHING if d is None or d.threshold is None else f"{d.threshold:.2f}"
        cells: list[Any] = [name, one.measure]
        if drift:
            tone: Tone = "bad" if d is not None and d.drifted else "plain"
            cells += [Cell(NOTHING if d is None else f"{d.value:.3f}", "" if d is None else d.reason, tone), limit]
        cells += [Cell(NOTHING if s is None else f"{s.value:.3f}", "" if s is None else s.reason)]
        rows.append((max(x.value for x in (d, s) if x is not None), tuple(cells)))
    rows.sort(key=lambda row: -row[0])
    heading = ("feature", "measure") + (("drift", "limit") if drift else ()) + ("train to test",)
    if rows:
        against = f" Drift is against {gate['against']}." if gate.get("against") else ""
        caption = (
            f"How far each feature has moved, 0 (same) to 1 (disjoint), largest first.{against} The distance from the "
            "training to the test part is for information."
        )
        numeric = tuple(range(2, len(heading)))
        blocks.append(Table(heading, tuple(cells for _, cells in rows), caption, numeric, folded=True))
    return blocks


def _statistics(source: RunSource) -> list[Block]:
    blocks: list[Block] = [Heading("Features in the training and the test part")]
    statistics = source.statistics
    if isinstance(statistics, Absent):
        return [*blocks, *missing(statistics)]
    known = attempt(lambda: _columns(source.dataset), "the feature table")
    if isinstance(known, Absent):
        return [*blocks, *missing(known)]
    parts = {name: statistics[name] for name in (TRAINED, EVALUATED) if name in statistics}
    summaries = summarize(parts, known)
    rows = tuple(_row(summary) for summary in summaries)
    caption = (
        "Left (blue) is the training part, right (orange) the test part. Of words only the most frequent values are "
        "shown, if enough rows share them; of free text nothing but its length."
    )
    return [
        *blocks,
        Table(("feature", "kind", "missing", "typical value", "spread", "distribution"), rows, caption, (2,)),
    ]


def _columns(dataset: Mapping[str, Any]) -> list[DescribedColumn]:
    """What a dataset file, as the run had it, says of the columns: features, label, history; no ids and no times.

    Not through the dataset's own model: a report is also written about runs of older versions.
    """
    found = [
        DescribedColumn(f["name"], f["kind"], f.get("description", ""))
        for f in dataset.get("features", ())
        if f["kind"] not in DERIVED
    ]
    events = dataset.get("events")
    if events is None:
        return [*found, DescribedColumn((dataset.get("label") or {}).get("column", ""), "label")]
    found += [DescribedColumn(names.HISTORY_ACTION, "history", "actions before, oldest first", True)]
    found += [
        DescribedColumn(names.history(f["name"]), "history", f.get("description", ""), True)
        for f in events.get("features", ())
    ]
    return [
        *found,
        DescribedColumn(names.HISTORY_LENGTH, "history", "events before, all of them"),
        DescribedColumn(names.NEXT_ACTION, "label", "the action that was taken"),
        DescribedColumn(names.OUTCOME, "outcome", "1 converted; missing: not known yet"),
        DescribedColumn(names.STAGE, "for slices", "events before, in words"),
        DescribedColumn(names.PROPENSITY, "for policies", "probability with which the action was chosen, as logged"),
    ]


def _row(summary: FeatureSummary) -> tuple[Any, ...]:
    parts = list(summary.parts.values())
    number = any(math.isfinite(p.mean) for p in parts)
    pair = lambda values: " / ".join(values)  # noqa: E731
    if number:
        typical = pair([short(p.mean) for p in parts])
        spread = pair([short(p.deviation) for p in parts])
        ends = f"from {short(min(p.least for p in parts))} to {short(max(p.most for p in parts))}"
        note = f"median {pair([short(p.median) for p in parts])}; {ends}"
        typical_cell, spread_cell = Cell(typical, "mean"), Cell(spread, f"deviation; {note}")
    elif summary.kind == "text" or not summary.labels:
        typical_cell = Cell(pair([f"{short(p.length)}" for p in parts]), "mean length, characters")
        spread_cell = Cell(pair([count(p.distinct) for p in parts]), "different values")
    else:
        first = summary.shares[TRAINED] if summary.shares and TRAINED in summary.shares else ()
        others = ", ".join(f"{w} {percent(s, 0)}" for w, s in zip(summary.labels[1:4], first[1:4], strict=False))
        typical_cell = Cell(f"{summary.labels[0]} {percent(first[0], 0)}" if first else summary.labels[0], others)
        spread_cell = Cell(pair([count(p.distinct) for p in parts]), "different values")
    missing_cell = Cell(pair([percent(p.missing) for p in parts]))
    bars = None
    if summary.shares:
        labels = summary.labels or tuple(
            f"{short(a)} to {short(b)}" for a, b in zip(summary.edges, summary.edges[1:], strict=False)
        )
        what = "most frequent values" if summary.labels else "histogram"
        bars = Bars(summary.shares, labels, f"{what} of {summary.name} in the training and the test part")
    return (
        Cell(summary.name, summary.description),
        summary.kind or "–",
        missing_cell,
        typical_cell,
        spread_cell,
        Cell(NOTHING) if bars is None else Cell(bars=bars),
    )


def _outliers(source: RunSource) -> list[Block]:
    blocks: list[Block] = [Heading("Outliers")]
    if source.recommends:
        return []
    report = source.outliers
    if isinstance(report, Absent):
        return [*blocks, *missing(report)]
    splits = list(report.rows)
    rows = tuple(
        (
            feature.name,
            *(
                Cell(
                    percent(report.shares(feature).get(split), 2), f"{count(feature.clipped.get(split))} of {count(n)}"
                )
                for split, n in report.rows.items()
            ),
        )
        for feature in report.features
    )
    caption = (
        "Values beyond the training quantiles of `clip`, which were set to them. A share that differs between the "
        "parts says that the tails do."
    )
    return [*blocks, Table(("feature", *splits), rows, caption, tuple(range(1, len(splits) + 1)))]
