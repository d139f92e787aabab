"""The end of a run on one screen: what was trained, whether it was blessed and why, where it went, what it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.table import Table

from pipeline.config import Run
from pipeline.families import family
from pipeline.runners.local import NodeResult

if TYPE_CHECKING:
    from modules.evaluation.verdict import Verdict


class Part(Protocol):
    """What one family of models adds to the screen."""

    def show_data(self, console: Console) -> None: ...

    def show_training(self, console: Console) -> None: ...

    def show_answers(self, console: Console) -> None: ...


@dataclass(frozen=True)
class Summary:
    """Everything the last screen of a run shows."""

    rows: str
    part: Part
    verdict: Verdict
    infra: dict[str, Any] | None
    infra_blessed: bool
    pushed: Path | None
    value: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    importance: tuple[str, ...] = ()
    convergence: tuple[str, ...] = ()

    @property
    def blessed(self) -> bool:
        return self.verdict.blessed and self.infra_blessed

    def show(self, console: Console) -> None:
        console.print()
        self.part.show_data(console)
        for line in self.tuning:
            console.print(line, markup=False)
        self.part.show_training(console)
        for line in self.convergence:
            console.print(line, markup=False, soft_wrap=True)
        self._show_metrics(console)
        for line in (*self.folds, *self.importance, *self.value):
            console.print(line, markup=False)
        self._show_blessing(console)
        self.part.show_answers(console)

    def _show_metrics(self, console: Console) -> None:
        count = self.verdict.candidate["example_count"]
        table = Table(title=f"test part, {count:,.0f} {self.rows}", title_justify="left")
        table.add_column("metric")
        table.add_column("candidate", justify="right")
        baseline = self.verdict.baseline
        if baseline:
            table.add_column("baseline", justify="right")
            table.add_column("change", justify="right")
        for name in self.verdict.shown_metrics:
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


def summarize(run: Run, results: dict[str, NodeResult]) -> Summary:
    """Reads the artifacts of a finished run."""
    from modules.evaluation.verdict import read_verdict
    from pipeline.components.pusher import pushed_path
    from pipeline.findings import read_convergence

    of = family(run)
    examples = Path(_uri(results, of.example_gen, "examples"))
    model = Path(_uri(results, "Trainer", "model")) / "Format-Serving"
    pushed = pushed_path(results["Pusher"].outputs["pushed_model"][0])
    infra = infra_blessed = None
    if "InfraCheck" in results:
        blessing = results["InfraCheck"].outputs["blessing"][0]
        infra = json.loads((Path(blessing.uri) / "report.json").read_text())
        infra_blessed = blessing.get_int_custom_property("blessed") == 1
    tuning: tuple[str, ...] = ()
    if "Tuner" in results:
        from modules.tuning.report import TuningReport

        tuning = tuple(TuningReport.read(_uri(results, "Tuner", "tuner_results")).lines())
    value: tuple[str, ...] = ()
    if "PolicyValue" in results:
        from modules.off_policy.report import PolicyValueReport

        value = tuple(PolicyValueReport.read(_uri(results, "PolicyValue", "policy_value")).lines())
    folds: tuple[str, ...] = ()
    if "CrossValidation" in results:
        from modules.validation.report import CrossValidationReport

        folds = tuple(CrossValidationReport.read(_uri(results, "CrossValidation", "cross_validation")).lines())
    importance: tuple[str, ...] = ()
    if "Importance" in results:
        from modules.explanation.report import ImportanceReport

        importance = tuple(ImportanceReport.read(_uri(results, "Importance", "importance")).lines())
    verdict = read_verdict(Path(_uri(results, "Evaluator", "evaluation")))
    return Summary(
        rows=of.rows,
        part=of.read_part(run, examples, model, pushed),
        verdict=verdict,
        infra=infra,
        infra_blessed=infra_blessed is not False,
        pushed=pushed,
        value=value,
        tuning=tuning,
        folds=folds,
        importance=importance,
        convergence=tuple(read_convergence(model, verdict).lines()),
    )


def _uri(results: dict[str, NodeResult], node: str, key: str) -> str:
    return results[node].outputs[key][0].uri
