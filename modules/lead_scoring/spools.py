"""The splits as spools: what the Trainer, the folds of cross-validation and the Tuner hand to `learn`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_transform as tft
from numpy.typing import NDArray

from modules import progress
from modules.encoding import target
from modules.encoding.columns import FEATURES, LABEL, TARGET_ENCODED, TIME, TransformedFeature
from modules.lead_scoring.matrix import Spool
from modules.transform_batches import TransformedBatches, files_of
from modules.transform_config import TransformConfig


def spools(
    patterns: Mapping[str, Sequence[str]],
    output: tft.TFTransformOutput,
    features: Sequence[TransformedFeature],
    config: TransformConfig,
    folder: Path,
) -> dict[str, Spool]:
    """Transforms the files of each split into a spool.

    Target-encoded columns of split train hold what was learned without a row's own fold; those of all other splits
    what is served.

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
        columns, encoded = output_columns(output, config), target.rows(config) if split == "train" else ()
        if encoded:
            columns.append(TARGET_ENCODED)
        batches: Iterable[Mapping[str, NDArray[Any]]] = TransformedBatches(
            files, output, columns, raw=not holds_transformed(files)
        )
        if encoded:
            batches = out_of_fold(batches, features, [row.name for row in encoded])
        result[split] = spool(split, batches, features, folder)
    return result


def out_of_fold(
    batches: Iterable[Mapping[str, NDArray[Any]]], features: Sequence[TransformedFeature], names: Sequence[str]
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Batches of training rows whose target-encoded columns do not know the row's own label.

    Args:
      batches: with `features` float32 [rows, F] and `target_encoded` float32 [rows, T].
      features: columns of `features`.
      names: rows of the feature table, one for each column of `target_encoded`.
    """
    encoded = [f for f in features if f.encoding == "target"]
    to, of = [f.position for f in encoded], [names.index(f.source) for f in encoded]
    for batch in batches:
        matrix = np.array(batch[FEATURES])
        matrix[:, to] = batch[TARGET_ENCODED][:, of]
        yield {**batch, FEATURES: matrix}


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
