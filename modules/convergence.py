"""How a training went: loss curves in one form for both models, and what can be found in them.

assets.extra/curves.json holds the curves. modules/curve_findings.py reads them, modules/sample_size.py asks whether the
parts are large enough for what is decided on them; both give findings, which say with numbers what was seen and name
the settings to change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from modules.errors import ConfigError
from modules.manifest import EXTRA

CURVES = "curves.json"
FROZEN = ConfigDict(frozen=True, extra="forbid")
HIGHER_IS_BETTER = frozenset({"auc", "aucpr", "accuracy"})
IN_WORDS = {"logloss": "log loss", "action_loss": "log loss", "auc": "AUC", "aucpr": "area under precision-recall"}

Values = NDArray[np.float64]
Unit = Literal["round", "epoch"]


class CheckSettings(BaseModel):
    """What is worth saying about a training: the `checks` section of a model file."""

    model_config = FROZEN
    max_gap: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="training loss may be lower than validation loss by this share of the latter",
    )
    max_lost: float = Field(
        default=0.002, ge=0, description="share by which the validation loss in use may be above the best one"
    )
    still_improving: float = Field(
        default=0.002,
        ge=0,
        description="share by which the last tenth of the steps may improve the validation loss when they ran out",
    )
    max_noise: float = Field(
        default=0.5, ge=0, description="sum of all rises of the validation loss, as a share of its whole fall"
    )
    first_steps: int = Field(default=5, ge=0, description="a training that is best so early learned too much a step")
    max_auc_error: float = Field(
        default=0.02, gt=0, description="largest standard error of the area under the ROC curve on the test part"
    )
    certainty: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="a threshold is decided by chance when the interval of this level around the metric holds it",
    )


class EpochCheckSettings(CheckSettings):
    """The same for a network, whose steps are epochs and whose losses part less than those of trees."""

    max_gap: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="training loss may be lower than validation loss by this share of the latter",
    )
    first_steps: int = Field(default=1, ge=0, description="a training that is best so early learned too much a step")


class Training(BaseModel):
    """The curves of one booster or network, a value per step and metric.

    Attributes:
      name: `booster`; of networks `network 1`, `network 2`, and `network 1, refit`.
      unit: what a step is.
      curves: by split (train, validation) and metric, one value per step; None is not a finite number.
      loss: metric that is measured alike on both splits; the gap is looked for in it.
      watched: metric of the validation part that decides which step is used.
      steps: steps asked for.
      used: step whose weights the model has, counted from 1 with the first step here.
      patience: steps without improvement that end training; None: none do.
      first: number of the first step; above 1 when an older booster was continued.
      seconds: of each step, where it was measured.
      seed: of a network.
    """

    model_config = FROZEN
    name: str
    unit: Unit
    curves: dict[str, dict[str, tuple[float | None, ...]]]
    loss: str
    watched: str
    steps: int
    used: int
    patience: int | None = None
    first: int = 1
    seconds: tuple[float, ...] = ()
    seed: int | None = None

    @field_validator("curves", mode="before")
    @classmethod
    def _finite(cls, curves: Mapping[str, Mapping[str, tuple[float | None, ...]]]) -> dict[str, dict[str, tuple]]:
        def plain(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
            return tuple(None if v is None or not math.isfinite(v) else float(v) for v in values)

        return {split: {name: plain(values) for name, values in found.items()} for split, found in curves.items()}

    def values(self, split: str, metric: str) -> Values:
        """float64 [steps run], NaN where there is none; empty when it was not measured."""
        return np.array([math.nan if v is None else v for v in self.curves.get(split, {}).get(metric, ())], np.float64)

    @property
    def best(self) -> int | None:
        """Step with the best watched metric on the validation part, counted as `used`; None without one."""
        found = self.values("validation", self.watched)
        if not np.isfinite(found).any():
            return None
        return int(np.nanargmin(-found if self.watched in HIGHER_IS_BETTER else found)) + 1

    def number(self, step: int) -> int:
        """The number under which people know a step."""
        return step + self.first - 1


class Curves(BaseModel):
    """All trainings of a model version; assets.extra/curves.json."""

    model_config = FROZEN
    trainings: tuple[Training, ...]

    @classmethod
    def read(cls, model_dir: str | Path) -> Curves:
        """Reads the curves of a SavedModel.

        Raises:
          ConfigError: the model carries none.
        """
        path = Path(model_dir) / EXTRA / CURVES
        if not path.is_file():
            raise ConfigError(f"{model_dir} has no {EXTRA}/{CURVES}; train it again to get one")
        return cls.model_validate_json(path.read_text())

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)


class Finding(BaseModel):
    """One thing worth changing.

    Attributes:
      check: what was looked at.
      message: what was seen, with numbers.
      settings: keys of the configuration to change, the likeliest first.
      advice: what to do with them.
      figures: the numbers in the message, by name.
    """

    model_config = FROZEN
    check: str
    message: str
    settings: tuple[str, ...]
    advice: str
    figures: dict[str, float] = {}

    def line(self) -> str:
        """One line for people."""
        return f"{self.message}; {self.advice}"
