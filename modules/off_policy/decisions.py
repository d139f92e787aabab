"""Logged decisions, and what a new policy and a model of the outcome say about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modules.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Decisions:
    """n decisions of G leads. All that the estimators need; see `of` for the matrices it comes from.

    Attributes:
      outcome: float64 [n], 0 or 1, final: whether the decision's lead converted. Decisions of a lead share it.
      propensity: float64 [n], within (0, 1]: mu(a | s), the logging policy's probability of the action taken.
      new_propensity: float64 [n], 0-1: pi(a | s), the new policy's probability of the same action.
      model_taken: float64 [n], 0-1: q_hat(s, a), predicted conversion of the action taken. Without meaning where
        new_propensity is 0.
      model_value: float64 [n], 0-1: sum over b of pi(b | s) q_hat(s, b).
      lead: int64 [n], any numbers that tell leads apart, in any order.

    Raises:
      DataError: lengths differ, or a value is not finite or out of its range.
    """

    outcome: Floats
    propensity: Floats
    new_propensity: Floats
    model_taken: Floats
    model_value: Floats
    lead: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("outcome", "propensity", "new_propensity", "model_taken", "model_value"):
            values = getattr(self, name)
            if values.shape != self.lead.shape or values.ndim != 1:
                raise DataError(f"{name}: expected shape {self.lead.shape} as `lead`, received {values.shape}")
            bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
            if len(bad):
                raise DataError(f"{name}: expected 0 to 1, received {values[bad[0]]} at decision {bad[0]}")
        zero = np.flatnonzero(self.propensity == 0)
        if len(zero):
            raise DataError(
                f"propensity: expected more than 0, received 0 at decision {zero[0]}: what was done had a probability"
            )

    def __len__(self) -> int:
        return len(self.lead)

    @classmethod
    def of(
        cls,
        outcome: ArrayLike,
        propensity: ArrayLike,
        action: ArrayLike,
        policy: ArrayLike,
        conversion: ArrayLike,
        lead: ArrayLike,
    ) -> Decisions:
        """Decisions from matrices over A actions.

        Args:
          outcome, propensity, lead: [n], as above.
          action: int [n], 0 to A - 1: the action taken.
          policy: [n, A], the new policy's probabilities; rows sum to 1.
          conversion: [n, A], q_hat.
        """
        at = np.asarray(action, np.int64)[:, None]
        pi, q = np.asarray(policy, np.float64), np.asarray(conversion, np.float64)
        return cls(
            outcome=np.asarray(outcome, np.float64),
            propensity=np.asarray(propensity, np.float64),
            new_propensity=np.take_along_axis(pi, at, axis=1)[:, 0],
            model_taken=np.take_along_axis(q, at, axis=1)[:, 0],
            # Rounding alone must not lead out of the range.
            model_value=np.clip((pi * q).sum(axis=1), 0, 1),
            lead=np.asarray(lead, np.int64),
        )

    def __getitem__(self, rows: Any) -> Decisions:
        """The decisions at an index array, a mask or a slice."""
        return Decisions(
            self.outcome[rows],
            self.propensity[rows],
            self.new_propensity[rows],
            self.model_taken[rows],
            self.model_value[rows],
            self.lead[rows],
        )
