"""Cross-validation of the recommendation model: folds by lead, from raw tf.Examples and settings to a report.

A network keeps all cores busy, so folds are trained one after another, in this process.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2

from modules import progress
from modules.analysis import learn
from modules.evaluation import next_action_scores, next_action_statistics
from modules.ingest.split import Shares
from modules.recommendation import baselines as naive
from modules.recommendation.devices import capabilities, plan
from modules.recommendation.ensemble import train
from modules.recommendation.predict import predict
from modules.recommendation.preprocessing import analysis, preprocessing_fn
from modules.recommendation.read import decisions, read_sequences
from modules.recommendation.sequences import Sequences, concatenate
from modules.recommendation.trainer import calibrate
from modules.recommendation.transform_layout import JourneyTransformConfig, layout
from modules.transform_batches import files_of
from modules.transform_graph import write_graph
from modules.validation import folds, records
from modules.validation.beam import in_process
from modules.validation.collect import collect
from modules.validation.report import CrossValidationReport, FoldReport
from modules.validation.settings import NextActionValidationSettings


def cross_validate(
    patterns: Mapping[str, Sequence[str]],
    schema: schema_pb2.Schema,
    config: JourneyTransformConfig,
    settings: NextActionValidationSettings,
    folder: Path,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
) -> CrossValidationReport:
    """Trains a model per fold and measures it on the decisions of the leads that this fold held out.

    Decisions whose action the fold's own training rows do not hold have no answer there and are not measured.

    Args:
      patterns: by split, file patterns of raw tf.Examples: everything but test.
      schema: of the raw tf.Examples.
      config: dataset and settings of the model, those the Tuner found included.
      settings: how the leads are cut; `folds` is not null.
      folder: for files that are gone afterwards.
      hyperparameters: what of `config` the Tuner found, for the report.

    Raises:
      DataError: there are fewer leads than folds, or a part of a fold holds nothing to learn from.
    """
    started = time.monotonic()
    k = settings.folds or 1
    total = k * settings.repeats
    columns = records.KeyColumns(id=config.dataset.id_feature, group=config.dataset.id_feature)
    found = records.scan(files_of([p for split in patterns.values() for p in split]), schema, columns)
    split = config.dataset.split
    validation = (1 - split.test - split.calibration) * config.model.validation_split
    shares = Shares(split.test, split.calibration, validation).without_test()
    parts: list[FoldReport] = []
    for repeat in range(settings.repeats):
        roles = folds.assign(settings, found.keys, folds.Inner(shares.validation, shares.calibration), repeat)
        raw = folder / f"records-{repeat}"
        for j, files in enumerate(records.split(found, roles, raw)):
            index = repeat * k + j
            with progress.within(f"fold {index + 1} of {total}"):
                parts.append(_fold(index, files, schema, config, folder / f"fold-{index}"))
            progress.report(len(parts), total, f"fold {index + 1} has accuracy {parts[-1].metrics['accuracy']:.4f}")
        shutil.rmtree(raw)
    return collect(
        "recommendation",
        settings,
        parts,
        splits=patterns,
        rows=len(found.keys),
        seconds=time.monotonic() - started,
        hyperparameters=hyperparameters,
    )


def _fold(
    index: int,
    files: Mapping[str, Sequence[str]],
    schema: schema_pb2.Schema,
    config: JourneyTransformConfig,
    folder: Path,
) -> FoldReport:
    """Everything from the fold's own rows, as Transform and Trainer do it."""
    started = time.monotonic()
    settings, dataset = config.model, config.dataset
    custom_config = config.to_custom_config()
    progress.report(0, 0, "learning the transformation")
    learned = learn(files["train"], analysis(custom_config), str(folder / "learned"), in_process)
    output = write_graph(preprocessing_fn, {**custom_config, **learned}, schema, folder / "graph")
    found = layout(config, output)
    rows: dict[str, Sequences] = {}
    for part, paths in files.items():
        if not paths:
            continue
        if part in ("train", "validation"):
            rows[part] = read_sequences(paths, output, found, causal=True, folder=folder)
        else:
            rows[part] = decisions(paths, output, found, folder=folder)
    members = train(
        found, settings, plan(settings, capabilities()), rows["train"].with_beginnings(), rows.get("validation")
    )
    networks = [member.network for member in members]
    own = predict(networks, rows["calibration"]) if "calibration" in rows else None
    calibration = calibrate(own, dataset)
    refit = any(member.fitted.refit for member in members)
    seen = concatenate([rows["train"], rows["validation"]]) if refit else rows["train"]
    baselines = naive.learn(seen, len(found.actions), found.length)
    held_out = rows["held_out"]
    answers = predict(networks, held_out, max_logits=len(held_out) * len(found.actions) + 1)
    # The order of `predict`: by length of the history.
    known = np.flatnonzero(held_out.next_action >= 0)
    known = known[np.argsort(held_out.length[known], kind="stable")]
    assert np.array_equal(answers.action, held_out.next_action[known])
    guesses = baselines(held_out.event_codes[known, :, 0], held_out.length[known])
    conversion = calibration.conversion(answers.conversion_logits)
    probabilities = calibration.probabilities(answers.action_logits)
    table = next_action_statistics.rows_of(
        answers.action,
        probabilities,
        np.broadcast_to(conversion[:, None], probabilities.shape),
        answers.outcome if dataset.outcome else np.full(len(known), np.nan),
        held_out.length[known].astype(np.float64),
        np.stack([guesses[name] for name in next_action_statistics.BASELINES], axis=1),
    )
    metrics = next_action_scores.all_metrics(next_action_statistics.build(table))
    report = FoldReport(
        index=index,
        rows={part: len(sequences) for part, sequences in rows.items()},
        metrics=metrics,
        rounds=max(len(member.fitted.epochs) for member in members),
        seconds=round(time.monotonic() - started, 3),
    )
    del rows, held_out
    shutil.rmtree(folder, ignore_errors=True)
    return report
