"""From raw tf.Examples to folds: every fold learns Transform's analysis from its own training rows, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
from tensorflow_metadata.proto.v0 import schema_pb2

from modules.lead_scoring.folds import Fold
from modules.transform_config import TransformConfig
from modules.validation.settings import ValidationSettings


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
      DataError: a part of a fold has no rows, or only one class.
    """
    raise NotImplementedError
