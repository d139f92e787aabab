"""From transformed rows to everything that is learned from them: the booster and its calibration.

The Trainer, every fold of cross-validation and every trial of the Tuner learn in this one way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from modules.encoding.columns import TransformedFeature
from modules.lead_scoring import booster as boosters
from modules.lead_scoring import calibration as calibrations
from modules.lead_scoring.calibration import Calibration
from modules.lead_scoring.matrix import Spool
from modules.lead_scoring.selection import Selection, of_base, select
from modules.lead_scoring.settings import LeadScoringSettings
from modules.probability import expected_calibration_error, log_loss
from modules.roc import area_under_roc
from modules.training import Clock


@dataclass(frozen=True)
class Learned:
    """What a lead-scoring model is made of.

    Attributes:
      fitted: the booster and its loss curves.
      features: the columns the booster was fitted to, in its order.
      calibration: margins to probability, interval and score.
      margins: log-odds by split, float32 [n], of every split but train.
      metrics: by split, name and value (logloss, auc, calibration error).
      selection: what was chosen from all columns and why; None when the booster sees all of them.
    """

    fitted: boosters.FittedBooster
    features: tuple[TransformedFeature, ...]
    calibration: Calibration
    margins: dict[str, NDArray[np.float32]]
    metrics: dict[str, dict[str, float]]
    selection: Selection | None = None


def learn(
    spools: Mapping[str, Spool],
    features: Sequence[TransformedFeature],
    settings: LeadScoringSettings,
    *,
    log_dir: Path | None = None,
    base: xgb.Booster | None = None,
    clock: Clock | None = None,
) -> Learned:
    """Chooses columns by train, fits the booster to it, stopped by validation, and calibrates it on calibration.

    Args:
      spools: rows by split: train, calibration, and validation unless all rounds are trained.
      features: the columns of all of them.
      settings: the model's settings.
      log_dir: where TensorBoard finds the loss curves.
      base: booster to continue from; its columns are kept, whatever the settings say about selection.
      clock: told when selecting, fitting and calibrating end.

    Raises:
      ConfigError: see `booster.fit` and `selection.select`.
      DataError: no column is left.
    """
    clock = clock or Clock()
    if base is not None:
        selection = of_base(features, boosters.booster_names(features), base.feature_names or ())
    else:
        selection = select(spools["train"], features, settings)
    if selection is not None:
        kept = set(selection.kept)
        places = [place for place, feature in enumerate(features) if feature.name in kept]
        features = [features[place] for place in places]
        spools = {split: spool.choose(places) for split, spool in spools.items()}
        clock.lap("select")
    fitted = boosters.fit(spools["train"], spools.get("validation"), features, settings, log_dir, base)
    clock.lap("fit")
    margins = {split: fitted.margins(spool) for split, spool in spools.items() if split != "train"}
    calibration = calibrations.fit(margins["calibration"], spools["calibration"].labels, settings.calibration)
    clock.lap("calibrate")
    metrics = {split: metrics_of(calibration, m, spools[split].labels) for split, m in margins.items()}
    return Learned(fitted, tuple(features), calibration, margins, metrics, selection)


def metrics_of(calibration: Calibration, margins: NDArray[np.float32], labels: NDArray[np.float32]) -> dict[str, float]:
    """Log loss, area under the ROC curve and calibration error of margins [n] against labels [n]."""
    p = calibration(margins)["probability"]
    return {
        "logloss": log_loss(p, labels),
        "auc": area_under_roc(p, labels),
        "calibration_error": expected_calibration_error(p, labels),
    }
