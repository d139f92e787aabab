"""Where the state of a training outlives a killed run."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modules.kept import KEPT_DAYS, folder_of, prune
from modules.manifest import library_versions
from modules.recommendation.layout import Layout
from modules.recommendation.sequences import Sequences
from modules.recommendation.training_state import Epoch, Fitted
from modules.recommendation.transform_layout import JourneyTransformConfig

CHECKPOINT_DIR = "checkpoint_dir"
"""Key of custom_config: a folder that outlives a killed run."""

__all__ = [
    "CHECKPOINT_DIR", "FINISHED", "KEPT_DAYS", "checkpoint_folder", "fingerprint", "load_finished", "prune",
    "save_finished",
]  # fmt: skip

FINISHED = "finished.npz"


def checkpoint_folder(custom_config: Mapping[str, Any], config: JourneyTransformConfig, layout: Layout) -> Path | None:
    """Where the state of this very training lies: the same for the same data, settings and libraries; or None."""
    parent = custom_config.get(CHECKPOINT_DIR)
    if not parent:
        return None
    deciding = {
        "model": config.model.model_dump(mode="json", exclude={"policy", "resume"}),
        "dataset": config.dataset.model_dump(mode="json"),
        "dataset_version": custom_config.get("dataset_version", ""),
        "layout": layout.model_dump(mode="json"),
        "libraries": library_versions("keras"),
    }
    return folder_of(parent, deciding)


def fingerprint(*parts: Sequences | None) -> str:
    """A digest of journeys: weights learned from others are not taken for those of these."""
    digest = hashlib.sha256()
    for part in parts:
        if part is None:
            digest.update(b"none")
            continue
        digest.update(repr(part.event_codes.shape).encode())
        for values in (part.event_codes, part.lead_codes, part.next_action, part.length, part.time, part.outcome):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def save_finished(folder: Path, data: str, network: keras.Model, fitted: Fitted) -> None:
    """Keeps a network that is trained, for a run that is killed later.

    Args:
      folder: of this network alone.
      data: fingerprint of what it learned from.
      network: whose weights are kept.
      fitted: its training.
    """
    arrays: dict[str, Any] = {
        f"weight_{index:05d}": np.array(value) for index, value in enumerate(network.get_weights())
    }
    arrays["about"] = np.array(json.dumps({"data": data, "fitted": asdict(fitted)}))
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"finished.{os.getpid()}.part.npz"
    np.savez(part, **arrays)
    part.replace(folder / FINISHED)


def load_finished(folder: Path, data: str, network: keras.Model) -> Fitted | None:
    """Sets the weights that save_finished kept and returns their training; None if there are none for these data."""
    try:
        with np.load(folder / FINISHED, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["data"] != data:
                return None
            network.set_weights([file[name] for name in sorted(file.files) if name.startswith("weight_")])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    found = about["fitted"]
    stages = {name: tuple(Epoch(**row) for row in found[name]) for name in ("epochs", "refit")}
    return Fitted(**{**found, **stages})
