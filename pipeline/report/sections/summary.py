"""What was trained on what, and what came of it, at a glance."""

from __future__ import annotations

from modules.reporting.document import Block, Card, Cards, Items, Paragraph, Section, Table, Tone
from modules.reporting.formats import count, interval, metric, moment, number, seconds
from pipeline.report.sections.common import metric_interval
from pipeline.report.source import BASELINE, CANDIDATE, Absent, RunSource

SHOWN = {
    False: ("auc", "auc_precision_recall", "log_loss", "expected_calibration_error", "precision", "recall"),
    True: ("accuracy", "top_3_accuracy", "accuracy_over_baseline", "log_loss", "conversion_auc",
           "top_probability_calibration_error"),
}  # fmt: skip


def summary(source: RunSource) -> Section:
    """Verdict, key metrics with intervals, data, configuration and times."""
    return Section("summary", "Summary", [*_cards(source), *_metrics(source), _facts(source)])


def outcome(source: RunSource) -> tuple[str, Tone, str]:
    """The run in a word, its tone, and why."""
    verdict = source.verdict
    if isinstance(verdict, Absent):
        return "not evaluated", "warn", verdict.why
    if not verdict.blessed:
        return "not blessed", "bad", verdict.reason
    if not source.blessed:
        missed = getattr(source.bounds, "missed", ())
        return "not blessed", "bad", f"{len(missed)} bound(s) on cross-validation missed"
    if not source.infra_blessed:
        return "does not serve", "bad", "the infrastructure check failed"
    if source.run.version is None:
        return "blessed, not pushed", "warn", "the Pusher published nothing"
    return "blessed and pushed", "good", verdict.reason


def _cards(source: RunSource) -> list[Block]:
    word, tone, why = outcome(source)
    cards = [Card("Verdict", word, why, tone)]
    verdict = source.verdict
    if not isinstance(verdict, Absent):
        plots = source.overall()
        for name in SHOWN[source.recommends][:4]:
            if name not in verdict.candidate:
                continue
            found = metric_interval(name, verdict.candidate, plots, source.recommends)
            note = f"95 %: {interval(found)}" if found.known else ""
            if verdict.baseline and name in verdict.baseline:
                note += f"{'; ' if note else ''}baseline {number(verdict.baseline[name])}"
            cards.append(Card(metric(name), number(found.value), note))
    if source.run.version:
        cards.append(Card("Version", source.run.version, source.servable))
    ingest = source.ingest
    if not isinstance(ingest, Absent):
        what = "decisions" if source.recommends else "leads"
        cards.append(
            Card("Data", ingest.dataset, f"{count(ingest.kept)} {what}, version {ingest.dataset_version[:12]}")
        )
    return [Cards(tuple(cards))]


def _metrics(source: RunSource) -> list[Block]:
    verdict = source.verdict
    if isinstance(verdict, Absent):
        return [Paragraph(verdict.why, "warn")]
    candidate, baseline = source.overall(CANDIDATE), source.overall(BASELINE)
    lower = verdict.family.lower_is_better if verdict.family else frozenset()
    rows = []
    for name in verdict.shown_metrics:
        if name not in verdict.candidate:
            continue
        found = metric_interval(name, verdict.candidate, candidate, source.recommends)
        row = [metric(name) + (" ↓" if name in lower else ""), number(found.value), interval(found)]
        if verdict.baseline:
            old = metric_interval(name, verdict.baseline, baseline, source.recommends)
            row += [number(old.value), interval(old), f"{found.value - old.value:+.4f}"]
        rows.append(tuple(row))
    columns = ("metric", "candidate", "95 % interval")
    if verdict.baseline:
        columns += ("baseline", "95 % interval", "change")  # type: ignore[assignment]
    what = "decisions" if source.recommends else "leads"
    caption = f"Test part, {count(verdict.candidate.get('example_count'))} {what}; ↓ means lower is better."
    if verdict.baseline:
        caption += (
            " Candidate and baseline were measured on the same rows, so their intervals may overlap although one is "
            "better on nearly all of them; the change is what the blessing looks at."
        )
    if source.recommends:
        caption += " Decisions of one lead resemble each other, so intervals over decisions are somewhat too narrow."
    return [Table(columns, tuple(rows), caption, numeric=tuple(range(1, len(columns))))]


def _facts(source: RunSource) -> Block:
    manifest = source.manifest
    trained = ", ".join(f"{name} {count(rows)}" for name, rows in manifest.rows.items())
    times = ", ".join(f"{name} {seconds(value)}" for name, value in manifest.seconds.items())
    run = source.run
    lines = [
        f"Model {source.servable}, run {run.id}, trained {moment(manifest.trained_at)}",
        f"Dataset {manifest.dataset}, version {manifest.dataset_version}; configuration {manifest.configuration_hash}",
        f"Rows the Trainer saw: {trained}",
        f"Time in the Trainer: {times}",
        "Libraries: " + ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
    ]
    if source.found.newer_unfinished:
        lines.append(
            f"{source.found.newer_unfinished} newer run(s) stopped before their end; this is the latest finished one"
        )
    return Items(tuple(lines))
