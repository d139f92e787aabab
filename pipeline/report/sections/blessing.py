"""Whether the model was blessed, and why; what the infrastructure check measured."""

from __future__ import annotations

import math

from modules.evaluation.families import LOWER_IS_BETTER
from modules.evaluation.verdict import Verdict
from modules.reporting.document import Block, Heading, Items, Paragraph, Section, Table
from modules.reporting.formats import metric
from pipeline.report.sections.common import missing
from pipeline.report.sections.summary import outcome
from pipeline.report.source import Absent, RunSource


def blessing(source: RunSource) -> Section:
    """The verdict with its thresholds, and the latency of the served candidate."""
    word, tone, why = outcome(source)
    blocks: list[Block] = [Paragraph(f"{word[0].upper()}{word[1:]}: {why}.", tone)]
    verdict = source.verdict
    if not isinstance(verdict, Absent):
        if not verdict.blessed or verdict.unjudged:
            blocks.append(Items(tuple(verdict.describe())))
        blocks += _thresholds(source, verdict)
    blocks += _bounds(source)
    blocks += [Heading("Infrastructure check"), *_infra(source)]
    return Section("blessing", "Blessing", blocks)


def _thresholds(source: RunSource, verdict: Verdict) -> list[Block]:
    evaluation = source.option("evaluation", {})
    missed = {(f.metric, f.kind, bool(f.key)) for f in verdict.failures}
    rows = []
    for where, bounds in (("overall", evaluation), ("each slice", evaluation.get("per_slice", {}) or {})):
        sliced = where != "overall"
        for kind in ("min", "max", "change"):
            for name, bound in (bounds.get(kind) or {}).items():
                held = "missed" if (name, kind, sliced) in missed else "holds"
                value = "" if sliced else _reached(verdict, name, kind)
                if kind == "change" and verdict.baseline is None:
                    held, value = "not asked: there is no baseline", ""
                rows.append((metric(name), where, _asked(kind, bound), value, held))
    if source.recommends and source.option("evaluation.baseline_margin") is not None:
        name = "accuracy_over_baseline"
        held = "missed" if (name, "min", False) in missed else "holds"
        bound = source.option("evaluation.baseline_margin")
        value = f"{verdict.candidate.get(name, float('nan')):.4f}"
        rows.append((metric(name), "overall", f"at least {bound:g}", value, held))
    if not rows:
        return [Paragraph("No thresholds are configured (`evaluation.min`, `max`, `change`).")]
    return [
        Table(("metric", "where", "asked", "value", "result"), tuple(rows), "The thresholds of the Evaluator.", (3,)),
    ]


def _asked(kind: str, bound: float) -> str:
    if kind == "change":
        return f"loses at most {-bound:g} to the baseline" if bound < 0 else f"improves on the baseline by {bound:g}"
    return f"at {'least' if kind == 'min' else 'most'} {bound:g}"


def _reached(verdict: Verdict, name: str, kind: str) -> str:
    value = verdict.candidate.get(name, math.nan)
    if kind != "change" or verdict.baseline is None:
        return f"{value:.4f}"
    change = value - verdict.baseline.get(name, math.nan)
    return f"{-change if name in LOWER_IS_BETTER else change:+.4f}"


def _bounds(source: RunSource) -> list[Block]:
    found = source.bounds
    if found is None:
        return []
    if isinstance(found, Absent):
        return missing(found)
    missed = {(m.metric, m.kind) for m in found.missed}
    ends = (("min", "lower end at least", found.min), ("max", "upper end at most", found.max))
    rows = tuple(
        (metric(name), f"{words} {bound:g}", "missed" if (name, kind) in missed else "holds")
        for kind, words, bounds in ends
        for name, bound in bounds.items()
    )
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(("metric", "asked", "result"), rows, "Bounds on the intervals of cross-validation."))
    if found.missed:
        blocks.append(Items(tuple(m.describe() for m in found.missed)))
    return blocks


def _infra(source: RunSource) -> list[Block]:
    report = source.infra
    if isinstance(report, Absent):
        return missing(report)
    if report.get("failed"):
        lines = tuple(f"{name}: {fault}" for name, fault in report["failed"].items())
        return [Paragraph("The candidate does not serve.", "bad"), Items(lines)]
    rows = [
        (name, *(f"{found.get(q, float('nan')):.2f}" for q in ("p50", "p99", "max")))
        for name, found in report.get("latency_ms", {}).items()
    ]
    budget = source.option("infra.session.p99_ms")
    said = f" The budget for p99 of `serving_default` is {budget:g} ms." if isinstance(budget, int | float) else ""
    blocks: list[Block] = [
        Paragraph(
            f"{len(report.get('passed', ()))} checks passed: the candidate was loaded in a fresh process and asked."
        ),
        Table(("signature", "p50, ms", "p99, ms", "slowest, ms"), tuple(rows), f"Latency of one row.{said}", (1, 2, 3)),
    ]
    server = report.get("server")
    if server:
        blocks.append(
            Paragraph(
                f"Through the model server, over sockets: {server.get('answered', 0)} requests answered, p50 "
                f"{server.get('p50_ms', float('nan')):.2f} ms, p99 {server.get('p99_ms', float('nan')):.2f} ms."
            )
        )
    return blocks
