"""The columns of the transformed matrix, derived from the feature table.

Transform emits one float32 matrix `features` [n, F] whose width is fixed before any data are seen; this module says
what each of the F columns is. The layout is: numeric features, then categorical ones, then text, each in table order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modules.features import Feature, Kind
from modules.transform_config import TransformConfig

FEATURES = "features"
"""Name of the float32 [n, F] output of Transform."""

LABEL = "label"
"""Name of the int64 [n] label output of Transform."""

TIME = "time"
"""Name of the int64 [n] output of Transform that holds seconds since 1970 UTC, for datasets with a time column."""

Encoding = Literal["numeric", "index", "one_hot", "out_of_vocabulary", "word", "word_count"]


@dataclass(frozen=True)
class TransformedFeature:
    """One column of the transformed matrix.

    Attributes:
      name: unique; `age`, `job`, `job=admin`, `job=?` (out of vocabulary), `message:price`, `message#words`.
      source: name of the raw feature it comes from.
      encoding: how it was made.
      position: column in Transform's `features` output.
      rank: of one_hot and word, the line of the vocabulary file it stands for; -1 otherwise.
      monotone: -1, 0 or 1, the constraint of the trees.
    """

    name: str
    source: str
    encoding: Encoding
    position: int
    rank: int = -1
    monotone: int = 0


def one_hot_width(feature: Feature, config: TransformConfig) -> int:
    """Number of categories that get an indicator of their own; one more column stands for all others."""
    return min(feature.top_k, config.model.max_one_hot)


def vocabulary_size(feature: Feature, config: TransformConfig) -> int:
    """Largest vocabulary Transform learns for a feature; 0 for numeric ones."""
    if feature.kind is Kind.NUMERIC:
        return 0
    if feature.kind is Kind.TEXT:
        return min(feature.top_k, config.model.text_words)
    return one_hot_width(feature, config) if config.model.categorical == "one_hot" else feature.top_k


def transformed_features(
    config: TransformConfig, vocabularies: Mapping[str, Sequence[str]]
) -> tuple[TransformedFeature, ...]:
    """The columns that can carry information, in order of position.

    Args:
      config: dataset and settings that Transform ran with.
      vocabularies: by raw feature, the learned vocabulary in order of frequency. A vocabulary shorter than its limit
        leaves columns that are always 0; they are left out here, so trees, manifest and memory never meet them.

    Returns:
      One row per useful column; `position` is the index into Transform's `features` axis.
    """
    rows: list[TransformedFeature] = []
    position = 0

    def add(name: str, feature: Feature, encoding: Encoding, rank: int = -1, monotone: int = 0, skip: int = 0) -> None:
        nonlocal position
        position += skip
        rows.append(TransformedFeature(name, feature.name, encoding, position, rank, monotone))
        position += 1

    table = config.dataset.table
    for feature in table.of_kind(Kind.NUMERIC):
        add(feature.name, feature, "numeric", monotone=feature.monotone)
    for feature in table.of_kind(Kind.CATEGORICAL):
        if config.model.categorical == "index":
            add(feature.name, feature, "index")
            continue
        width = one_hot_width(feature, config)
        words = list(vocabularies.get(feature.name, ()))[:width]
        for rank, word in enumerate(words):
            add(f"{feature.name}={word}", feature, "one_hot", rank)
        add(f"{feature.name}=?", feature, "out_of_vocabulary", skip=width - len(words))
    for feature in table.of_kind(Kind.TEXT):
        width = vocabulary_size(feature, config)
        words = list(vocabularies.get(feature.name, ()))[:width]
        for rank, word in enumerate(words):
            add(f"{feature.name}:{word}", feature, "word", rank)
        add(f"{feature.name}#words", feature, "word_count", skip=width - len(words))
    return tuple(rows)


def matrix_width(config: TransformConfig) -> int:
    """F, the static width of Transform's `features` output, unused columns included."""
    width = 0
    for feature in config.dataset.table:
        if feature.kind is Kind.NUMERIC:
            width += 1
        elif feature.kind is Kind.TEXT:
            width += vocabulary_size(feature, config) + 1
        else:
            width += 1 if config.model.categorical == "index" else one_hot_width(feature, config) + 1
    return width
