"""Memory and time per row of a whole run, from 100,000 to 4 million rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.pipeline import ours_command, timed, write_table

SMALL = 100_000


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Runs the pipeline on a small and on a large table, with the settings of the pipeline benchmark.

    Args:
      rows: rows of the large table, 4 million by default.
      as_json: nothing but the result is printed.

    Returns:
      rows, seconds and peak_rss_mb of both; per_row_ratio = (seconds / row) of the large / of the small table.
    """
    sizes = (SMALL, rows or 4_000_000)
    seconds, peaks = [], []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="aiqleads-scale-") as folder:
            work = Path(folder)
            table = write_table(work / "leads", size)
            took, peak = timed(ours_command(table, work / "root"), work / "log")
            if not as_json:
                print((work / "log").read_text(), flush=True)
                print(f"{size:,} rows: {took:.1f} s, peak {peak:,.0f} MB", flush=True)
        seconds.append(round(took, 1))
        peaks.append(round(peak))
    per_row = [s / n for s, n in zip(seconds, sizes, strict=True)]
    return {"rows": sizes, "seconds": seconds, "peak_rss_mb": peaks, "per_row_ratio": round(per_row[1] / per_row[0], 3)}
