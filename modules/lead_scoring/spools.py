"""The splits as spools: what the Trainer, the folds of cross-validation and the Tuner hand to `learn`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_transform as tft
from numpy.typing import NDArray

from modules import progress
from modules.lead_scoring.matrix import Spool
from modules.transform_batches import TransformedBatches, files_of
from modules.transform_config import TransformConfig
from modules.transform_features import FEATURES, LABEL, TIME, TransformedFeature


def spools(
    patterns: Mapping[str, Sequence[str]],
    output: tft.TFTransformOutput,
    features: Sequence[TransformedFeature],
    config: TransformConfig,
    folder: Path,
) -> dict[str, Spool]:
    """Transforms the files of each split into a spool.

    Args:
      patterns: by split (train, validation, calibration), file patterns of raw or transformed tf.Examples.
      output: the Transform graph.
      features: the columns to keep.
      config: dataset and settings that Transform ran with.
      folder: where the spools lie; one file per split, named like it.

    Raises:
      DataError: no file matches, or a split is empty or has only one class.
    """
    result: dict[str, Spool] = {}
    for done, (split, files) in enumerate(patterns.items()):
        progress.report(done, len(patterns), f"transforming {split}")
        batches = TransformedBatches(files, output, output_columns(output, config), raw=not holds_transformed(files))
        result[split] = spool(split, batches, features, folder)
    return result


def spool(
    split: str, batches: Iterable[Mapping[str, NDArray[Any]]], features: Sequence[TransformedFeature], folder: Path
) -> Spool:
    """Spools one split from transformed batches with the outputs that `output_columns` names, wherever they come from.

    Raises:
      DataError: the split is empty or has only one class.
    """
    return Spool(folder / split, batches, [f.position for f in features]).check(split)


def output_columns(output: tft.TFTransformOutput, config: TransformConfig) -> list[str]:
    """Names of Transform's outputs that a spool is made of."""
    columns = [FEATURES, LABEL]
    if config.model.recency_half_life_days is not None and TIME in output.transformed_feature_spec():
        columns.append(TIME)
    return columns


def holds_transformed(patterns: Sequence[str]) -> bool:
    """Whether the files hold transformed examples: Transform names its outputs, and only those, like that."""
    return any(Path(f).name.startswith("transformed_examples") for f in files_of(patterns)[:1])
