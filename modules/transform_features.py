"""The columns of the transformed matrix, derived from the feature table.

Transform emits one float32 matrix `features` [n, F] whose width is fixed before any data are seen; this module says
what each of the F columns is. The layout is a block for each family of encoders (modules/encoding/registry.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from modules.analysis import VOCABULARY_FILES
from modules.encoding.columns import FEATURES, LABEL, TARGET_ENCODED, TIME, Encoding, TransformedFeature
from modules.encoding.registry import in_use, learnings
from modules.transform_config import TransformConfig

__all__ = [
    "FEATURES",
    "LABEL",
    "TARGET_ENCODED",
    "TIME",
    "Encoding",
    "TransformedFeature",
    "learned_values",
    "matrix_width",
    "transformed_features",
    "vocabulary_names",
]


def transformed_features(
    config: TransformConfig, vocabularies: Mapping[str, Sequence[str]]
) -> tuple[TransformedFeature, ...]:
    """The columns that can carry information, in order of position.

    Args:
      config: dataset and settings that Transform ran with.
      vocabularies: by name, the learned vocabulary in order of frequency. A vocabulary shorter than its limit leaves
        columns that are always 0; they are left out here, so trees, manifest and memory never meet them.

    Returns:
      One row per useful column; `position` is the index into Transform's `features` axis.
    """
    found = [c for family, rows in in_use(config) for c in family.columns(rows, config, vocabularies)]
    return tuple(replace(column, position=i) for i, column in enumerate(found) if column is not None)


def vocabulary_names(config: TransformConfig) -> list[str]:
    """Names of the vocabularies that Transform learns."""
    return [w.analyzer.name for w in learnings(config) if w.analyzer.key == VOCABULARY_FILES]


def learned_values(config: TransformConfig) -> list[str]:
    """Names of the rows whose columns depend on learned numbers, beyond vocabularies."""
    return list(dict.fromkeys(w.analyzer.name for w in learnings(config) if w.analyzer.key != VOCABULARY_FILES))


def matrix_width(config: TransformConfig) -> int:
    """F, the static width of Transform's `features` output, unused columns included."""
    return sum(len(family.columns(rows, config, {})) for family, rows in in_use(config))
