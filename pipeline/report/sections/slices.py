"""Metrics per slice, with intervals, candidate beside baseline."""

from __future__ import annotations

from modules.evaluation.verdict import SliceMetrics
from modules.reporting.document import Block, Cell, Heading, Plot, Section, Table
from modules.reporting.figures.comparison import dots
from modules.reporting.figures.theme import BASELINE as BASELINE_COLOUR
from modules.reporting.figures.theme import CANDIDATE as CANDIDATE_COLOUR
from modules.reporting.formats import count, interval, metric, number
from pipeline.report.sections.common import metric_interval, missing, slices_by_feature, value_text
from pipeline.report.source import BASELINE, CANDIDATE, Absent, RunSource

SHOWN = {
    False: ("auc", "log_loss", "expected_calibration_error", "mean_label", "precision", "recall"),
    True: ("accuracy", "accuracy_over_baseline", "top_3_accuracy", "log_loss", "conversion_auc", "conversion_rate"),
}
PLOTTED = {False: "auc", True: "accuracy"}
MOST_PLOTTED = 24
MOST_LISTED = 200


def slices(source: RunSource) -> Section:
    """A plot and a table per sliced feature."""
    title, verdict = "Slices", source.verdict
    if isinstance(verdict, Absent):
        return Section("slices", title, missing(verdict))
    groups = slices_by_feature(verdict.slices)
    if not groups:
        return Section("slices", title, missing(None, "no slices: set `evaluation.slices` to the features to slice by"))
    blocks: list[Block] = []
    for index, (feature, parts) in enumerate(groups.items()):
        blocks += [Heading(f"By {feature}"), *_group(source, feature, parts, index)]
    return Section("slices", title, blocks)


def _group(source: RunSource, feature: str, parts: list[SliceMetrics], index: int) -> list[Block]:
    verdict = source.verdict
    assert not isinstance(verdict, Absent)
    plotted = PLOTTED[source.recommends]
    overall = metric_interval(plotted, verdict.candidate, source.overall(), source.recommends)
    shown = parts[:MOST_PLOTTED]
    series = {
        CANDIDATE: (CANDIDATE_COLOUR, [_interval(source, plotted, p, CANDIDATE) for p in shown]),
    }
    if verdict.baseline:
        series[BASELINE] = (BASELINE_COLOUR, [_interval(source, plotted, p, BASELINE) for p in shown])
    names = [f"{value_text(p.key)} ({p.examples:,})" for p in shown]
    rest = f" The {MOST_PLOTTED} largest of {len(parts)}." if len(parts) > MOST_PLOTTED else ""
    plot = Plot(
        f"slices-{index}",
        dots(names, series, metric(plotted), reference=overall.value),
        f"{metric(plotted)} by {feature} with 95 % intervals; the dashed line is that of all rows, and the number of "
        f"rows stands behind each name.{rest}",
    )
    return [plot, _table(source, feature, parts)]


def _interval(source: RunSource, name: str, part: SliceMetrics, model: str):
    metrics = part.candidate if model == CANDIDATE else (part.baseline or {})
    return metric_interval(name, metrics, source.plots.get((model, part.key)), source.recommends)


def _table(source: RunSource, feature: str, parts: list[SliceMetrics]) -> Table:
    verdict = source.verdict
    assert not isinstance(verdict, Absent)
    names = [n for n in SHOWN[source.recommends] if any(n in p.candidate for p in parts)]
    rows = []
    for part in parts[:MOST_LISTED]:
        cells: list[str | Cell] = [
            Cell(value_text(part.key), "" if part.judged else "too few to be judged"), count(part.examples)
        ]  # fmt: skip
        for name in names:
            found = _interval(source, name, part, CANDIDATE)
            note = interval(found, 3)
            if part.baseline and name in part.baseline:
                note += f"{'; ' if note else ''}baseline {number(part.baseline[name], 3)}"
            cells.append(Cell(number(found.value, 3), note))
        rows.append(tuple(cells))
    caption = f"Metrics by {feature}: the candidate, and below it the 95 % interval"
    caption += " and the baseline on the same rows." if verdict.baseline else "."
    if len(parts) > MOST_LISTED:
        caption += f" The {MOST_LISTED} largest of {len(parts)}."
    return Table(
        (feature, "rows", *(metric(n) for n in names)),
        tuple(rows),
        caption,
        tuple(range(1, len(names) + 2)),
        folded=len(parts) > 8,
    )
