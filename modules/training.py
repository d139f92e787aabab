"""What the `run_fn` of every model needs: what TFX hands over, files by split, seconds by stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from modules.errors import DataError


class FnArgs(Protocol):
    """The part of tfx.components.trainer.fn_args_utils.FnArgs that is read here."""

    train_files: Sequence[str]
    eval_files: Sequence[str]
    transform_graph_path: str
    serving_model_dir: str
    model_run_dir: str | None
    base_model: str | None
    hyperparameters: Mapping[str, Any] | None
    custom_config: Mapping[str, Any]


def split_patterns(train_files: Sequence[str], eval_files: Sequence[str]) -> dict[str, list[str]]:
    """File patterns by split: train, validation if there, calibration.

    Raises:
      DataError: the calibration split is not among the evaluation files.
    """
    found: dict[str, list[str]] = {"train": list(train_files)}
    for split in ("validation", "calibration"):
        patterns = [p for p in eval_files if f"Split-{split}" in Path(p).parts]
        if patterns:
            found[split] = patterns
    if "calibration" not in found:
        raise DataError(
            "the Trainer needs the calibration split: eval_args=EvalArgs(splits=['validation', 'calibration']); "
            f"received {', '.join(eval_files) or 'no evaluation files'}"
        )
    return found


class Clock:
    """Seconds by stage; a stage ends when its lap is called."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
