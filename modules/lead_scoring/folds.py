"""One fold of cross-validation, and many of them at a time: fitted to its own rows, measured on those it never saw.

Nothing here imports TensorFlow, so that a process which fits folds starts in a second; what needs TensorFlow is done
before (`modules.lead_scoring.fold_files.prepare_folds`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modules.encoding.columns import TransformedFeature
from modules.evaluation import curves, histogram
from modules.evaluation.histogram import ScoreHistogram
from modules.lead_scoring.learn import learn
from modules.lead_scoring.matrix import Spool
from modules.lead_scoring.settings import LeadScoringSettings

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Fold:
    """The rows of a fold, transformed by what its own training rows say.

    Attributes:
      index: 0 to folds x repeats - 1.
      spools: rows by part: train, validation (none when the model's validation_split is 0), calibration, held_out.
      features: the columns of all of them.
      folder: where its files lie; not needed any more when the fold is not.
      left_out: rows in no part of this fold.
      held_out_times: first and last time held out, seconds since 1970 UTC; None unless the folds follow time.
    """

    index: int
    spools: Mapping[str, Spool]
    features: tuple[TransformedFeature, ...]
    folder: Path
    left_out: int = 0
    held_out_times: tuple[int, int] | None = None


@dataclass(frozen=True)
class FoldResult:
    """What a fold found.

    Attributes:
      index: of the fold.
      metrics: by name (`modules.evaluation.curves.METRICS`), of the rows held out.
      scores: predictions by label of the rows held out.
      rows, positives: by part of the fold.
      rounds: trees in use.
      columns: names of the columns the booster was fitted to.
      booster: the booster as XGBoost's UBJSON; empty unless asked for.
      seconds: time spent on this fold.
    """

    index: int
    metrics: dict[str, float]
    scores: ScoreHistogram
    rows: dict[str, int]
    positives: dict[str, int]
    rounds: int
    columns: tuple[str, ...]
    booster: bytes = b""
    seconds: float = 0.0


def fit_fold(
    fold: Fold, settings: LeadScoringSettings, threshold: float = 0.5, keep_booster: bool = False
) -> FoldResult:
    """Fits booster and calibration to the fold's own rows and measures them on the rows held out.

    Args:
      fold: from `prepare_folds`.
      settings: the model's settings; those that decide what Transform emits must be the ones it was prepared with.
      threshold: decision threshold of accuracy, precision, recall and the counts.
      keep_booster: whether the result carries the booster.
    """
    started = time.monotonic()
    learned = learn({k: s for k, s in fold.spools.items() if k != HELD_OUT}, fold.features, settings)
    held_out = fold.spools[HELD_OUT]
    probability = learned.calibration(learned.margins_of(held_out))["probability"]
    scores = histogram.build(held_out.labels, probability, threshold=threshold)
    return FoldResult(
        index=fold.index,
        metrics=curves.all_metrics(scores),
        scores=scores,
        rows={part: len(spool) for part, spool in fold.spools.items()},
        positives={part: int(spool.labels.sum()) for part, spool in fold.spools.items()},
        rounds=learned.fitted.best_iteration + 1,
        columns=tuple(f.name for f in learned.features),
        booster=bytes(learned.fitted.booster.save_raw("ubj")) if keep_booster else b"",
        seconds=time.monotonic() - started,
    )
