"""What the model looks at."""

from __future__ import annotations

import json
from typing import Any

from modules.explanation.report import ImportanceReport
from modules.manifest import EXTRA
from modules.reporting.document import Block, Cell, Heading, Missing, Paragraph, Plot, Section, Table
from modules.reporting.figures import importance as figures
from modules.reporting.formats import metric, number, percent
from pipeline.report.sections.common import missing
from pipeline.report.source import Absent, RunSource

DEPENDENCES = 6


def importance(source: RunSource) -> Section:
    """Permutation, gain and contributions, and plots of the contributions."""
    title, report = "Importance", source.importance
    if isinstance(report, Absent):
        return Section("importance", title, [*missing(report), *_gain_only(source)])
    return Section("importance", title, [*_overview(report), *_contributions(report), _table(report)])


def _overview(report: ImportanceReport) -> list[Block]:
    what = "decisions" if report.model_type == "recommendation" else "leads"
    blocks: list[Block] = [
        Paragraph(
            f"Measured on {report.sampled:,} of {report.rows:,} {what} of the {report.split} part, which the model "
            f"was not trained on; {report.repeats} shuffles per feature. An importance says what the model uses, not "
            "what causes the outcome; of two features that say the same, either may get all of it."
        )
    ]
    name = report.ranked_by
    without = [f.name for f in report.features if not (f.permutation[name].mean or f.permutation[name].deviation)]
    if without:
        blocks.append(Paragraph(f"Shuffling makes no difference for {len(without)} features: {', '.join(without)}."))
    if len(without) < len(report.features):
        blocks.append(
            Plot(
                "importance-permutation",
                figures.permutation(report.features, name),
                f"By how much {metric(name)} gets worse when the values of a feature are shuffled among the rows, "
                "with one standard deviation over the shuffles.",
            )
        )
    if any(f.gain_share for f in report.features):
        blocks.append(
            Plot(
                "importance-gain",
                figures.gain(report.features),
                "Share of the trees' total gain from splits on a feature.",
            )
        )
    if any(f.mean_absolute_contribution for f in report.features):
        blocks.append(
            Plot(
                "importance-contribution",
                figures.mean_contribution(report.features),
                "Mean absolute contribution of a feature to the log-odds of a row.",
            )
        )
    return blocks


def _contributions(report: ImportanceReport) -> list[Block]:
    if not any(any(sample.contributions) for sample in report.sample):
        return [Missing("no contributions to plot: this kind of model has none per row")]
    ranked = sorted(
        (s for s in report.sample if any(s.contributions)), key=lambda s: -sum(abs(c) for c in s.contributions)
    )
    blocks: list[Block] = [
        Heading("Contributions"),
        Plot(
            "beeswarm",
            figures.beeswarm(report.sample),
            "Each dot is a row: how much a feature moved its log-odds. Red are high values of the feature, blue low "
            "ones, grey are words and missing values.",
            wide=True,
        ),
    ]
    for i, sample in enumerate(ranked[:DEPENDENCES]):
        blocks.append(
            Plot(
                f"dependence-{i}",
                figures.dependence(sample),
                f"Contribution of {sample.feature} against its value, in the sampled rows.",
            )
        )
    return blocks


def _table(report: ImportanceReport) -> Table:
    metrics = list(report.metrics)
    rows: list[tuple[Any, ...]] = []
    for f in report.features:
        cells: list[Any] = [Cell(f.name, f.group or ("event" if f.level == "event" else ""))]
        for name in metrics:
            w = f.permutation.get(name)
            cells.append("–" if w is None else Cell(f"{w.mean:+.5f}", f"± {w.deviation:.5f}"))
        cells += [
            percent(f.gain_share),
            "–" if f.splits is None else f"{f.splits:,}",
            number(f.mean_absolute_contribution),
        ]
        rows.append(tuple(cells))
    columns = ("feature", *(f"{metric(n)} lost" for n in metrics), "gain", "splits", "mean |contribution|")
    unshuffled = ", ".join(f"{metric(n)} {v:.4f}" for n, v in report.metrics.items())
    return Table(
        columns,
        tuple(rows),
        f"All features. Without shuffling: {unshuffled}.",
        tuple(range(1, len(columns))),
        folded=True,
    )


def _gain_only(source: RunSource) -> list[Block]:
    """The booster's own gain, which travels with the model even without the node Importance."""
    path = source.model_dir / EXTRA / "importance.json"
    if not path.is_file():
        return []
    columns = json.loads(path.read_text()).get("columns", [])
    total = sum(c.get("total_gain", 0.0) for c in columns)
    by_source: dict[str, float] = {}
    for column in columns:
        by_source[column["source"]] = by_source.get(column["source"], 0.0) + column.get("total_gain", 0.0)
    if not total:
        return []
    from modules.explanation.report import FeatureImportance

    features = [FeatureImportance(name=n, permutation={}, gain_share=g / total) for n, g in by_source.items()]
    return [Plot("importance-gain", figures.gain(features), "Share of the trees' total gain from splits on a feature.")]
