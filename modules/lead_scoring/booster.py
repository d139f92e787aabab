"""Fits the XGBoost booster: early stopping, class and recency weights, monotone constraints, refit, warm start."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from modules import progress
from modules.encoding.columns import TransformedFeature
from modules.errors import ConfigError
from modules.lead_scoring.matrix import Spool, SpoolIter, recency_weights
from modules.lead_scoring.settings import LeadScoringSettings

REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class FittedBooster:
    """A booster cut to the rounds that are used.

    Attributes:
      booster: trees of rounds 0 to best_iteration only.
      best_iteration: last round in use, counted from 0; with a warm start the base booster's rounds come first.
      curves: by data set and metric, one value per round fitted.
      seconds: time spent fitting.
    """

    booster: xgb.Booster
    best_iteration: int
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    seconds: float = 0.0

    def margins(self, spool: Spool) -> NDArray[np.float32]:
        """Log-odds of every row, float32 [n]; the trees' and what they start from."""
        parts = [self.booster.inplace_predict(batch, predict_type="margin") for batch in spool]
        margins = np.concatenate([np.zeros(0, np.float32), *parts]).astype(np.float32)
        return margins if spool.offset is None else margins + spool.offset


def fit(
    train: Spool,
    validation: Spool | None,
    features: Sequence[TransformedFeature],
    settings: LeadScoringSettings,
    log_dir: Path | None = None,
    base: xgb.Booster | None = None,
) -> FittedBooster:
    """Trains on one split and stops early on another.

    Args:
      train: rows the trees are fitted to.
      validation: rows that stop training; None trains all rounds.
      features: the columns of both.
      settings: the model's settings.
      log_dir: where TensorBoard finds the loss curves, `train` and `validation`.
      base: booster to continue from.

    Raises:
      ConfigError: early stopping, refit or recency weights are asked for without what they need.
    """
    started = time.monotonic()
    if settings.early_stopping_rounds is not None and validation is None:
        raise ConfigError(
            "early_stopping_rounds needs a validation split; set validation_split above 0 or "
            "early_stopping_rounds to null"
        )
    names = booster_names(features)
    spools = [train]
    dtrain = _matrix(spools, names, settings)
    evals = [(dtrain, "train")]
    if validation is not None:
        it = SpoolIter([validation], None, names)
        evals.append((_quantile_matrix(it, settings, ref=dtrain), "validation"))
    parameters = parameters_of(settings, features, train)
    done = base.num_boosted_rounds() if base is not None else 0
    curves: dict[str, dict[str, list[float]]] = {}
    callbacks: list[xgb.callback.TrainingCallback] = [Report(settings.num_rounds, done)]
    if log_dir is not None:
        callbacks.append(TensorBoard(log_dir))
    booster = xgb.train(
        parameters,
        dtrain,
        num_boost_round=settings.num_rounds,
        evals=evals,
        early_stopping_rounds=settings.early_stopping_rounds,
        evals_result=curves,
        verbose_eval=False,
        xgb_model=base,
        callbacks=callbacks,
    )
    last = booster.best_iteration if settings.early_stopping_rounds is not None else booster.num_boosted_rounds() - 1
    if settings.refit and validation is not None and last + 1 > done:
        del dtrain, evals
        booster = _again([train, validation], names, settings, parameters, last + 1 - done, base)
    booster = _cut(booster, last)
    return FittedBooster(booster, last, curves, time.monotonic() - started)


def refit(
    fitted: FittedBooster,
    spools: Sequence[Spool],
    features: Sequence[TransformedFeature],
    settings: LeadScoringSettings,
) -> FittedBooster:
    """The same number of rounds on the rows of all these splits; curves and best round stay those of the first fit."""
    started = time.monotonic()
    rounds = fitted.best_iteration + 1
    parameters = parameters_of(settings, features, spools[0])
    booster = _again(spools, booster_names(features), settings, parameters, rounds, None)
    seconds = fitted.seconds + time.monotonic() - started
    return FittedBooster(_cut(booster, fitted.best_iteration), fitted.best_iteration, fitted.curves, seconds)


def _again(
    spools: Sequence[Spool],
    names: Sequence[str],
    settings: LeadScoringSettings,
    parameters: dict[str, Any],
    rounds: int,
    base: xgb.Booster | None,
) -> xgb.Booster:
    rows = _matrix(spools, names, settings)
    return xgb.train(parameters, rows, num_boost_round=rounds, xgb_model=base, callbacks=[Report(rounds, 0)])


def _cut(booster: xgb.Booster, last: int) -> xgb.Booster:
    booster = booster[: last + 1]
    booster.set_attr(best_iteration=str(last), best_score=None)
    return booster


