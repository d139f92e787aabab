"""From raw tf.Examples to folds: every fold learns Transform's analysis from its own training rows, nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2

from modules import progress
from modules.analysis import learn
from modules.dataset import Dataset
from modules.ingest.split import Shares
from modules.lead_scoring.folds import HELD_OUT, Fold
from modules.lead_scoring.spools import spools
from modules.preprocessing import analysis, preprocessing_fn
from modules.transform_batches import files_of
from modules.transform_config import TransformConfig
from modules.transform_features import transformed_features, vocabulary_names
from modules.transform_graph import write_graph
from modules.validation import folds, records
from modules.validation.beam import in_process
from modules.validation.settings import ValidationSettings
from modules.vocabulary import read_vocabularies


def prepare_folds(
    patterns: Sequence[str],
    schema: schema_pb2.Schema,
    config: TransformConfig,
    settings: ValidationSettings,
    folder: Path,
    make_pipeline: Callable[[], beam.Pipeline] | None = None,
) -> Iterator[Fold]:
    """Cuts the rows into folds and transforms each fold by what its own training rows say.

    Args:
      patterns: file patterns of raw tf.Examples: everything but the test split.
      schema: of the raw tf.Examples.
      config: dataset and settings of the model.
      settings: how the rows are cut; `folds` is not null.
      folder: where the folds lie, for as long as they are used.
      make_pipeline: Beam pipeline factory of the analysis pass; in-process when None.

    Yields:
      The folds in order, each as soon as it is ready; `list(...)` keeps them for many trials.

    Raises:
      ConfigError: the settings ask for a column that the examples do not have.
      DataError: there are too few rows for so many folds, or a part of a fold has no rows, or only one class.
    """
    make_pipeline = make_pipeline or in_process
    k = settings.folds or 1
    total = k * settings.repeats
    found = records.scan(files_of(patterns), schema, key_columns(settings, config.dataset))
    shares = Shares.of(config.dataset, config.model.validation_split).without_test()
    inner = folds.Inner(shares.validation, shares.calibration, config.dataset.split.inner == "same")
    for repeat in range(settings.repeats):
        parts = folds.assign(settings, found.keys, inner, repeat)
        raw = folder / f"records-{repeat}"
        for j, files in enumerate(records.split(found, parts, raw)):
            index = repeat * k + j
            times = None
            if settings.method == "time" and found.keys.times is not None:
                held_out = found.keys.times[parts[:, j] == folds.HELD_OUT]
                times = (int(held_out.min()), int(held_out.max()))
            left_out = int(np.count_nonzero(parts[:, j] == folds.LEFT_OUT))
            mine = {part: paths for part, paths in files.items() if paths or part != "validation"}
            with progress.within(f"fold {index + 1} of {total}"):
                fold = _prepare(index, mine, schema, config, folder / f"fold-{index}", make_pipeline, left_out, times)
            yield fold
        shutil.rmtree(raw)


def key_columns(settings: ValidationSettings, dataset: Dataset) -> records.KeyColumns:
    """The columns of the examples that decide the folds."""
    return records.KeyColumns(
        id=dataset.id_feature,
        label=dataset.label_feature if settings.method == "stratified" else None,
        group=settings.group,
        time=dataset.time_feature if settings.method == "time" else None,
    )


def _prepare(
    index: int,
    files: Mapping[str, Sequence[str]],
    schema: schema_pb2.Schema,
    config: TransformConfig,
    folder: Path,
    make_pipeline: Callable[[], beam.Pipeline],
    left_out: int,
    times: tuple[int, int] | None,
) -> Fold:
    custom_config = config.to_custom_config()
    progress.report(0, 0, "learning the transformation")
    learned = learn(files["train"], analysis(custom_config), str(folder / "learned"), make_pipeline)
    output = write_graph(preprocessing_fn, {**custom_config, **learned}, schema, folder / "graph")
    vocabularies = read_vocabularies(output, vocabulary_names(config))
    features = transformed_features(config, vocabularies)
    rows = spools(files, output, features, config, folder)
    for used in ("learned", "graph"):
        shutil.rmtree(folder / used, ignore_errors=True)
    assert HELD_OUT in rows
    return Fold(index, rows, features, folder, left_out, times)
