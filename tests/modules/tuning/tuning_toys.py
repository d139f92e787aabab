"""Objectives that cost nothing, with a known best."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass, field

from modules.lead_scoring.settings import LeadScoringSettings
from modules.tuning.models import LEAD_SCORING
from modules.tuning.settings import TuningSettings

SPACE = {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}, "max_depth": {"low": 1, "high": 12}}
CONFIGURED = LeadScoringSettings(learning_rate=0.02, max_depth=9).model_dump(mode="json")


@dataclass
class Bowl:
    """Best at learning_rate 0.1 and max_depth 4, where the folds score 1, 1.1, 1.2, ...

    Attributes:
      killed_at: number of the fold, counted over all trials, in which the process kills itself.
      calls: parameters and fold of every call.
    """

    folds: int = 4
    validation: str = "a bowl"
    steps: int = 0
    killed_at: int | None = None
    calls: list = field(default_factory=list)
    threads: int | None = None

    def use(self, threads):
        self.threads = threads

    def __call__(self, parameters, fold, step):
        self.calls.append((dict(parameters), fold))
        if self.killed_at is not None and len(self.calls) > self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        far = math.log10(parameters["learning_rate"] / 0.1) ** 2 + ((parameters["max_depth"] - 4) / 8) ** 2
        for epoch in range(self.steps):
            step(1 - far - 1 / (epoch + 1))
        return 1 - far + fold / 10


class Failing(Bowl):
    """Cannot score deep trees, unless they are the configured ones."""

    def __call__(self, parameters, fold, step):
        if parameters["max_depth"] > 6 and parameters["max_depth"] != CONFIGURED["max_depth"]:
            raise ArithmeticError("too deep")
        return super().__call__(parameters, fold, step)


class Dying(Bowl):
    """Its process is killed by some trees, as by a lack of memory."""

    def __call__(self, parameters, fold, step):
        if parameters["max_depth"] == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(parameters, fold, step)


def tuning(**changes):
    return TuningSettings.model_validate({"trials": 25, "space": SPACE, **changes})


def run(scored, folder=None, configured=CONFIGURED, **changes):
    from modules.tuning.search import search  # workers need none of Optuna

    return search(scored, tuning(**changes), LEAD_SCORING, configured, folder)
