"""A small SavedModel with the signatures of the recommendation model, by formulas that a person can check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from modules.journeys import names

ACTIONS = ("call", "email", "wait")
LENGTH = 4
DAY = 86_400

_LEAD = {
    "state": tf.TensorSpec([None], tf.string, "state"),
    "age": tf.TensorSpec([None], tf.float32, "age"),
    names.HISTORY_LENGTH: tf.TensorSpec([None], tf.int64, names.HISTORY_LENGTH),
    names.JOURNEY_START: tf.TensorSpec([None], tf.int64, names.JOURNEY_START),
}
_LISTS = {
    name: tf.TensorSpec([None, None], dtype, name)
    for name, dtype in (
        (names.HISTORY_ACTION, tf.string),
        (names.HISTORY_TIME, tf.int64),
        ("history_response", tf.string),
        ("history_amount", tf.float32),
        (names.ALLOWED_ACTIONS, tf.string),
    )
}
INPUTS = {**_LEAD, **_LISTS}
_MISSING = {tf.string: "", tf.float32: math.nan, tf.int64: 0}


def probabilities(history: Sequence[str] = (), allowed: Sequence[str] = ACTIONS) -> dict[str, float]:
    """What `JourneyModel` answers: an action's share of 1 + how often it is among the last LENGTH events."""
    weights = {a: 1 + list(history)[-LENGTH:].count(a) for a in ACTIONS if a in allowed}
    return {a: w / sum(weights.values()) for a, w in weights.items()}


def priority(
    action: str,
    age: float = 40.0,
    state: str = "",
    amounts: Sequence[float] = (),
    declined: bool = False,
    length: int = 0,
    days: float = 0.0,
) -> float:
    """100 x the sigmoid of (age - 40) / 10 + [state = CA] + the last amounts / 10 - [an event was declined]
    - length / 10 + [at least a day between the journey's start and its last event] + the action's position / 2."""
    margin = (age - 40) / 10 + (state == "CA") + sum(list(amounts)[-LENGTH:]) / 10 - declined - length / 10
    return 100 / (1 + math.exp(-(margin + (days >= 1) + ACTIONS.index(action) / 2)))


