"""What the loss curves and the sizes of the parts say, as the run's summary says it."""

from __future__ import annotations

from typing import Any

from pipeline.report.source import Absent, RunSource


def findings_of(source: RunSource) -> Any:
    """The findings of a run; Absent where they cannot be had."""
    return (
        Absent("no convergence findings: the model carries no loss curves") if isinstance(source.curves, Absent) else ()
    )
