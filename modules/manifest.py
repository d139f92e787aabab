"""What a model version says about itself: assets.extra/manifest.json beside the SavedModel."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from modules.errors import ConfigError

EXTRA = "assets.extra"
MANIFEST = "manifest.json"
LIBRARIES = ("tensorflow", "tensorflow-transform", "tfx", "numpy", "apache-beam")


class Manifest(BaseModel):
    """The facts of one training run that every model records; what a model adds is ignored here.

    Attributes:
      trained_at: UTC, ISO 8601.
      configuration: the configuration of the run; `configuration_hash` is its hash.
      settings: the model's settings in effect: as configured, with those of the Tuner laid over.
      tuned: what the Tuner found, by setting.
      rows: number of rows by split.
      metrics: by split, name and value.
      seconds: time spent by stage.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())
    model_type: str
    trained_at: dt.datetime
    configuration: dict[str, Any]
    configuration_hash: str
    dataset: str
    dataset_version: str
    rows: dict[str, int]
    metrics: dict[str, dict[str, float]]
    libraries: dict[str, str]
    seconds: dict[str, float]
    settings: dict[str, Any] = {}
    tuned: dict[str, Any] = {}

    @classmethod
    def load(cls, model_dir: str | Path) -> Self:
        """Reads the manifest of a SavedModel.

        Raises:
          ConfigError: the model carries none.
        """
        path = Path(model_dir) / EXTRA / MANIFEST
        if not path.is_file():
            raise ConfigError(f"{model_dir} has no {EXTRA}/{MANIFEST}; it is not a model of this project")
        return cls.model_validate_json(path.read_text())


def run_facts(custom_config: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """The fields of a manifest that say which run this is; `model_type` where the run does not name one."""
    return {
        "model_type": custom_config.get("model_type", model_type),
        "trained_at": dt.datetime.now(dt.UTC),
        "configuration": json.loads(custom_config.get("configuration", "{}")),
        "configuration_hash": custom_config.get("configuration_hash", ""),
        "dataset_version": custom_config.get("dataset_version", ""),
    }


def library_versions(*more: str) -> dict[str, str]:
    """Installed versions of the libraries that decide what a model computes: LIBRARIES and these."""
    return {name: metadata.version(name) for name in (*LIBRARIES, *more)}
