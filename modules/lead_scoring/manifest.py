"""What a model version says about itself: assets.extra/manifest.json beside the SavedModel."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from modules.errors import ConfigError
from modules.transform_features import TransformedFeature

EXTRA = "assets.extra"
MANIFEST, BOOSTER, IMPORTANCE, CALIBRATION = "manifest.json", "booster.ubj", "importance.json", "calibration.json"
LIBRARIES = ("tensorflow", "tensorflow-transform", "tfx", "xgboost", "numpy", "apache-beam")


class Column(BaseModel):
    """A column of the transformed matrix; see modules/transform_features.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    source: str
    encoding: str
    position: int
    monotone: int


class Manifest(BaseModel):
    """The facts of one training run.

    Attributes:
      trained_at: UTC, ISO 8601.
      configuration: the effective configuration; `configuration_hash` is its hash.
      rows: number of rows by split.
      metrics: by split, name and value (logloss, auc, calibration error).
      best_iteration: last boosting round in use, counted from 0.
      columns_hash: of columns and vocabularies together; only equal ones can continue from this booster.
      seconds: time spent by stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    model_type: str
    trained_at: dt.datetime
    configuration: dict[str, Any]
    configuration_hash: str
    dataset: str
    dataset_version: str
    rows: dict[str, int]
    metrics: dict[str, dict[str, float]]
    best_iteration: int
    rounds_fitted: int
    warm_start: bool
    features: tuple[str, ...]
    columns: tuple[Column, ...]
    columns_hash: str
    libraries: dict[str, str]
    seconds: dict[str, float]

    @classmethod
    def load(cls, model_dir: str | Path) -> Manifest:
        """Reads the manifest of a SavedModel.

        Raises:
          ConfigError: the model carries none.
        """
        path = Path(model_dir) / EXTRA / MANIFEST
        if not path.is_file():
            raise ConfigError(f"{model_dir} has no {EXTRA}/{MANIFEST}; it is not a model of this project")
        return cls.model_validate_json(path.read_text())


def columns_of(features: Sequence[TransformedFeature]) -> tuple[Column, ...]:
    """The columns as the manifest records them."""
    return tuple(
        Column(name=f.name, source=f.source, encoding=f.encoding, position=f.position, monotone=f.monotone)
        for f in features
    )


def columns_hash(features: Sequence[TransformedFeature], vocabularies: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 of everything that gives a column its meaning: its name, how it is made, and the vocabularies."""
    content = {
        "columns": [c.model_dump() for c in columns_of(features)],
        "vocabularies": {k: list(v) for k, v in sorted(vocabularies.items())},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that decide what a model computes."""
    return {name: metadata.version(name) for name in LIBRARIES}
