"""The recommendation part of a run's last screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from modules.journeys import names
from pipeline.config import Run
from pipeline.summaries.ask import ask

if TYPE_CHECKING:
    from modules.journeys.report import JourneyReport
    from modules.recommendation.manifest import Manifest

SHOWN_EVENTS = 3


@dataclass(frozen=True)
class Recommended:
    """What the pushed model recommends at one decision of the test part, and what was done.

    Attributes:
      history: the latest actions, oldest first; `events`: number of all events before the decision.
      probability: likelihood of the recommended action, 0-1.
      priority: 0-100.
    """

    id: str
    history: tuple[str, ...]
    events: int
    action: str
    probability: float
    priority: float
    done: str


@dataclass(frozen=True)
class RecommendationPart:
    """See `pipeline.summary.Part`."""

    ingest: JourneyReport
    manifest: Manifest
    answers: list[Recommended] = field(default_factory=list)

    def show_data(self, console: Console) -> None:
        report = self.ingest
        splits = report.splits.items()
        console.print(f"journeys   {', '.join(f'{name} {split.journeys:,}' for name, split in splits)}")
        console.print(f"decisions  {', '.join(f'{name} {split.rows:,}' for name, split in splits)}")
        notes = {
            f"{report.immature:,} journeys too young for an outcome": report.immature,
            f"{report.events_without_lead:,} events of unknown leads": report.events_without_lead,
            f"{report.quarantined_rows:,} rows quarantined": report.quarantined_rows,
        }
        shown = [note for note, count in notes.items() if count]
        if shown:
            console.print(f"of these   {', '.join(shown)}")

    def show_training(self, console: Console) -> None:
        manifest = self.manifest
        several = len(manifest.epochs) > 1
        epochs, best = (", ".join(map(str, found)) for found in (manifest.epochs, manifest.best_epoch))
        console.print(
            f"{f'{len(manifest.epochs)} networks' if several else 'network':<10} {manifest.parameters:,} parameters, "
            f"best of {epochs} epochs: {best}; {manifest.decisions_per_second:,.0f} decisions/s in training"
        )

    def show_answers(self, console: Console) -> None:
        if not self.answers:
            return
        table = Table(title="a few decisions of the test part, answered by the pushed model", title_justify="left")
        table.add_column("lead")
        table.add_column("so far")
        table.add_column("next best action")
        table.add_column("likelihood", justify="right")
        table.add_column("priority", justify="right")
        table.add_column("what was done")
        for a in self.answers:
            before = "… " if a.events > len(a.history) else ""
            history = before + " → ".join(a.history) if a.history else "nothing"
            table.add_row(a.id, history, a.action, f"{a.probability:.3f}", f"{a.priority:.1f}", a.done)
        console.print(table)


def read_part(run: Run, examples: Path, model: Path, pushed: Path | None) -> RecommendationPart:
    """Reads the artifacts of a finished run: roots of the examples and of the SavedModel, and where it was pushed."""
    from modules.journeys.report import read_report
    from modules.recommendation.manifest import Manifest

    return RecommendationPart(
        ingest=read_report(str(examples)),
        manifest=Manifest.load(model),
        answers=[] if pushed is None else _answers(run, pushed, examples),
    )


def _answers(run: Run, model: Path, examples: Path) -> list[Recommended]:
    asked = ask(model, examples)
    got = asked.outputs
    found = []
    for i, features in enumerate(asked.features):
        history = [action.decode() for action in features[names.HISTORY_ACTION].bytes_list.value]
        found.append(
            Recommended(
                id=features[run.dataset.id_feature].bytes_list.value[0].decode(),
                history=tuple(history[-SHOWN_EVENTS:]),
                events=len(history),
                action=got["next_best_action"][i].decode(),
                probability=float(got["probabilities"][i, 0]),
                priority=float(got["priorities"][i, 0]),
                done=features[names.NEXT_ACTION].bytes_list.value[0].decode(),
            )
        )
    return found
