"""An exported model over logged decisions: what its policy would have done, and what it expects.

Records are read, parsed, sent through the model's signatures and reduced to a few numbers a decision inside TensorFlow;
Python sees whole batches. See modules/journeys/names.py for the examples.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modules.errors import DataError
from modules.journeys import names
from modules.off_policy.decisions import Decisions
from modules.off_policy.estimators import estimate
from modules.off_policy.report import ActionShare, OutcomeModel, PolicyValueReport, Propensities
from modules.off_policy.settings import PolicyValueSettings
from modules.transform_batches import files_of, parse_raw, record_dataset

BATCH_ROWS = 2048

_Step = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def value_of(
    model_dir: str | Path,
    patterns: Sequence[str],
    lead_feature: str,
    settings: PolicyValueSettings,
    *,
    logged: bool,
    split: str = "test",
    batch_rows: int = BATCH_ROWS,
) -> PolicyValueReport:
    """Estimates what the policy of a model would have been worth.

    Args:
      model_dir: SavedModel with the signatures of a recommendation model.
      patterns: file patterns of raw tf.Examples that the model was not trained on.
      lead_feature: name of the lead's id.
      settings: level, cuts and policy.
      logged: whether examples carry `propensity`; otherwise the model's own likelihood of the action taken stands in.
      split: what the report calls the examples.
      batch_rows: decisions per call of the model. Memory grows by some 40 bytes a decision.

    Raises:
      DataError: no file matches, the model lacks a signature, or its next best action is not among its actions.
    """
    files = files_of(patterns)
    if not files:
        raise DataError(f"no examples at {', '.join(patterns)}; run the ingest again or correct the split names")
    model = tf.saved_model.load(str(model_dir))
    # Not inside of tf.data, whose functions run on the CPU only, wherever the variables are.
    step = tf.function(_step(model, str(model_dir), lead_feature, settings.temperature, logged))
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    shares: dict[bytes, np.ndarray] = defaultdict(lambda: np.zeros(2))
    counts = np.zeros(3, np.int64)
    # The batch of no rows gives an empty split its columns.
    for records in itertools.chain([tf.constant([], tf.string)], record_dataset(files, batch_rows).prefetch(1)):
        batch = {name: value.numpy() for name, value in step(records).items()}
        counts += batch.pop("counts")
        for action, share in zip(batch.pop("actions"), batch.pop("shares"), strict=True):
            shares[action] += share
        for name, values in batch.items():
            parts[name].append(values)
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    lost = np.abs(columns.pop("mass") - columns["recommends"]) > 1e-4
    if lost.any():
        raise DataError(
            f"{model_dir}: the next best action of {lost.sum():,} decisions is not, exactly once, among their ranked "
            "actions; expected a ranking as modules/recommendation/ranking.py gives it"
        )
    return _report(counts.tolist(), columns, shares, settings, "logged" if logged else "estimated", split)


def _step(model: Any, model_dir: str, lead_feature: str, temperature: float | None, logged: bool) -> _Step:
    """A function of serialized records, string [n], that returns what is needed of the usable ones, [m].

    counts: int32 [3], examples, those with an outcome, of these those with a propensity (m).
    lead, outcome, propensity, new_propensity, model_taken, model_value: as in Decisions.
    mass, recommends, ranked: sum of the new policy's probabilities; whether it has any; whether the action taken is
      among the ranked ones.
    actions, shares: the different actions, string [k], with how often each was taken and recommended, [k, 2].
    """
    wanted = ("serving_default",) if logged else ("serving_default", "distribution", "evaluation_features")
    missing = [name for name in wanted if name not in model.signatures]
    if missing:
        raise DataError(
            f"{model_dir} has no signature {', '.join(missing)}; expected a model of this project that recommends"
        )
    signatures = {name: model.signatures[name] for name in wanted}
    spec = {
        lead_feature: tf.io.FixedLenFeature([], tf.string, ""),
        names.NEXT_ACTION: tf.io.FixedLenFeature([], tf.string, ""),
        names.OUTCOME: tf.io.FixedLenFeature([], tf.int64, -1),
        names.PROPENSITY: tf.io.FixedLenFeature([], tf.float32, float("nan")),
    }

    def step(records: tf.Tensor) -> dict[str, tf.Tensor]:
        features = parse_raw(records, spec)
        examples = tf.shape(records)[0]
        # The model is asked about nothing that is left out anyway.
        records, features = _only(features[names.OUTCOME] >= 0, records, features)
        known = tf.shape(records)[0]
        propensity = features[names.PROPENSITY] if logged else _likelihood(signatures, records)
        features["mu"] = propensity
        records, features = _only((propensity > 0) & (propensity <= 1), records, features)
        served = signatures["serving_default"](examples=records)
        actions, best, next_action = served["actions"], served["next_best_action"], features[names.NEXT_ACTION]
        conversion = served["priorities"] / 100
        policy, recommends = _policy(actions, best, conversion, temperature)
        taken = tf.cast(tf.equal(actions, next_action[:, None]) & tf.not_equal(actions, ""), tf.float32)
        mentioned, shares = _shares(next_action, actions, policy)
        return {
            "counts": tf.stack([examples, known, tf.shape(records)[0]]),
            "actions": mentioned,
            "shares": shares,
            "lead": tf.strings.to_hash_bucket_fast(features[lead_feature], 2**63 - 1),
            "outcome": features[names.OUTCOME],
            "propensity": features["mu"],
            "new_propensity": tf.reduce_sum(policy * taken, axis=1),
            "model_taken": tf.reduce_sum(conversion * taken, axis=1),
            "model_value": tf.reduce_sum(policy * conversion, axis=1),
            "mass": tf.reduce_sum(policy, axis=1),
            "recommends": recommends,
            "ranked": tf.reduce_any(taken > 0, axis=1),
        }

    return step


def _only(
    keep: tf.Tensor, records: tf.Tensor, features: dict[str, tf.Tensor]
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The rows that are to stay, bool [n]."""
    return tf.boolean_mask(records, keep), {name: tf.boolean_mask(column, keep) for name, column in features.items()}


