"""How well next actions are predicted: against naive predictors, calibrated or not, and what is taken for what."""

from __future__ import annotations

from modules.evaluation.next_action_scores import best_baseline
from modules.evaluation.next_action_statistics import BASELINES
from modules.evaluation.verdict import Verdict
from modules.reporting.actions import ActionConfusion
from modules.reporting.document import Block, Heading, Paragraph, Plot, Section, Table
from modules.reporting.figures import actions as figures
from modules.reporting.figures.comparison import dots
from modules.reporting.figures.theme import CANDIDATE as COLOUR
from modules.reporting.formats import count, interval, metric, number, percent, percent_interval
from modules.reporting.intervals import wilson
from modules.reporting.score_bins import CalibrationPoint
from pipeline.report.sections.common import metric_interval, missing
from pipeline.report.sections.curves import curve_plots, scored
from pipeline.report.source import Absent, RunSource

RANKED = ("accuracy", "top_3_accuracy", "mean_reciprocal_rank", "ndcg_at_5", "weighted_f1", "macro_f1",
          "mean_prefix_accuracy", "log_loss")  # fmt: skip
NAIVE = {
    "majority": "most frequent action",
    "last_action": "most frequent after the last action",
    "prefix": "most frequent after exactly this history",
}
CONVERSION_THRESHOLD = 0.5


def ranking(source: RunSource) -> Section:
    """Top-k metrics beside the naive predictors, calibration of the likeliest action, confusion."""
    title, verdict = "Next actions", source.verdict
    if isinstance(verdict, Absent):
        return Section("ranking", title, missing(verdict))
    return Section(
        "ranking",
        title,
        [*_naive(source, verdict), *_calibration(source), _metrics(source, verdict), *_confusion(source)],
    )


def _naive(source: RunSource, verdict: Verdict) -> list[Block]:
    plots = source.overall()
    candidate = verdict.candidate
    rows = [("the model", metric_interval("accuracy", candidate, plots, True))]
    if verdict.baseline:
        rows.append(("the last blessed model", metric_interval("accuracy", verdict.baseline, None, True)))
    rows += [
        (NAIVE[name], metric_interval(f"baseline_{name}_accuracy", candidate, plots, True))
        for name in BASELINES
        if f"baseline_{name}_accuracy" in candidate
    ]
    _, accuracy = best_baseline(candidate)
    return [
        Plot(
            "naive",
            dots([n for n, _ in rows], {"accuracy": (COLOUR, [v for _, v in rows])}, "accuracy", tickformat=".0%"),
            f"Share of {count(candidate.get('example_count'))} decisions predicted right, with 95 % Wilson intervals, "
            f"beside what needs no model; the best of these reaches {percent(accuracy)}.",
        )
    ]


def _metrics(source: RunSource, verdict: Verdict) -> Block:
    plots, candidate = source.overall(), verdict.candidate
    best, _ = best_baseline(candidate)
    table = []
    for name in RANKED:
        if name in candidate:
            found = metric_interval(name, candidate, plots, True)
            naive = candidate.get(f"baseline_{best}_{name}")
            row = [metric(name), number(found.value), interval(found), number(naive)]
            if verdict.baseline:
                row.append(number(verdict.baseline.get(name)))
            table.append(tuple(row))
    columns = ["metric", "model", "95 % interval", f"naive: {NAIVE[best]}"]
    if verdict.baseline:
        columns.append("last blessed model")
    caption = "Metrics over all decisions of the test part."
    return Table(tuple(columns), tuple(table), caption, tuple(range(1, len(columns))))


def _calibration(source: RunSource) -> list[Block]:
    plots = source.overall()
    if plots is None or plots.reliability is None or not len(plots.reliability.lower):
        return missing(None, "no calibration plot: `evaluation.plot_points` is 0")
    bins = plots.reliability
    points = [
        CalibrationPoint(p / n, wilson(k, n), n)
        for p, k, n in zip(bins.predictions.tolist(), bins.positives.tolist(), bins.counts.tolist(), strict=True)
    ]
    return [
        Plot(
            "top-calibration",
            figures.reliability(points),
            "Of the decisions whose likeliest action has this probability, the share in which it was taken, with 95 % "
            "intervals; larger dots stand for more decisions. On the dashed line probabilities mean what they say.",
        )
    ]


def _confusion(source: RunSource) -> list[Block]:
    plots = source.overall()
    if plots is None or plots.actions is None:
        return missing(
            None, "no confusion of actions: the Evaluator of this run did not keep it; run the pipeline again"
        )
    vocabulary = source.raw_manifest.get("layout", {}).get("actions", [])
    found = ActionConfusion.from_entries(plots.actions, vocabulary)
    rows = tuple(
        (
            r.action,
            count(r.taken),
            count(r.predicted),
            percent_interval(r.precision),
            percent_interval(r.recall),
            number(r.f1, 3),
        )
        for r in found.rows()
    )
    return [
        Heading("What is taken for what"),
        Plot(
            "action-confusion",
            figures.confusion(found),
            "Row: the action that was taken; column: the one predicted; in percent of the row. A perfect model has "
            "100 on the diagonal.",
        ),
        Table(
            ("action", "taken", "predicted", "precision", "recall", "F1"),
            rows,
            "By action, with 95 % Wilson intervals.",
            (1, 2, 3, 4, 5),
        ),
    ]


def conversion(source: RunSource) -> Section:
    """The conversion head: does a lead convert, given the action that was taken?"""
    title, verdict = "Conversion", source.verdict
    if isinstance(verdict, Absent):
        return Section("conversion", title, missing(verdict))
    models = scored(source)
    if not models:
        return Section(
            "conversion",
            title,
            missing(None, "no conversion figures: the dataset names no `outcome`, or none is known yet"),
        )
    known = verdict.candidate.get("conversion_count")
    intro = Paragraph(
        f"Probability that the lead converts, given the action that was taken, over the {count(known)} decisions "
        "whose outcome is known. All decisions of a lead share its outcome, so the intervals are too narrow: take "
        "them as a lower limit of what is unknown."
    )
    plots = curve_plots(source, verdict, models, CONVERSION_THRESHOLD, "conversion_auc", "decisions")
    return Section("conversion", title, [intro, *plots])
