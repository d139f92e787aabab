"""`aiqleads data generate`."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from modules.marketplace.settings import MarketplaceSettings
from modules.marketplace.write import write_marketplace


def generate(
    rows: int, out: Path, seed: int, start: str | None, spans: int, drift: str, faults: str, format: str
) -> int:
    """Writes a synthetic marketplace and says what was written."""
    settings = MarketplaceSettings.parse(
        rows, seed=seed, start=start, spans=spans, drift=drift, faults=faults, format=format
    )
    console = Console(highlight=False)
    begin = time.perf_counter()
    columns = (TextColumn("generating leads"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=rows)
        report = write_marketplace(out, settings, progress=lambda done, total: bar.update(task, completed=done))
    console.print(
        f"{report.leads:,} leads ({report.conversion_rate:.1%} converted) and {report.events:,} events "
        f"in {time.perf_counter() - begin:.1f} s"
    )
    for path in report.files:
        console.print(f"  {path}")
    return 0
