"""The lead-scoring part of a run's last screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pipeline.config import Run
from pipeline.summaries.ask import ask

if TYPE_CHECKING:
    from modules.encoding.report import OutlierReport
    from modules.ingest.report import IngestReport
    from modules.lead_scoring.manifest import Manifest
    from modules.lead_scoring.selection import Selection


@dataclass(frozen=True)
class LeadAnswer:
    """What the pushed model says about one lead of the test part."""

    id: str
    score: float
    probability: float
    low: float
    high: float
    confidence: float
    converted: int


@dataclass(frozen=True)
class LeadScoringPart:
    """See `pipeline.summary.Part`."""

    ingest: IngestReport
    manifest: Manifest
    outliers: OutlierReport | None = None
    selection: Selection | None = None
    answers: list[LeadAnswer] = field(default_factory=list)

    def show_data(self, console: Console) -> None:
        parts = ", ".join(f"{name} {split.rows:,}" for name, split in self.ingest.splits.items())
        console.print(f"leads      {parts}")
        left_out = []
        if self.ingest.immature:
            left_out.append(f"{self.ingest.immature:,} too young for a label")
        if self.ingest.gap:
            left_out.append(f"{self.ingest.gap:,} in the gap before the test part")
        if self.ingest.quarantined:
            left_out.append(f"{self.ingest.quarantined_rows:,} quarantined")
        if left_out:
            console.print(f"left out   {', '.join(left_out)}")
        if self.ingest.ignored_columns:
            console.print(
                f"ignored    columns that the feature table does not know: {_list(self.ingest.ignored_columns)}"
            )

        if self.outliers is not None:
            console.print(f"outliers   {self.outliers.line()}")

    def show_training(self, console: Console) -> None:
        if self.selection is not None:
            for line in self.selection.lines():
                console.print(line, markup=False, soft_wrap=True)
        console.print(
            f"trees      {self.manifest.best_iteration + 1:,} rounds of {self.manifest.rounds_fitted:,} fitted"
        )

    def show_answers(self, console: Console) -> None:
        if not self.answers:
            return
        table = Table(title="a few leads of the test part, answered by the pushed model", title_justify="left")
        for name in ("lead", "score", "probability", "90 % interval", "confidence", "converted"):
            table.add_column(name, justify="left" if name == "lead" else "right")
        for a in self.answers:
            table.add_row(
                a.id,
                f"{a.score:.1f}",
                f"{a.probability:.3f}",
                f"{a.low:.3f} - {a.high:.3f}",
                f"{a.confidence:.3f}",
                "yes" if a.converted else "no",
            )
        console.print(table)


def read_part(run: Run, examples: Path, model: Path, pushed: Path | None) -> LeadScoringPart:
    """Reads the artifacts of a finished run: roots of the examples and of the SavedModel, and where it was pushed."""
    from modules.encoding.report import OutlierReport
    from modules.ingest.report import read_report
    from modules.lead_scoring.manifest import Manifest
    from modules.lead_scoring.selection import Selection

    return LeadScoringPart(
        ingest=read_report(str(examples)),
        manifest=Manifest.load(model),
        outliers=OutlierReport.read(model),
        selection=Selection.find(model),
        answers=[] if pushed is None else _answers(run, pushed, examples),
    )


def _answers(run: Run, model: Path, examples: Path) -> list[LeadAnswer]:
    asked = ask(model, examples)
    got = asked.outputs
    return [
        LeadAnswer(
            id=features[run.dataset.id_feature].bytes_list.value[0].decode(),
            score=float(got["score"][i]),
            probability=float(got["probability"][i]),
            low=float(got["probability_low"][i]),
            high=float(got["probability_high"][i]),
            confidence=float(got["confidence"][i]),
            converted=features[run.dataset.label_feature].int64_list.value[0],
        )
        for i, features in enumerate(asked.features)
    ]


def _list(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
