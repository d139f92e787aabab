"""From the folds of a cross-validation to its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from modules.validation.intervals import summarize_folds
from modules.validation.report import CrossValidationReport, FoldReport
from modules.validation.settings import ValidationSettings


def collect(
    model_type: Literal["lead-scoring", "recommendation"],
    settings: ValidationSettings,
    parts: Sequence[FoldReport],
    *,
    splits: Iterable[str],
    rows: int,
    seconds: float,
    hyperparameters: Mapping[str, Any] | None = None,
    roc: tuple[tuple[float, float], ...] = (),
    workers: int = 1,
) -> CrossValidationReport:
    """The report of all folds, in their order; see CrossValidationReport."""
    return CrossValidationReport(
        model_type=model_type,
        method=settings.method,
        group=settings.group,
        gap_days=settings.gap_days,
        folds=settings.folds or 1,
        repeats=settings.repeats,
        seed=settings.seed,
        confidence=settings.confidence,
        splits=tuple(splits),
        rows=rows,
        parts=tuple(parts),
        metrics=summarize_folds(parts, settings.confidence),
        roc=roc,
        hyperparameters=dict(hyperparameters or {}),
        workers=workers,
        seconds=round(seconds, 3),
    )
