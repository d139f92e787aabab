"""The classifier at every threshold: ROC, precision-recall, calibration, gains, and the confusion matrix."""

from __future__ import annotations

from modules.evaluation.verdict import Verdict
from modules.reporting.confusion import Confusion, ThresholdTable
from modules.reporting.document import Block, Explorer, Plot, Section, Table
from modules.reporting.figures import binary
from modules.reporting.figures.binary import Scored
from modules.reporting.formats import count, percent, percent_interval
from modules.reporting.intervals import Interval
from pipeline.report.sections.common import metric_interval, missing
from pipeline.report.source import BASELINE, CANDIDATE, Absent, RunSource

TABLE_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def curves(source: RunSource) -> Section:
    """ROC, precision-recall, calibration and gains of candidate and baseline."""
    title = "Curves"
    verdict, models = source.verdict, scored(source)
    if isinstance(verdict, Absent):
        return Section("curves", title, missing(verdict))
    if not models:
        return Section(
            "curves", title, missing(None, "no curves: the Evaluator kept no plots (`evaluation.plot_points` is 0)")
        )
    return Section("curves", title, curve_plots(source, verdict, models, source.threshold, "auc", "leads"))


def scored(source: RunSource) -> dict[str, Scored]:
    """Candidate and baseline with their score bins, as far as there are any."""
    found = {}
    verdict = source.verdict
    for model in (CANDIDATE, BASELINE):
        plots = source.overall(model)
        if plots is None or plots.bins is None or not len(plots.bins.lower):
            continue
        metrics = {} if isinstance(verdict, Absent) else (verdict.candidate if model == CANDIDATE else verdict.baseline)
        found[model] = Scored(plots.bins, Confusion.of_metrics(metrics or {}))
    return found


def curve_plots(
    source: RunSource, verdict: Verdict, models: dict[str, Scored], threshold: float, auc: str, rows: str
) -> list[Block]:
    """The four curves; `auc` is the Evaluator's name of the area, `rows` what an example is called."""
    area = metric_interval(auc, verdict.candidate, source.overall(), source.recommends)
    both = " The baseline is the last blessed model on the same rows." if BASELINE in models else ""
    best = models[CANDIDATE].bins
    marks = " The diamond is the threshold in use." if models[CANDIDATE].chosen else ""
    inside = f" (95 %: {area.low:.4f} to {area.high:.4f}, DeLong)" if area.known else ""
    return [
        Plot(
            "roc",
            binary.roc(models, threshold),
            f"ROC curve: positives found against negatives taken for positives, at every threshold. "
            f"Area {area.value:.4f}{inside}; 0.5 is chance.{marks}{both}",
        ),
        Plot(
            "precision-recall",
            binary.precision_recall(models, threshold),
            "Precision against recall at every threshold; the dashed line is the base rate, "
            f"{percent(best.rate)}.{marks}",
        ),
        Plot(
            "calibration",
            binary.calibration({name: s.bins for name, s in models.items()}),
            f"Calibration: {binary.CALIBRATION_GROUPS} groups of equally many {rows}, share of positives against the "
            "mean prediction, with 95 % Wilson intervals. On the dashed line predictions mean what they say.",
        ),
        Plot(
            "gains",
            binary.gains(models),
            f"Gains: the best 10 % of the {rows} by score hold {percent(best.captured(0.1))} of all positives, the "
            f"best 20 % hold {percent(best.captured(0.2))}, the best half {percent(best.captured(0.5))}.",
        ),
        Plot(
            "lift",
            binary.lift(models),
            f"Lift: how many times the base rate the best {rows} hold; {best.captured(0.1) / 0.1:.2f} times in the "
            "best 10 %.",
        ),
    ]


def thresholds(source: RunSource) -> Section:
    """The confusion matrix at the threshold in use, and at others."""
    title = "Thresholds"
    plots, verdict = source.overall(), source.verdict
    if isinstance(verdict, Absent):
        return Section("thresholds", title, missing(verdict))
    if plots is None or plots.table is None or not plots.table.thresholds:
        return Section("thresholds", title, missing(None, "no confusion matrices: `evaluation.plot_points` is 0"))
    chosen = Confusion.of_metrics(verdict.candidate)
    table = plots.table if chosen is None else plots.table.with_row(source.threshold, chosen)
    at = table.nearest(source.threshold)
    return Section(
        "thresholds",
        title,
        [
            Explorer(
                tuple(round(t, 6) for t in table.thresholds),
                tuple(
                    (m.true_positives, m.false_positives, m.true_negatives, m.false_negatives) for m in table.matrices
                ),
                at,
                f"Confusion matrix of the candidate on the test part. The threshold in use is {source.threshold:g} "
                "(`evaluation.threshold`); a prediction above it counts as positive. Move the slider to see others.",
            ),
            Plot(
                "by-threshold",
                binary.by_threshold(table, source.threshold),
                "Precision, recall, F1 and the share selected at every threshold; the dashed line is the one in use.",
            ),
            _table(table, at),
        ],
    )


def _table(table: ThresholdTable, chosen: int) -> Table:
    picked = sorted({chosen, *(table.nearest(t) for t in TABLE_THRESHOLDS)})
    rows = []
    for i in picked:
        m = table.matrices[i]
        mark = " (in use)" if i == chosen else ""
        rows.append(
            (
                f"{table.thresholds[i]:g}{mark}",
                count(m.true_positives), count(m.false_positives), count(m.true_negatives), count(m.false_negatives),
                _rate(m.rate("precision")), _rate(m.rate("recall")), _rate(m.rate("false_positive_rate")),
                percent(m.rate("selection_rate").value), _rate(m.rate("accuracy")),
            )
        )  # fmt: skip
    return Table(
        ("threshold", "TP", "FP", "TN", "FN", "precision", "recall", "false positive rate", "selected", "accuracy"),
        tuple(rows),
        "Other thresholds, with 95 % Wilson intervals.",
        tuple(range(1, 10)),
        folded=True,
    )


def _rate(found: Interval) -> str:
    return percent_interval(found)