class JourneyModel(tf.Module):
    """Subclasses change one thing of it."""

    def last(self, row: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Number of events int64 [n], and which slots hold the last LENGTH of them, bool [n, T]."""
        events = tf.reduce_sum(tf.cast(row[names.HISTORY_ACTION] != "", tf.int64), axis=1)
        slot = tf.range(tf.shape(row[names.HISTORY_ACTION], tf.int64)[1])[None]
        return events, (slot < events[:, None]) & (slot >= events[:, None] - LENGTH)

    def shares(self, row: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Probabilities and conversion, float32 [n, A]."""
        events, last = self.last(row)
        same = (row[names.HISTORY_ACTION][:, :, None] == tf.constant([ACTIONS])) & last[:, :, None]
        counts = 1 + tf.reduce_sum(tf.cast(same, tf.float32), axis=1)
        margin = tf.where(tf.math.is_nan(row["age"]), 0.0, (row["age"] - 40) / 10)
        margin += tf.cast(row["state"] == "CA", tf.float32)
        amounts = tf.where(last & ~tf.math.is_nan(row["history_amount"]), row["history_amount"], 0.0)
        margin += tf.reduce_sum(amounts, axis=1) / 10
        margin -= tf.cast(tf.reduce_any(last & (row["history_response"] == "declined"), axis=1), tf.float32)
        length = tf.where(row[names.HISTORY_LENGTH] > 0, row[names.HISTORY_LENGTH], events)
        margin -= tf.cast(length, tf.float32) / 10
        start = row[names.JOURNEY_START][:, None]
        late = last & (start > 0) & (row[names.HISTORY_TIME] - start >= DAY)
        margin += tf.cast(tf.reduce_any(late, axis=1), tf.float32)
        position = tf.range(len(ACTIONS), dtype=tf.float32)[None]
        return counts / tf.reduce_sum(counts, axis=1, keepdims=True), tf.sigmoid(margin[:, None] + position / 2)

    def allowed(self, row: dict[str, tf.Tensor]) -> tf.Tensor:
        """bool [n, A]."""
        asked = row[names.ALLOWED_ACTIONS]
        named = tf.reduce_any(asked[:, :, None] == tf.constant([ACTIONS]), axis=1)
        return named | ~tf.reduce_any(asked != "", axis=1)[:, None]

    def answer(self, row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        shares, conversion = self.shares(row)
        allowed = self.allowed(row)
        shares = tf.where(allowed, shares, 0.0)
        shares = tf.math.divide_no_nan(shares, tf.reduce_sum(shares, axis=1, keepdims=True))
        _, order = tf.math.top_k(tf.where(allowed, shares, -1.0), k=len(ACTIONS))
        actions = tf.where(tf.gather(allowed, order, batch_dims=1), tf.gather(tf.constant(ACTIONS), order), "")
        priorities = tf.gather(tf.where(allowed, 100 * conversion, 0.0), order, batch_dims=1)
        return {
            "actions": actions,
            "probabilities": tf.gather(shares, order, batch_dims=1),
            "priorities": priorities,
            "next_best_action": actions[:, 0],
        }

    def columns(self, row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.answer(row)

    def parse(self, examples: tf.Tensor, label: bool = False) -> dict[str, tf.Tensor]:
        spec = {n: tf.io.FixedLenFeature([], s.dtype, _MISSING[s.dtype]) for n, s in _LEAD.items()}
        spec |= {n: tf.io.RaggedFeature(s.dtype) for n, s in _LISTS.items()}
        if label:
            spec[names.NEXT_ACTION] = tf.io.FixedLenFeature([], tf.string, "")
        row = tf.io.parse_example(examples, spec)
        # The maximum of no rows is the smallest integer.
        width = tf.maximum(tf.reduce_max(row[names.HISTORY_ACTION].row_lengths()), 0)
        for name, s in _LISTS.items():
            row[name] = row[name].to_tensor(_MISSING[s.dtype])
            if name != names.ALLOWED_ACTIONS:
                behind = [[0, 0], [0, tf.maximum(width - tf.cast(tf.shape(row[name])[1], width.dtype), 0)]]
                row[name] = tf.pad(row[name], behind, constant_values=_MISSING[s.dtype])
        return row

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serving_default(self, examples):
        return self.answer(self.parse(examples))

    @tf.function(input_signature=[INPUTS])
    def predict_columns(self, row):
        return self.columns(row)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def distribution(self, examples):
        shares, conversion = self.shares(self.parse(examples))
        return {"probabilities": shares, "conversion": conversion}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def evaluation_features(self, examples):
        row = self.parse(examples, label=True)
        same = tf.cast(row[names.NEXT_ACTION][:, None] == tf.constant([ACTIONS]), tf.int64)
        label = tf.where(tf.reduce_any(same > 0, axis=1), tf.argmax(same, axis=1), -1)
        return {"label": label, "majority": tf.zeros_like(label), "last_action": label, "prefix": label}


def save(folder: Path, model: JourneyModel | None = None) -> Path:
    """Writes the model; returns the folder."""
    model = model or JourneyModel()
    signatures = ("serving_default", "predict_columns", "distribution", "evaluation_features")
    tf.saved_model.save(model, str(folder), signatures={n: getattr(model, n) for n in signatures})
    return folder


def records(count: int = 80) -> list[bytes]:
    """Examples as the pipeline writes them, one per decision: lead i has i % 7 events, the last LENGTH in lists."""
    result = []
    for i in range(count):
        size, start = i % 7, 1_700_000_000 + 1000 * i
        events = range(max(0, size - LENGTH), size)
        features = {
            "lead_id": _bytes([f"L{i}"]),
            "state": _bytes(["CA" if i % 3 else "NY"]),
            names.HISTORY_ACTION: _bytes([ACTIONS[(i + j) % 3] for j in events]),
            names.HISTORY_TIME: _ints([start + 30_000 * j for j in events]),
            "history_response": _bytes(["declined" if (i + j) % 5 == 0 else "" for j in events]),
            "history_amount": _floats([math.nan if j % 2 else 1.5 * j for j in events]),
            names.HISTORY_LENGTH: _ints([size]),
            names.JOURNEY_START: _ints([start]),
            names.NEXT_ACTION: _bytes([ACTIONS[i % 3]]),
            names.OUTCOME: _ints([i % 2]),
            names.DECISION_TIME: _ints([start + 30_000 * size]),
            names.STAGE: _bytes(["start" if size == 0 else "4-7" if size > 3 else "2-3" if size > 1 else "1"]),
            names.TRAINING_POSITIONS: _ints([1]),
        }
        if i % 5:
            features["age"] = _floats([20.0 + i])
        example = tf.train.Example(features=tf.train.Features(feature=features))
        result.append(example.SerializeToString(deterministic=True))
    return result


def _bytes(values: Sequence[str]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))


def _ints(values: Sequence[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats(values: Sequence[float]) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
