"""What a training of the network has come to, and the file in which a killed one leaves it."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from modules.recommendation.sequences import Sequences
from modules.recommendation.settings import RecommendationSettings

Array = NDArray[Any]

CHECKPOINT = "training.npz"


@dataclass(frozen=True)
class Epoch:
    """What happened in an epoch. Losses are means per answer; NaN where nothing was measured.

    Attributes:
      epoch: 1 for the first.
      seconds: of training, without validation.
      loss: of training, with weights, label smoothing and dropout.
      action_loss: cross entropy of the validation part.
      train_action_loss: the same of as many journeys of the training part, measured in the same way, without dropout.
      accuracy: share of the validation part's actions that are the likeliest one.
      conversion_loss: binary cross entropy of the validation part.
    """

    epoch: int
    seconds: float
    loss: float
    action_loss: float = math.nan
    accuracy: float = math.nan
    conversion_loss: float = math.nan
    train_action_loss: float = math.nan


@dataclass(frozen=True)
class Fitted:
    """How a training went; the network itself holds the weights.

    Attributes:
      epochs: every epoch, in order, without the refit.
      best_epoch: the epoch whose weights were kept, or with `refit` the number of epochs trained again.
      refit: the epochs of the refit.
      seconds: of everything in this process.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    refit: tuple[Epoch, ...] = ()
    seconds: float = 0.0


@dataclass
class State:
    """What a checkpoint holds beside the variables."""

    stage: str = "train"
    done: int = 0
    epochs: tuple[Epoch, ...] = ()
    refit: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    best_loss: float = math.inf
    best: list[Array] = field(default_factory=list)


def fingerprint(settings: RecommendationSettings, train: Sequences, validation: Sequences | None) -> str:
    """Settings that decide the weights, and a digest of the data."""
    found = settings.model_dump(mode="json", exclude={"resume", "policy", "prefetch_buffer"})
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode())
    for part in (train, validation):
        if part is not None:
            digest.update(repr(part.event_codes.shape).encode())
            for values in (part.event_codes, part.next_action, part.length, part.time, part.outcome):
                digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


class Checkpoint:
    """State of a training in one file that is replaced as a whole."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint

    def stage(self) -> str | None:
        """The stage the file belongs to; None without a file, or with one of another training."""
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
        except (OSError, ValueError, KeyError):
            return None
        return about["stage"] if about["fingerprint"] == self.fingerprint else None

    def save(self, state: State, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        about = {
            "fingerprint": self.fingerprint,
            "stage": state.stage,
            "done": state.done,
            "epochs": [asdict(epoch) for epoch in state.epochs],
            "refit": [asdict(epoch) for epoch in state.refit],
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss,
        }
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
        groups: dict[str, list[Any]] = {
            "network": network.variables,
            "optimizer": optimizer.variables,
            "best": state.best,
        }
        for name, values in groups.items():
            arrays |= {f"{name}_{index:05d}": np.array(value) for index, value in enumerate(values)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.stem}.{os.getpid()}.part.npz")
        np.savez(part, **arrays)
        part.replace(self.path)

    def load(self, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> State:
        """The state; variables are set."""
        with np.load(self.path, allow_pickle=False) as file:
            for name, variables in (("network", network.variables), ("optimizer", optimizer.variables)):
                for index, variable in enumerate(variables):
                    variable.assign(file[f"{name}_{index:05d}"])
            best = [file[name] for name in sorted(file.files) if name.startswith("best_")]
        state = self.load_history()
        state.best = best
        return state

    def load_history(self) -> State:
        """The state without the weights."""
        with np.load(self.path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
        rows: Callable[[str], tuple[Epoch, ...]] = lambda name: tuple(Epoch(**row) for row in about[name])  # noqa: E731
        return State(
            stage=about["stage"],
            done=about["done"],
            epochs=rows("epochs"),
            refit=rows("refit"),
            best_epoch=about["best_epoch"],
            best_loss=about["best_loss"],
        )

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
