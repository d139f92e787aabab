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
from modules.errors import ConfigError
from modules.lead_scoring import booster as boosters
from modules.lead_scoring import calibration as calibrations
from modules.lead_scoring import linear
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
      linear: the term that the trees start from; None when they start from nothing.
      places: of `features` among the columns that were learned from.
      linear_places: of the linear term's columns among them.
    """

    fitted: boosters.FittedBooster
    features: tuple[TransformedFeature, ...]
    calibration: Calibration
    margins: dict[str, NDArray[np.float32]]
    metrics: dict[str, dict[str, float]]
    selection: Selection | None
    linear: linear.LinearTerm | None
    places: tuple[int, ...]
    linear_places: tuple[int, ...]

    def margins_of(self, spool: Spool) -> NDArray[np.float32]:
        """Log-odds, float32 [n], of rows with the columns that were learned from."""
        return self.fitted.margins(_started(spool, self.linear, self.linear_places).choose(self.places))


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
    kept = {feature.name for feature in features} if selection is None else set(selection.kept)
    if selection is not None:
        clock.lap("select")
    places = [p for p, f in enumerate(features) if f.name in kept and f.terms != "linear"]
    linear_places = [p for p, f in enumerate(features) if f.name in kept and f.terms != "trees"]
    columns = [features[place] for place in places]
    if not columns:
        raise ConfigError("no column is left for the trees: give at least one feature the terms 'both' or 'trees'")

    def begin(*splits: str) -> tuple[linear.LinearTerm | None, dict[str, Spool]]:
        """The linear term of these splits, and every split as the trees see it."""
        term = _linear_term([spools[split] for split in splits], features, linear_places, settings)
        return term, {split: _started(s, term, linear_places).choose(places) for split, s in spools.items()}

    term, seen = begin("train")
    fitted = boosters.fit(seen["train"], seen.get("validation"), columns, settings, log_dir, base)
    clock.lap("fit")
    margins = {split: fitted.margins(spool) for split, spool in seen.items() if split != "train"}
    calibration = calibrations.fit(margins["calibration"], spools["calibration"].labels, settings.calibration)
    clock.lap("calibrate")
    metrics = {split: metrics_of(calibration, m, spools[split].labels) for split, m in margins.items()}
    if settings.refit == "all":
        term, seen = begin(*spools)
        fitted = boosters.refit(fitted, list(seen.values()), columns, settings)
        clock.lap("refit")
    return Learned(
        fitted,
        tuple(columns),
        calibration,
        margins,
        metrics,
        selection,
        term,
        tuple(places),
        tuple(linear_places) if term is not None else (),
    )


def _linear_term(
    spools: Sequence[Spool],
    features: Sequence[TransformedFeature],
    places: Sequence[int],
    settings: LeadScoringSettings,
) -> linear.LinearTerm | None:
    if settings.linear is None:
        return None
    if not places:
        raise ConfigError("model.linear has no column: give at least one feature the terms 'both' or 'linear'")
    chosen = [spool.choose(places) for spool in spools]
    weights = boosters.row_weights(spools, settings)
    return linear.fit(chosen, [features[place] for place in places], settings.linear, weights)


def _started(spool: Spool, term: linear.LinearTerm | None, places: Sequence[int]) -> Spool:
    """The rows with the log-odds of the linear term, which the trees start from."""
    if term is None:
        return spool
    margins = [term.margins(batch) for batch in spool.choose(places)]
    return spool.starting_at(np.concatenate([np.zeros(0, np.float32), *margins]))


def metrics_of(calibration: Calibration, margins: NDArray[np.float32], labels: NDArray[np.float32]) -> dict[str, float]:
    """Log loss, area under the ROC curve and calibration error of margins [n] against labels [n]."""
    p = calibration(margins)["probability"]
    return {
        "logloss": log_loss(p, labels),
        "auc": area_under_roc(p, labels),
        "calibration_error": expected_calibration_error(p, labels),
    }
