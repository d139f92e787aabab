"""Small SavedModels that answer as the two models of this project do, by formulas that a person can check."""

from __future__ import annotations

import math
from pathlib import Path

import tensorflow as tf

ACTIONS = ("call", "email", "wait")


def probability(age: float = 40.0, state: str = "", visits: float = 0.0) -> float:
    """What `lead_model` answers: sigmoid((age - 40) / 10 + [state = CA] + visits / 10); a missing age is 40."""
    age = 40.0 if math.isnan(age) else age
    return 1 / (1 + math.exp(-((age - 40) / 10 + (state == "CA") + visits / 10)))


def lead_model(folder: Path, version: int, visits: bool = False) -> Path:
    """Features age (float) and state (string), with `visits` (float, missing is 0) as a third one."""
    spec = {
        "age": tf.io.FixedLenFeature([], tf.float32, math.nan),
        "state": tf.io.FixedLenFeature([], tf.string, ""),
        **({"visits": tf.io.FixedLenFeature([], tf.float32, math.nan)} if visits else {}),
    }

    def answer(row):
        margin = tf.where(tf.math.is_nan(row["age"]), 0.0, (row["age"] - 40) / 10)
        margin += tf.cast(row["state"] == b"CA", tf.float32)
        if visits:
            margin += tf.where(tf.math.is_nan(row["visits"]), 0.0, row["visits"] / 10)
        p = tf.sigmoid(margin)
        return {
            "score": 100 * p, "probability": p, "probability_low": 0.9 * p, "probability_high": 1 - 0.9 * (1 - p),
            "confidence": tf.fill(tf.shape(p), 0.9),
        }  # fmt: skip

    class LeadModel(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serving_default(self, examples):
            return answer(tf.io.parse_example(examples, spec))

        @tf.function(input_signature=[{n: tf.TensorSpec([None], s.dtype, n) for n, s in spec.items()}])
        def predict_columns(self, columns):
            return answer(columns)

    return _save(LeadModel(), folder / str(version))


def recommendation_model(folder: Path, version: int) -> Path:
    """Features state (string) and history (list of strings); an action's weight is 1 + how often it is in the history.

    Actions come likeliest first, ties in the order of ACTIONS; priority is 100 times the probability.
    """

    def answer(state, history):
        counts = 1 + tf.reduce_sum(tf.cast(history[:, :, None] == tf.constant([ACTIONS]), tf.float32), axis=1)
        shares = counts / tf.reduce_sum(counts, axis=1, keepdims=True)
        ranked, index = tf.math.top_k(shares, k=len(ACTIONS))
        names = tf.gather(tf.constant(ACTIONS), index)
        best = tf.where(state == b"CA", "call", names[:, 0])
        return {"actions": names, "probabilities": ranked, "priorities": 100 * ranked, "next_best_action": best}

    class RecommendationModel(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serving_default(self, examples):
            spec = {
                "state": tf.io.FixedLenFeature([], tf.string, ""),
                "history": tf.io.VarLenFeature(tf.string),
            }
            row = tf.io.parse_example(examples, spec)
            return answer(row["state"], tf.sparse.to_dense(row["history"], ""))

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, "state"), tf.TensorSpec([None, None], tf.string, "history")
            ]
        )  # fmt: skip
        def predict_columns(self, state, history):
            return answer(state, history)

    return _save(RecommendationModel(), folder / str(version))


def _save(module: tf.Module, path: Path) -> Path:
    signatures = {"serving_default": module.serving_default, "predict_columns": module.predict_columns}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path
