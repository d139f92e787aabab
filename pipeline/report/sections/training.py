"""How training went: loss curves, and what they say about overfitting and convergence."""

from __future__ import annotations

from modules.convergence import IN_WORDS, Training
from modules.reporting.document import Block, Heading, Items, Paragraph, Plot, Section
from modules.reporting.figures.training import loss_curve, metrics_of
from modules.reporting.formats import number
from pipeline.report.sections.common import missing
from pipeline.report.source import Absent, RunSource

MOST_TRAININGS = 6
MOST_METRICS = 3


def training(source: RunSource) -> Section:
    """Loss curves with the step in use, and convergence findings."""
    blocks: list[Block] = []
    curves = source.curves
    if isinstance(curves, Absent):
        blocks += missing(curves)
    else:
        for index, one in enumerate(curves.trainings[:MOST_TRAININGS]):
            if len(curves.trainings) > 1:
                blocks.append(Heading(one.name))
            blocks.append(Paragraph(_words(one)))
            for metric in metrics_of(one)[:MOST_METRICS]:
                what = IN_WORDS.get(metric, metric.replace("_", " "))
                blocks.append(
                    Plot(
                        f"curve-{index}-{metric}",
                        loss_curve(one, metric),
                        f"{what} by {one.unit}, training and validation part; the dotted line is the {one.unit} in "
                        "use. Curves that part mean that the model learns its training rows by heart.",
                    )
                )
        more = len(curves.trainings) - MOST_TRAININGS
        if more > 0:
            blocks.append(Paragraph(f"{more} more trainings are not drawn."))
    found = source.convergence
    if isinstance(found, Absent):
        return Section("training", "Training", [*blocks, *missing(found)])
    blocks.append(Heading("Convergence"))
    if found.line:
        blocks.append(Paragraph(f"{found.line[0].upper()}{found.line[1:]}."))
    if found.findings:
        blocks.append(Items(tuple(finding.line() for finding in found.findings)))
    elif not isinstance(curves, Absent):
        blocks.append(
            Paragraph("No overfitting beyond the configured gap, and training ended where it should.", "good")
        )
    return Section("training", "Training", blocks)


def _words(one: Training) -> str:
    used = one.number(one.used)
    run = max((len(v) for split in one.curves.values() for v in split.values()), default=0)
    text = f"{run:,} {one.unit}s run of {one.steps:,} asked for; {one.unit} {used:,} is in use"
    best = one.best
    if best is not None:
        value = one.values("validation", one.watched)[best - 1]
        watched = IN_WORDS.get(one.watched, one.watched)
        text += f"; the best by validation {watched} is {one.number(best):,} ({number(float(value))})"
    return text + "."
