"""`aiqleads data check`: what of a table does not fit its dataset file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from modules.journeys.dataset import JourneyDataset
from pipeline.config import load_dataset

EVENTS_PER_ROW = 100
"""Journeys are read whole, or nothing could be said about them: as many rows of each table for one asked for."""


def check(name: str, rows: int, overrides: dict[str, Any]) -> int:
    """Reads a sample of the table and prints what was found.

    Returns:
      0 when a run can start, 4 when an error stands in its way.
    """
    dataset = load_dataset(name, {key.removeprefix("dataset."): value for key, value in overrides.items()})
    console = Console(highlight=False, soft_wrap=True)
    if isinstance(dataset, JourneyDataset):
        from modules.journeys.check import check_journeys

        overview, findings = check_journeys(dataset, rows * EVENTS_PER_ROW)
        for line in overview:
            console.print(line, markup=False)
        features = f"{len(dataset.events.features)} event features, {len(dataset.features)} of the lead"
    else:
        from modules.ingest.check import check_dataset

        findings = check_dataset(dataset, sample_rows=rows)
        features = f"{len(dataset.features)} features"
    errors = [f for f in findings if f.severity == "error"]
    for finding in sorted(findings, key=lambda f: f.severity != "error"):
        colour = "red" if finding.severity == "error" else "yellow"
        where = f"{finding.column}: " if finding.column else ""
        console.print(f"[{colour}]{finding.severity}[/{colour}]  ", end="")
        console.print(f"{where}{finding.message}", markup=False)
        if finding.suggestion:
            console.print(f"         {finding.suggestion}", markup=False)
    warnings = len(findings) - len(errors)
    console.print(f"{dataset.name}: {features}, {len(errors)} errors, {warnings} warnings")
    return 4 if errors else 0


def propose(table: Path, label: str | None = None) -> int:
    """Prints a first dataset file for a table; a person corrects it.

    Args:
      table: CSV, gzip CSV or Parquet.
      label: its label column, if that is known.

    Returns:
      0.
    """
    from modules.ingest.infer import propose_dataset

    print(propose_dataset(str(table), label), end="")
    return 0
