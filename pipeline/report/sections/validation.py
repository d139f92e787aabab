"""Cross-validation and tuning."""

from __future__ import annotations

import math

from modules.evaluation.families import BINARY, NEXT_ACTION
from modules.reporting.document import Block, Items, Paragraph, Plot, Section, Table
from modules.reporting.figures import tuning as tuning_figures
from modules.reporting.figures.comparison import dots
from modules.reporting.figures.theme import CANDIDATE, figure, line, rule
from modules.reporting.formats import count, metric, number, seconds
from modules.reporting.intervals import Interval
from pipeline.report.sections.common import missing
from pipeline.report.source import Absent, RunSource

PLOTTED = ("auc", "accuracy", "log_loss")
NOT_SHOWN = frozenset(
    {*BINARY.without_direction, *NEXT_ACTION.without_direction}
    | {f"{what}_{label}" for what in ("true", "false") for label in ("positives", "negatives")}
) - {"calibration"}
"""Counts and rates of the rows held out, which say nothing about the model."""


def cross_validation(source: RunSource) -> Section:
    """Each fold, mean and interval."""
    title, report = "Cross-validation", source.cross_validation
    if isinstance(report, Absent):
        return Section("cross-validation", title, missing(report))
    intro = Paragraph(
        f"{report.scheme} of {', '.join(report.splits)} ({report.rows:,} rows); everything that is learned from data "
        f"is learned anew inside each fold. Intervals of {report.confidence * 100:g} % allow for folds that share "
        "training rows."
    )
    rows = tuple(
        (metric(n), number(m.mean), number(m.deviation), number(m.standard_error), f"{m.low:.4f} to {m.high:.4f}")
        for n, m in sorted(report.metrics.items(), key=lambda item: _place(item[0]))
        if not math.isnan(m.mean) and n not in NOT_SHOWN
    )
    blocks: list[Block] = [
        intro,
        Table(("metric", "mean", "deviation", "standard error", "interval"), rows, "Over the folds.", (1, 2, 3, 4)),
    ]
    for name in [n for n in PLOTTED if n in report.metrics and not math.isnan(report.metrics[n].mean)]:
        m = report.metrics[name]
        folds = [Interval(f.metrics.get(name, math.nan)) for f in report.parts]
        names = [f"fold {f.index + 1} ({f.rows.get('held_out', 0):,} rows)" for f in report.parts]
        blocks.append(
            Plot(
                f"folds-{name}",
                dots(
                    [*names, "mean"],
                    {metric(name): (CANDIDATE, [*folds, Interval(m.mean, m.low, m.high)])},
                    metric(name),
                    reference=m.mean,
                ),
                f"{metric(name)} of the rows each fold held out, and the mean with its interval.",
            )
        )  # fmt: skip
    if report.roc:
        x, y = zip(*report.roc, strict=True)
        blocks.append(
            Plot(
                "folds-roc",
                figure([line(x, y, "held out", CANDIDATE), rule([0, 1], [0, 1], "chance")], "false positive rate",
                       "true positive rate"),
                "ROC curve of all rows held out, each scored by the fold that had not seen it.",
            )
        )  # fmt: skip
    parts = tuple(
        (f"{f.index + 1}", count(f.rows.get("train")), count(f.rows.get("held_out")), count(f.rounds),
         *(number(f.metrics.get(n)) for n in PLOTTED if n in report.metrics), seconds(f.seconds))
        for f in report.parts
    )  # fmt: skip
    heading = ("fold", "trained on", "held out", "rounds", *(metric(n) for n in PLOTTED if n in report.metrics), "time")
    blocks.append(Table(heading, parts, "Every fold.", tuple(range(1, len(heading))), folded=True))
    return Section("cross-validation", title, blocks)


def tuning(source: RunSource) -> Section:
    """The search for settings."""
    title, report = "Tuning", source.tuning
    if isinstance(report, Absent):
        return Section("tuning", title, missing(report))
    states = ", ".join(f"{n} {state}" for state, n in report.counts.items() if n)
    blocks: list[Block] = [
        Paragraph(
            f"{len(report.trials)} trials ({states}) of {report.planned} planned, {report.sampler} with "
            f"{report.pruner} "
            f"pruning, scored by {metric(report.objective)} on {report.validation}. The best trial is {report.best}, "
            f"{number(report.gain)} better than the configured settings (trial 0)."
        ),
        Items(tuple(line.strip() for line in report.lines()[1:])),
        Plot(
            "tuning-history",
            tuning_figures.history(report),
            f"Score of each trial ({'higher' if report.direction == 'maximize' else 'lower'} is better) and the best "
            "one so far. The score of the best of many trials is a little too good: the test part is the judge.",
        ),
    ]
    if len([t for t in report.trials if t.score is not None]) > 1:
        blocks.append(
            Plot(
                "tuning-parallel",
                tuning_figures.parallel(report),
                "A line per trial through its settings to its score; the better, the darker, the best one in red.",
                wide=True,
            )
        )
    names = list(report.space)
    rows = tuple(
        (str(t.number), t.state, number(t.score, 5), *(_value(t.parameters.get(n)) for n in names), seconds(t.seconds))
        for t in sorted(report.trials, key=lambda t: _order(t.score, report.direction))
    )
    heading = ("trial", "state", metric(report.objective), *(n.rsplit(".", 1)[-1] for n in names), "time")
    blocks.append(Table(heading, rows, "All trials, best first.", tuple(range(2, len(heading))), folded=True))
    return Section("tuning", title, blocks)


def _place(name: str) -> tuple[int, str]:
    shown = (*BINARY.shown, *NEXT_ACTION.shown)
    return (shown.index(name) if name in shown else len(shown), name)


def _order(score: float | None, direction: str) -> float:
    if score is None or math.isnan(score):
        return math.inf
    return -score if direction == "maximize" else score


def _value(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "–" if value is None else str(value)
