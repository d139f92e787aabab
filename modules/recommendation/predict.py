"""Answers of the networks for decisions whose action is known, as arrays: what calibration and metrics look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from modules.recommendation.averaging import mean_logits
from modules.recommendation.sequences import Sequences

Array = NDArray[Any]

MAX_LOGITS = 1 << 26
"""Most action logits that are kept, a quarter of a GiB: journeys beyond are left out evenly."""

_ROWS = 256


@dataclass(frozen=True, eq=False)
class Predicted:
    """D decisions.

    Attributes:
      action_logits: float32 [D, A].
      conversion_logits: float32 [D], of the action taken.
      action: int32 [D], class of the action taken.
      outcome: float32 [D], NaN not known.
    """

    action_logits: NDArray[np.float32]
    conversion_logits: NDArray[np.float32]
    action: NDArray[np.int32]
    outcome: NDArray[np.float32]

    @property
    def decisions(self) -> int:
        return len(self.action)


def predict(networks: Sequence[keras.Model], sequences: Sequences, max_logits: int = MAX_LOGITS) -> Predicted:
    """Mean answers at every slot that carries loss and has an answer, journeys in order of length.

    Args:
      networks: of build_network; of several the logits of their mean probabilities, see averaging.py.
      sequences: journeys.
      max_logits: with more decisions x actions than this, every k-th journey is looked at.
    """
    actions = networks[0].output["action_logits"].shape[-1]
    answers = sequences.answers()
    per_row = (answers >= 0).sum(axis=1)
    step = max(1, -(-int(per_row.sum()) * actions // max_logits))
    rows = np.flatnonzero(per_row)[::step]
    # Neighbours of equal length need little padding.
    rows = rows[np.argsort(sequences.length[rows], kind="stable")]

    @tf.function(reduce_retracing=True)
    def at_slots(inputs: dict[str, tf.Tensor], cells: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        members = []
        for network in networks:
            found = network(inputs, training=False)
            conversion = tf.gather_nd(found["conversion_logits"], cells)
            members.append((tf.gather_nd(found["action_logits"], cells), tf.gather(conversion, action, batch_dims=1)))
        return mean_logits(members)

    parts: list[tuple[Array, ...]] = []
    for start in range(0, len(rows), _ROWS):
        batch = rows[start : start + _ROWS]
        inputs = {
            name: tf.constant(value, tf.float32 if value.dtype.kind == "f" else tf.int32)
            for name, value in sequences.inputs(batch).items()
        }
        known = answers[batch]
        cells = np.argwhere(known >= 0)
        action = known[cells[:, 0], cells[:, 1]]
        logits, conversion = at_slots(inputs, tf.constant(cells, tf.int32), tf.constant(action, tf.int32))
        parts.append((logits.numpy(), conversion.numpy(), action, sequences.outcome[batch][cells[:, 0]]))
    if not parts:
        none = np.zeros(0, np.float32)
        return Predicted(np.zeros((0, actions), np.float32), none, none.astype(np.int32), none)
    return Predicted(*(np.concatenate(found) for found in zip(*parts, strict=True)))