def parameters_of(
    settings: LeadScoringSettings, features: Sequence[TransformedFeature], train: Spool
) -> dict[str, Any]:
    """XGBoost's parameters; a metric early stopping watches comes last, as XGBoost expects."""
    positives = float(train.labels.sum())
    weight = settings.scale_pos_weight
    parameters: dict[str, Any] = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "device": "cpu",
        "eval_metric": ["logloss"] + ([settings.eval_metric] if settings.eval_metric != "logloss" else []),
        "scale_pos_weight": (len(train) - positives) / positives if weight == "balanced" else weight,
        "monotone_constraints": "(" + ",".join(str(f.monotone) for f in features) + ")",
        "verbosity": 0,
        **{
            name: getattr(settings, name)
            for name in (
                "learning_rate",
                "max_depth",
                "min_child_weight",
                "subsample",
                "colsample_bytree",
                "colsample_bylevel",
                "reg_lambda",
                "reg_alpha",
                "gamma",
                "max_bin",
                "max_leaves",
                "grow_policy",
                "seed",
            )
        },
    }
    if train.offset is not None:
        # Rows bring their own start; the one of rows that bring none, in prediction, has to be 0.
        parameters["base_score"] = 0.5
    if not any(f.monotone for f in features):
        del parameters["monotone_constraints"]
    if settings.nthread is not None:
        parameters["nthread"] = settings.nthread
    return parameters


def booster_names(features: Sequence[TransformedFeature]) -> list[str]:
    """Names XGBoost accepts: it refuses brackets and `<`, and wants each once."""
    names: list[str] = []
    taken: set[str] = set()
    for feature in features:
        name = feature.name.translate(str.maketrans("[]<", "()_"))
        if name in taken:
            name = f"{name}~{feature.position}"
        taken.add(name)
        names.append(name)
    return names


def importances(booster: xgb.Booster, features: Sequence[TransformedFeature]) -> dict[str, list[dict[str, Any]]]:
    """Gain and cover of every column and of every raw feature.

    Returns:
      `columns`: name, source, splits, gain and cover (means over the splits), largest total gain first.
      `features`: name, splits, and total_gain_share, 0-1, summed over the columns of a raw feature; the gain of a
        column made of two is shared equally.
    """
    kinds = ("weight", "gain", "cover", "total_gain")
    found = {kind: booster.get_score(importance_type=kind) for kind in kinds}
    columns: list[dict[str, Any]] = [
        {
            "name": feature.name,
            "source": feature.source,
            "raw": list(feature.raw),
            "splits": int(found["weight"].get(name, 0)),
            "gain": float(found["gain"].get(name, 0.0)),
            "cover": float(found["cover"].get(name, 0.0)),
            "total_gain": float(found["total_gain"].get(name, 0.0)),
        }
        for feature, name in zip(features, booster_names(features), strict=True)
    ]
    total = sum(c["total_gain"] for c in columns) or 1.0
    by_source: dict[str, dict[str, Any]] = {}
    for column in columns:
        for name in column["raw"]:
            row = by_source.setdefault(name, {"name": name, "splits": 0, "total_gain_share": 0.0})
            row["splits"] += column["splits"]
            row["total_gain_share"] += column["total_gain"] / total / len(column["raw"])
    return {
        "columns": sorted(columns, key=lambda c: -c["total_gain"]),
        "features": sorted(by_source.values(), key=lambda f: -f["total_gain_share"]),
    }


class Report(xgb.callback.TrainingCallback):
    """Tells modules/progress.py about finished rounds, a few times a second."""

    def __init__(self, total: int, first: int) -> None:
        self._total = total
        self._first = first
        self._last = 0.0
        super().__init__()

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, Any]]) -> bool:
        now, done = time.monotonic(), epoch + 1 - self._first
        if done == self._total or now - self._last > REPORT_SECONDS:
            self._last = now
            text = f"round {done}"
            for metric, values in evals_log.get("validation", {}).items():
                text = f"round {done}, validation {metric} {values[-1]:.4f}"
            progress.report(done, self._total, text)
        return False


class TensorBoard(xgb.callback.TrainingCallback):
    """Writes every metric of every round as a TensorBoard scalar, one run per data set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}
        super().__init__()

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, Any]]) -> bool:
        # Processes that only fit start faster without TensorFlow.
        import tensorflow as tf

        for data, metrics in evals_log.items():
            if data not in self._writers:
                self._writers[data] = tf.summary.create_file_writer(str(self._folder / data))
            with self._writers[data].as_default(step=epoch):
                for metric, values in metrics.items():
                    tf.summary.scalar(metric, values[-1])
        return False

    def after_training(self, model: Any) -> Any:
        for writer in self._writers.values():
            writer.close()
        return model


def row_weights(spools: Sequence[Spool], settings: LeadScoringSettings) -> list[NDArray[np.float32]] | None:
    """Weights of the rows of each spool, by recency, with a mean of 1 over all of them; None where all weigh 1.

    Raises:
      ConfigError: recency weights are asked for without a time column.
    """
    if settings.recency_half_life_days is None:
        return None
    times = np.concatenate([s.times for s in spools])
    if len(times) != sum(map(len, spools)):
        raise ConfigError("recency_half_life_days needs a dataset with a time column (`time` in the dataset file)")
    ends = np.cumsum([len(s) for s in spools])[:-1]
    return np.split(recency_weights(times, settings.recency_half_life_days), ends)


def _matrix(spools: Sequence[Spool], names: Sequence[str], settings: LeadScoringSettings) -> xgb.QuantileDMatrix:
    return _quantile_matrix(SpoolIter(spools, row_weights(spools, settings), names), settings)


def _quantile_matrix(
    it: SpoolIter, settings: LeadScoringSettings, ref: xgb.QuantileDMatrix | None = None
) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(it, ref=ref, max_bin=settings.max_bin, nthread=settings.nthread)
