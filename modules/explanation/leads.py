"""What matters to a lead-scoring model: shuffled features, contributions, and the trees' gain."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from modules.dataset import Dataset
from modules.errors import DataError
from modules.explanation.permutation import Metrics, Subject, worsening
from modules.explanation.report import FeatureImportance, FeatureSample, ImportanceReport
from modules.explanation.sample import decode, first_values, sample_records
from modules.explanation.settings import ImportanceSettings
from modules.explanation.shuffles import shuffle_rows
from modules.features import Feature, Kind
from modules.lead_scoring.manifest import IMPORTANCE
from modules.manifest import EXTRA
from modules.probability import log_loss
from modules.roc import area_under_roc

SIGNATURES = ("serving_default", "explain")


def lead_importance(
    model_dir: str | Path, patterns: Sequence[str], dataset: Dataset, settings: ImportanceSettings, split: str = "test"
) -> ImportanceReport:
    """Asks a served model what matters to it.

    Args:
      model_dir: SavedModel of a lead-scoring model.
      patterns: file patterns of raw tf.Examples that it was not trained on.
      dataset: the features and the label.
      settings: how much to look at.
      split: what the report calls the examples.

    Raises:
      DataError: no file matches, the split is empty, or the model lacks a signature.
    """
    begin = time.perf_counter()
    records, rows = sample_records(patterns, settings.rows, settings.seed)
    if not records:
        raise DataError(f"the {split} part holds no leads to look at; expected at least one")
    model = tf.saved_model.load(str(model_dir))
    for name in SIGNATURES:
        if name not in model.signatures:
            raise DataError(f"{model_dir} has no signature {name!r}; expected a lead-scoring model of this project")
    batch = decode(records)
    label = np.array(first_values(batch, dataset.label_feature), np.float64)
    score = model.signatures["serving_default"]

    def metrics_of(examples: list[bytes]) -> Metrics:
        p = score(examples=tf.constant(examples))["probability"].numpy()
        return {"auc": area_under_roc(p, label), "log_loss": log_loss(p, label)}

    # Without leads of both kinds there is no area under the curve.
    before = {name: value for name, value in metrics_of(records).items() if np.isfinite(value)}
    features = tuple(dataset.table)
    subjects = [Subject(f.name, functools.partial(_shuffled, f.name)) for f in features]
    lost = worsening(metrics_of, batch, before, subjects, settings.repeats, settings.seed)

    answer = {k: v.numpy() for k, v in model.signatures["explain"](examples=tf.constant(records)).items()}
    contributions = _by_feature(answer, [f.name for f in features])
    gains = _gains(Path(model_dir))
    ranked_by = "auc" if "auc" in before else "log_loss"
    order = sorted(range(len(features)), key=lambda i: (-lost[i][ranked_by].mean, features[i].name))
    shown = slice(0, min(settings.sample, len(records)))
    return ImportanceReport(
        model_type="lead-scoring",
        split=split,
        rows=rows,
        sampled=len(records),
        repeats=settings.repeats,
        seed=settings.seed,
        metrics=before,
        ranked_by=ranked_by,
        features=tuple(
            FeatureImportance(
                name=features[i].name,
                group=features[i].group,
                permutation=lost[i],
                mean_absolute_contribution=float(np.abs(contributions[:, i]).mean()),
                gain_share=gains.get(features[i].name, {}).get("total_gain_share", 0.0),
                splits=gains.get(features[i].name, {}).get("splits", 0),
            )
            for i in order
        ),
        sample=tuple(
            FeatureSample(
                feature=features[i].name,
                values=_plotted(features[i], batch.slice(0, shown.stop)),
                contributions=tuple(_short(v) for v in contributions[shown, i]),
            )
            for i in order
        ),
        margins=tuple(_short(v) for v in answer["margin"][shown]),
        bias=float(answer["bias"][0]),
        seconds=round(time.perf_counter() - begin, 3),
    )


def _shuffled(name: str, batch: pa.RecordBatch, random: np.random.Generator) -> pa.RecordBatch:
    return shuffle_rows(batch, name, random)


def _by_feature(answer: dict[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Contributions in the order of the names: float32 [n, k]."""
    words = np.array([name.encode() for name in names], object)
    order = np.argsort(words)
    where = order[np.searchsorted(words[order], answer["feature"])]
    found = np.zeros_like(answer["contribution"])
    np.put_along_axis(found, where, answer["contribution"], axis=1)
    return found


def _gains(model_dir: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((model_dir / EXTRA / IMPORTANCE).read_text())
    return {row["name"]: row for row in found["features"]}


def _plotted(feature: Feature, batch: pa.RecordBatch) -> tuple[float | str | None, ...]:
    """Values to plot: numbers, words, dates as they are written; of a text only its number of words is shown."""
    values = first_values(batch, feature.name)
    if feature.kind is Kind.NUMERIC:
        return tuple(_short(float(v)) if v is not None and np.isfinite(v) else None for v in values)
    texts = [v.decode(errors="replace") if isinstance(v, bytes) and v else None for v in values]
    if feature.kind is Kind.TEXT:
        return tuple(None if text is None else float(len(text.split())) for text in texts)
    return tuple(texts)


def _short(value: float) -> float:
    """Six digits: enough for a plot, and half the file."""
    return float(f"{value:.6g}")
