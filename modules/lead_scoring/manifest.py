"""What a lead-scoring model says about itself, and the files that travel with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from modules import manifest
from modules.encoding.columns import TransformedFeature
from modules.features import Feature

BOOSTER, IMPORTANCE, CALIBRATION = "booster.ubj", "importance.json", "calibration.json"


class Column(BaseModel):
    """A column of the transformed matrix; see modules/transform_features.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    source: str
    encoding: str
    position: int
    monotone: int
    raw: tuple[str, ...]


class Manifest(manifest.Manifest):
    """The facts of one training run.

    Attributes:
      metrics: by split, name and value (logloss, auc, calibration error).
      best_iteration: last boosting round in use, counted from 0.
      columns_hash: of columns and vocabularies together; only equal ones can continue from this booster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    best_iteration: int
    rounds_fitted: int
    warm_start: bool
    features: tuple[str, ...]
    columns: tuple[Column, ...]
    columns_hash: str


def columns_of(features: Sequence[TransformedFeature]) -> tuple[Column, ...]:
    """The columns as the manifest records them."""
    return tuple(
        Column(name=f.name, source=f.source, encoding=f.encoding, position=f.position, monotone=f.monotone, raw=f.raw)
        for f in features
    )


def columns_hash(
    features: Sequence[TransformedFeature], vocabularies: Mapping[str, Sequence[str]], rows: Iterable[Feature] = ()
) -> str:
    """SHA-256 of everything that gives a column its meaning: its name, how it is made, and the vocabularies.

    Args:
      features: the columns.
      vocabularies: by name.
      rows: the rows of the feature table behind them, for their options.
    """
    content: dict[str, Any] = {
        "columns": [c.model_dump() for c in columns_of(features)],
        "vocabularies": {k: list(v) for k, v in sorted(vocabularies.items())},
    }
    options = {row.name: row.encoding_options() for row in rows}
    if any(options.values()):
        content["options"] = options
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
