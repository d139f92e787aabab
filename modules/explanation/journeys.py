"""What matters to a recommendation model: shuffled features of leads and shuffled attributes of events."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

from modules.errors import DataError
from modules.explanation.permutation import Metrics, Subject, worsening
from modules.explanation.report import FeatureImportance, ImportanceReport, Level
from modules.explanation.sample import decode, encode, first_values, sample_records
from modules.explanation.settings import ImportanceSettings
from modules.explanation.shuffles import ORDER, shuffle_events, shuffle_rows
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset
from modules.probability import log_loss
from modules.recommendation.manifest import Manifest

TIME = "time"


def journey_importance(
    model_dir: str | Path,
    patterns: Sequence[str],
    dataset: JourneyDataset,
    settings: ImportanceSettings,
    split: str = "test",
) -> ImportanceReport:
    """Asks a served model what matters to it: accuracy and log loss of the next action, log loss of the conversion.

    Decisions whose action the model does not know are left out, and for the conversion those without an outcome.

    Args:
      model_dir: SavedModel of a recommendation model.
      patterns: file patterns of raw tf.Examples of decisions that it was not trained on.
      dataset: the features of leads and of events.
      settings: how much to look at.
      split: what the report calls the examples.

    Raises:
      DataError: no file matches, no decision is left, or the model lacks a signature.
    """
    begin = time.perf_counter()
    records, rows = sample_records(patterns, settings.rows, settings.seed)
    model = tf.saved_model.load(str(model_dir))
    if "distribution" not in model.signatures:
        raise DataError(f"{model_dir} has no signature 'distribution'; expected a recommendation model of this project")
    place: dict[object, int] = {action.encode(): i for i, action in enumerate(Manifest.load(model_dir).layout.actions)}
    batch = decode(records)
    classes = np.array([place.get(action, -1) for action in first_values(batch, names.NEXT_ACTION)], np.int64)
    batch = batch.take(pa.array(np.flatnonzero(classes >= 0)))
    classes = classes[classes >= 0]
    if not len(classes):
        raise DataError(f"the {split} part holds no decision with an action that the model knows; nothing to look at")
    outcome = np.array([-1 if v is None else v for v in first_values(batch, names.OUTCOME)], np.int64)
    known = np.flatnonzero(outcome >= 0)
    ask = model.signatures["distribution"]

    def metrics_of(examples: list[bytes]) -> Metrics:
        answer = {name: value.numpy() for name, value in ask(examples=tf.constant(examples)).items()}
        p = answer["probabilities"]
        every = np.arange(len(p))
        found = {
            "accuracy": float((p.argmax(axis=1) == classes).mean()),
            "log_loss": log_loss(p[every, classes], np.ones(len(p))),
        }
        if dataset.outcome and len(known):
            found["conversion_log_loss"] = log_loss(answer["conversion"][known, classes[known]], outcome[known])
        return found

    described = _described(dataset)
    subjects = [Subject(f"{level}:{name}", functools.partial(_shuffled, level, name)) for level, name, _ in described]
    before = metrics_of(encode(batch))
    lost = worsening(metrics_of, batch, before, subjects, settings.repeats, settings.seed)
    ranked_by = "log_loss"
    order = sorted(range(len(described)), key=lambda i: (-lost[i][ranked_by].mean, subjects[i].name))
    return ImportanceReport(
        model_type="recommendation",
        split=split,
        rows=rows,
        sampled=len(classes),
        repeats=settings.repeats,
        seed=settings.seed,
        metrics=before,
        ranked_by=ranked_by,
        features=tuple(
            FeatureImportance(name=described[i][1], level=described[i][0], group=described[i][2], permutation=lost[i])
            for i in order
        ),
        seconds=round(time.perf_counter() - begin, 3),
    )


def _described(dataset: JourneyDataset) -> list[tuple[Level, str, str]]:
    """Level, name and group of everything that is shuffled."""
    leads: list[tuple[Level, str, str]] = [("lead", f.name, f.group) for f in dataset.features]
    attributes = [names.ACTION, *(f.name for f in dataset.events.features), TIME, ORDER]
    return [*leads, *(("event", name, "event") for name in attributes)]


def _shuffled(level: Level, name: str, batch: pa.RecordBatch, random: np.random.Generator) -> pa.RecordBatch:
    return shuffle_rows(batch, name, random) if level == "lead" else shuffle_events(batch, name, random)
