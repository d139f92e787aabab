"""Cross-validation of the lead-scoring model: from raw tf.Examples and settings to a report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from tensorflow_metadata.proto.v0 import schema_pb2

from modules import progress
from modules.lead_scoring.fold_files import prepare_folds
from modules.lead_scoring.folds import Fold, FoldResult, fit_fold
from modules.transform_config import TransformConfig
from modules.validation.collect import collect
from modules.validation.curves import pooled_roc
from modules.validation.report import CrossValidationReport, FoldReport
from modules.validation.settings import ValidationSettings
from modules.validation.workers import fit_all, processes, threads


def cross_validate(
    patterns: Mapping[str, Sequence[str]],
    schema: schema_pb2.Schema,
    config: TransformConfig,
    settings: ValidationSettings,
    folder: Path,
    *,
    threshold: float = 0.5,
    hyperparameters: Mapping[str, Any] | None = None,
    make_pipeline: Callable[[], beam.Pipeline] | None = None,
) -> CrossValidationReport:
    """Fits a model per fold and measures it on the rows that this fold held out.

    Args:
      patterns: by split, file patterns of raw tf.Examples: everything but test.
      schema: of the raw tf.Examples.
      config: dataset and settings of the model, those the Tuner found included.
      settings: how the rows are cut; `folds` is not null.
      folder: for files that are gone afterwards.
      threshold: decision threshold of accuracy, precision, recall and the counts.
      hyperparameters: what of `config` the Tuner found, for the report.
      make_pipeline: see `prepare_folds`.

    Raises:
      ConfigError, DataError: see `prepare_folds`.
    """
    started = time.monotonic()
    folds = (settings.folds or 1) * settings.repeats
    workers = processes(settings)
    # A fold begins anew, whatever the Trainer continues from.
    model = config.model.model_copy(update={"nthread": threads(workers, config.model.nthread), "warm_start": False})
    every = [pattern for split in patterns.values() for pattern in split]
    results: dict[int, tuple[Fold, FoldResult]] = {}
    prepared = prepare_folds(every, schema, config, settings, folder, make_pipeline)
    for fold, result in fit_all(prepared, fit_fold, (model, threshold), workers):
        results[fold.index] = fold, result
        shutil.rmtree(fold.folder)
        progress.report(len(results), folds, f"fold {fold.index + 1} has auc {result.metrics['auc']:.4f}")
    parts = tuple(_part(*results[i]) for i in sorted(results))
    rows = parts[0].left_out + sum(parts[0].rows.values())
    return collect(
        "lead-scoring",
        settings,
        parts,
        splits=patterns,
        rows=rows,
        seconds=time.monotonic() - started,
        hyperparameters=hyperparameters,
        roc=pooled_roc([result.scores for _, result in results.values()]),
        workers=workers,
    )


def _part(fold: Fold, result: FoldResult) -> FoldReport:
    begin, end = fold.held_out_times or (None, None)
    return FoldReport(
        index=fold.index,
        rows=result.rows,
        positives=result.positives,
        left_out=fold.left_out,
        metrics=result.metrics,
        rounds=result.rounds,
        columns=len(result.columns),
        seconds=round(result.seconds, 3),
        held_out_from=begin,
        held_out_until=end,
    )
