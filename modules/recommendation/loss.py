"""The loss of the network (fit.py says which), what is measured beside it, and the weights in it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from modules.recommendation.settings import RecommendationSettings

Array = NDArray[Any]

CLASS_WEIGHT_LIMIT = 10.0
"""Most that an action may weigh with `class_weights: balanced`."""


class Learner(keras.Model):
    """The network with its loss and what is measured of it."""

    def __init__(
        self, network: keras.Model, settings: RecommendationSettings, class_weights: Array, batch_answers: float
    ) -> None:
        super().__init__(name="learner")
        self.batch_answers = batch_answers
        self.network, self.smoothing = network, settings.label_smoothing
        self.conversion_weight, self.effect_penalty = settings.conversion_weight, settings.effect_penalty
        self.class_weights = class_weights.astype(np.float32)
        self.measures = {
            name: keras.metrics.Mean(name=name) for name in ("loss", "action_loss", "accuracy", "conversion_loss")
        }

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        return self.network(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.measures.values())

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
        """Loss of a batch; y as of _feed, y_pred as of the network."""
        action = ops.cast(y["action"], "int32")
        known = ops.cast(action >= 0, "float32")
        count = ops.sum(known)
        slots = ops.maximum(count, 1.0)
        logits = ops.cast(y_pred["action_logits"], "float32")
        classes = logits.shape[-1]
        taken = ops.one_hot(ops.maximum(action, 0), classes, dtype="float32")
        log_probability = ops.log_softmax(logits, axis=-1)
        cross_entropy = -ops.sum(taken * log_probability, axis=-1)
        right = ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(action, "int64")), "float32")

        outcome = ops.cast(y["outcome"], "float32")
        # NaN is the only number that is not itself; it must not reach the loss, where 0 x NaN is NaN.
        observed = ops.equal(outcome, outcome)
        outcome = ops.where(observed, outcome, 0.0)[:, None]
        conversion = ops.cast(y_pred["conversion_logits"], "float32")
        value = ops.sum(taken * conversion, axis=-1)
        binary = ops.relu(value) - value * outcome + ops.softplus(-ops.abs(value))
        measured = known * ops.cast(observed, "float32")[:, None]

        smooth = cross_entropy
        if self.smoothing:
            smooth = (1 - self.smoothing) * smooth - self.smoothing * ops.mean(log_probability, axis=-1)
        importance = ops.sum(taken * self.class_weights, axis=-1)
        slot_loss = known * importance * smooth + self.conversion_weight * measured * binary
        if self.effect_penalty:
            slot_loss = slot_loss + self.effect_penalty * measured * ops.var(conversion, axis=-1)
        total = ops.sum(ops.cast(y["weight"], "float32")[:, None] * slot_loss)

        observed_slots = ops.sum(measured)
        self.measures["loss"].update_state(total / slots, sample_weight=count)
        self.measures["action_loss"].update_state(ops.sum(known * cross_entropy) / slots, sample_weight=count)
        self.measures["accuracy"].update_state(ops.sum(known * right) / slots, sample_weight=count)
        self.measures["conversion_loss"].update_state(
            ops.sum(measured * binary) / ops.maximum(observed_slots, 1.0), sample_weight=observed_slots
        )
        return total / self.batch_answers


def class_weights(answers: Array, actions: int, kind: str) -> NDArray[np.float32]:
    """Weight of each action in the loss, float32 [A].

    Args:
      answers: int [N, L + 1], negative is none.
      actions: A.
      kind: `none`: all 1. `balanced`: inverse of the action's frequency, 1 at an even share, at most 10.
    """
    if kind == "none":
        return np.ones(actions, np.float32)
    counts = np.bincount(answers[answers >= 0], minlength=actions)
    even = counts.sum() / actions
    return np.minimum(even / np.maximum(counts, 1), CLASS_WEIGHT_LIMIT).astype(np.float32)


def recency_weights(times: Array, slots: Array, half_life_days: float | None) -> NDArray[np.float32]:
    """Weight of each journey in the loss, float32 [N]: 0.5 ^ (age at the newest journey / half-life).

    Args:
      times: int64 [N], seconds.
      slots: int [N], answers of each journey; the mean weight of an answer is 1.
      half_life_days: None: all 1.
    """
    if half_life_days is None:
        return np.ones(len(times), np.float32)
    age_days = (times.max() - np.asarray(times, np.float64)) / 86_400
    weight = 0.5 ** (age_days / half_life_days)
    return (weight * slots.sum() / max((weight * slots).sum(), 1e-12)).astype(np.float32)
