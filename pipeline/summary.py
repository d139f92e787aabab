"""The end of a run on one screen: what was trained, whether it was blessed and why, where it went, what it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pipeline.config import Run
from pipeline.pipeline import EVALUATED_SPLIT
from pipeline.runners.local import NodeResult

if TYPE_CHECKING:
    from modules.evaluation.verdict import Verdict
    from modules.ingest.report import IngestReport
    from modules.lead_scoring.manifest import Manifest

SHOWN_METRICS = (
    "auc",
    "auc_precision_recall",
    "log_loss",
    "expected_calibration_error",
    "accuracy",
    "precision",
    "recall",
    "f1_score",
    "example_count",
)
SHOWN_LEADS = 5


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
class Summary:
    """Everything the last screen of a run shows."""

    ingest: IngestReport
    verdict: Verdict
    infra: dict[str, Any] | None
    infra_blessed: bool
    pushed: Path | None
    manifest: Manifest
    answers: list[LeadAnswer] = field(default_factory=list)

    @property
    def blessed(self) -> bool:
        return self.verdict.blessed and self.infra_blessed

    def show(self, console: Console) -> None:
        console.print()
        self._show_data(console)
        self._show_metrics(console)
        self._show_blessing(console)
        if self.answers:
            self._show_answers(console)

    def _show_data(self, console: Console) -> None:
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
        console.print(
            f"trees      {self.manifest.best_iteration + 1:,} rounds of {self.manifest.rounds_fitted:,} fitted"
        )

    def _show_metrics(self, console: Console) -> None:
        table = Table(title=f"test part, {self.verdict.candidate['example_count']:,.0f} leads", title_justify="left")
        table.add_column("metric")
        table.add_column("candidate", justify="right")
        baseline = self.verdict.baseline
        if baseline:
            table.add_column("baseline", justify="right")
            table.add_column("change", justify="right")
        for name in SHOWN_METRICS[:-1]:
            if name not in self.verdict.candidate:
                continue
            value = self.verdict.candidate[name]
            row = [name, f"{value:.4f}"]
            if baseline:
                row += [f"{baseline[name]:.4f}", f"{value - baseline[name]:+.4f}"]
            table.add_row(*row)
        console.print(table)

    def _show_blessing(self, console: Console) -> None:
        if self.verdict.blessed:
            console.print(f"[green]blessed[/green]    {self.verdict.reason}")
        else:
            console.print("[red]not blessed[/red]")
            for line in self.verdict.describe():
                console.print(f"  {line}", markup=False)
        if self.infra is not None:
            if self.infra_blessed:
                latency = self.infra["latency_ms"]["serving_default"]
                console.print(
                    f"[green]serves[/green]     {len(self.infra['passed'])} checks passed; "
                    f"one lead takes {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms"
                )
            else:
                console.print("[red]does not serve[/red]")
                for name, why in self.infra["failed"].items():
                    console.print(f"  {name}: {why}", markup=False)
        if self.pushed is not None:
            here = Path.cwd()
            shown = self.pushed.relative_to(here) if self.pushed.is_relative_to(here) else self.pushed
            console.print(f"pushed     {shown}", soft_wrap=True)

    def _show_answers(self, console: Console) -> None:
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


def _list(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"


def summarize(run: Run, results: dict[str, NodeResult]) -> Summary:
    """Reads the artifacts of a finished run."""
    from modules.evaluation.verdict import read_verdict
    from modules.ingest.report import read_report
    from modules.lead_scoring.manifest import Manifest
    from pipeline.components.pusher import pushed_path

    model = Path(_uri(results, "Trainer", "model"))
    evaluation = Path(_uri(results, "Evaluator", "evaluation"))
    pushed = pushed_path(results["Pusher"].outputs["pushed_model"][0])
    infra = infra_blessed = None
    if "InfraCheck" in results:
        blessing = results["InfraCheck"].outputs["blessing"][0]
        infra = json.loads((Path(blessing.uri) / "report.json").read_text())
        infra_blessed = blessing.get_int_custom_property("blessed") == 1
    return Summary(
        ingest=read_report(_uri(results, "ColumnarExampleGen", "examples")),
        verdict=read_verdict(evaluation),
        infra=infra,
        infra_blessed=infra_blessed is not False,
        pushed=pushed,
        manifest=Manifest.load(model / "Format-Serving"),
        answers=[] if pushed is None else answer(run, pushed, Path(_uri(results, "ColumnarExampleGen", "examples"))),
    )


def _uri(results: dict[str, NodeResult], node: str, key: str) -> str:
    return results[node].outputs[key][0].uri


def answer(run: Run, model: Path, examples: Path, count: int = SHOWN_LEADS) -> list[LeadAnswer]:
    """Scores the first leads of the test part through `serving_default`, loaded as TensorFlow Serving loads it."""
    import tensorflow as tf

    records = [
        record.numpy()
        for file in sorted((examples / f"Split-{EVALUATED_SPLIT}").iterdir())
        for record in tf.data.TFRecordDataset(str(file), compression_type="GZIP" if file.suffix == ".gz" else "").take(
            count
        )
    ][:count]
    parsed = [tf.train.Example.FromString(record).features.feature for record in records]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(model))
        signature = graph.signature_def["serving_default"]
        outputs = {key: info.name for key, info in signature.outputs.items()}
        got = session.run(outputs, {signature.inputs["examples"].name: records})
    return [
        LeadAnswer(
            id=parsed[i][run.dataset.id_feature].bytes_list.value[0].decode(),
            score=float(got["score"][i]),
            probability=float(got["probability"][i]),
            low=float(got["probability_low"][i]),
            high=float(got["probability_high"][i]),
            confidence=float(got["confidence"][i]),
            converted=parsed[i][run.dataset.label_feature].int64_list.value[0],
        )
        for i in range(len(records))
    ]