def _policy(
    actions: tf.Tensor, best: tf.Tensor, conversion: tf.Tensor, temperature: float | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The new policy's probabilities of the ranked actions, float32 [n, k], and whether it has any, bool [n]."""
    allowed = tf.not_equal(actions, "")
    recommends = tf.not_equal(best, "")
    if temperature is None:
        chosen = tf.cast(tf.equal(actions, best[:, None]) & allowed, tf.float32)
    else:
        logits = tf.where(allowed, conversion / temperature, -1e30)
        chosen = tf.nn.softmax(logits) * tf.cast(allowed & recommends[:, None], tf.float32)
    return chosen, recommends


def _likelihood(signatures: dict[str, Any], records: tf.Tensor) -> tf.Tensor:
    """The model's probability of the action taken, float32 [n]; 0 for an action it does not know."""
    probabilities = signatures["distribution"](examples=records)["probabilities"]
    label = signatures["evaluation_features"](examples=records)["label"]
    return tf.where(label < 0, 0.0, tf.gather(probabilities, tf.maximum(label, 0), batch_dims=1))


def _shares(next_action: tf.Tensor, actions: tf.Tensor, policy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How often each action was taken, and recommended: the actions, string [m], and float32 [m, 2]."""
    both = tf.concat([next_action, tf.reshape(actions, [-1])], axis=0)
    weight = tf.concat([tf.ones_like(next_action, tf.float32), tf.reshape(policy, [-1])], axis=0)
    recommended = tf.cast(tf.range(tf.size(both)) >= tf.size(next_action), tf.float32)
    mentioned, index = tf.unique(both)
    values = tf.stack([weight * (1 - recommended), weight * recommended], axis=1)
    return mentioned, tf.math.unsorted_segment_sum(values, index, tf.size(mentioned))


def _report(
    counts: list[int],
    used: dict[str, np.ndarray],
    shares: dict[bytes, np.ndarray],
    settings: PolicyValueSettings,
    propensities: Propensities,
    split: str,
) -> PolicyValueReport:
    examples, known, count = counts
    ranked = used["ranked"]
    max_weight = settings.max_weight
    if propensities == "estimated" and settings.max_estimated_weight is not None:
        max_weight = min(settings.max_estimated_weight, max_weight or settings.max_estimated_weight)
    ordered = sorted(
        ((action.decode(), share) for action, share in shares.items() if action and share.any()),
        key=lambda item: (-item[1][0], -item[1][1], item[0]),
    )
    return PolicyValueReport(
        policy=(
            "next best action" if settings.temperature is None else f"priorities (temperature {settings.temperature:g})"
        ),
        propensities=propensities,
        split=split,
        examples=examples,
        without_outcome=examples - known,
        without_propensity=known - count,
        without_recommendation=int((~used["recommends"]).sum()),
        actions=tuple(ActionShare(name, float(s[0] / count), float(s[1] / count)) for name, s in ordered),
        model=OutcomeModel(
            decisions=int(ranked.sum()),
            predicted=float(used["model_taken"][ranked].mean()) if ranked.any() else float("nan"),
            observed=float(used["outcome"][ranked].mean()) if ranked.any() else float("nan"),
        ),
        valuation=estimate(_decisions(used), settings.level, max_weight) if count else None,
    )


def _decisions(used: dict[str, np.ndarray]) -> Decisions:
    """Where nothing is recommended the new policy does what was done: weight 1, and the outcome is what it is."""
    floats = {name: values.astype(np.float64) for name, values in used.items() if name not in ("lead", "recommends")}
    does = used["recommends"]

    def unit(values: np.ndarray) -> np.ndarray:
        # Sums of float32 may pass 1 by rounding; anything more is a fault that Decisions reports.
        return np.where((values > 1) & (values < 1 + 1e-5), 1.0, values)

    return Decisions(
        outcome=floats["outcome"],
        propensity=floats["propensity"],
        new_propensity=np.where(does, unit(floats["new_propensity"]), floats["propensity"]),
        model_taken=np.where(does, unit(floats["model_taken"]), floats["outcome"]),
        model_value=np.where(does, unit(floats["model_value"]), floats["outcome"]),
        lead=used["lead"],
    )
