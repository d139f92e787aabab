"""Which actions may be recommended: the allow list and the rules of the policy, and the list of a request.

A rule looks at what the request says, word for word, not at codes: a rule about a word that was too rare for the
vocabulary works all the same. It sees every event that was sent, also those before the network's window.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modules.errors import ConfigError
from modules.features import Feature, Kind
from modules.journeys.dataset import JourneyDataset
from modules.recommendation.layout import ACTION
from modules.recommendation.settings import ActionRule, PolicySettings


def check_policy(policy: PolicySettings, dataset: JourneyDataset, actions: Sequence[str]) -> None:
    """Checks the policy against the data.

    Args:
      policy: the settings.
      dataset: whose features the rules may name.
      actions: the vocabulary learned from the training part.

    Raises:
      ConfigError: an action, a feature or a kind of ranking that the data do not know.
    """
    if dataset.outcome is None and policy.kind != "likelihood":
        raise ConfigError(
            f"policy.kind: {policy.kind} ranks by the probability of conversion, but dataset {dataset.name!r} has no "
            "`outcome`; set policy.kind to likelihood, or say in the dataset file what converts a lead"
        )
    named = {"policy.allow": policy.allow}
    for i, rule in enumerate(policy.rules):
        named[f"policy.rules[{i}].forbid"] = rule.forbid
        named[f"policy.rules[{i}].after.{ACTION}"] = rule.after.get(ACTION, ())
        _check_features(f"policy.rules[{i}].after", rule.after, (ACTION, *_categorical(dataset.events.features)))
        _check_features(f"policy.rules[{i}].where", rule.where, _categorical(dataset.features))
    unknown = {where: [a for a in found if a not in actions] for where, found in named.items()}
    details = [f"{where}: {_missing(action, actions)}" for where, found in unknown.items() for action in found]
    if details:
        raise ConfigError(
            f"the policy names {_count(details, 'action')} that the training part of {dataset.name!r} does not hold: "
            "misspelled, or so rare that no training journey has it (then take it out of the policy: it is never "
            "recommended anyway)",
            [*details, f"known actions: {', '.join(actions)}"],
        )


def always_allowed(policy: PolicySettings, actions: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Actions that no request can be without reason refused: bool [A], by allow list and rules without conditions."""
    found = np.array([not policy.allow or action in policy.allow for action in actions], bool)
    for rule in policy.rules:
        if not _conditional(rule):
            found &= ~_forbids(rule, actions)
    return found


def allowed_tensor(
    policy: PolicySettings,
    actions: Sequence[str],
    history: Mapping[str, tf.Tensor],
    length: tf.Tensor,
    lead: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """What allow list and rules leave, bool [n, A].

    Args:
      policy: checked settings.
      actions: vocabulary, A words.
      history: for `action` and each event feature of a rule string [n, T], T may be 0; '' is missing.
      length: int [n], events of each history.
      lead: for each feature of a rule string [n]; '' is missing.
    """
    n = tf.size(length)
    allowed = tf.tile(tf.constant(always_allowed(policy, actions))[tf.newaxis], tf.stack([n, 1]))
    for rule in filter(_conditional, policy.rules):
        holds = tf.fill([n], True)
        if rule.after:
            slots = tf.shape(history[ACTION])[1]
            events = tf.sequence_mask(length, slots)
            if rule.last_event_only:
                events &= tf.equal(tf.range(slots)[tf.newaxis], tf.cast(length, tf.int32)[:, tf.newaxis] - 1)
            for column, words in rule.after.items():
                events &= _one_of(history[column], words)
            holds = tf.reduce_any(events, axis=1)
        for column, words in rule.where.items():
            holds &= _one_of(lead[column], words)
        allowed &= ~(holds[:, tf.newaxis] & tf.constant(_forbids(rule, actions))[tf.newaxis])
    return allowed


def requested_tensor(classes: tf.Tensor, rows: tf.Tensor, n: tf.Tensor, actions: int) -> tf.Tensor:
    """What the requests' own lists leave, bool [n, A]; a request that names no action allows all of them.

    Args:
      classes: int64 [m], actions that are named, negative for an unknown one: it allows nothing, but it is a name.
      rows: int64 [m], who names them.
      n: number of requests.
      actions: A.
    """
    column = tf.where(classes < 0, tf.constant(actions, tf.int64), classes)
    shape = tf.stack([tf.cast(n, tf.int64), tf.constant(actions + 1, tf.int64)])
    named = tf.scatter_nd(tf.stack([rows, column], axis=1), tf.ones_like(rows), shape) > 0
    return named[:, :actions] | ~tf.reduce_any(named, axis=1, keepdims=True)


def features_of_rules(policy: PolicySettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the event features (without `action`) and of the lead's features that rules look at."""
    after = {column for rule in policy.rules for column in rule.after} - {ACTION}
    where = {column for rule in policy.rules for column in rule.where}
    return tuple(sorted(after)), tuple(sorted(where))


def _conditional(rule: ActionRule) -> bool:
    return bool(rule.after or rule.where)


def _forbids(rule: ActionRule, actions: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array([action in rule.forbid for action in actions], bool)


def _one_of(found: tf.Tensor, words: Iterable[str]) -> tf.Tensor:
    return tf.reduce_any(tf.equal(found[..., tf.newaxis], tf.constant(list(words), tf.string)), axis=-1)


def _categorical(features: Iterable[Feature]) -> tuple[str, ...]:
    return tuple(f.name for f in features if f.kind is Kind.CATEGORICAL)


def _check_features(where: str, conditions: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in conditions:
        if name not in known:
            raise ConfigError(
                f"{where} names {_missing(name, known)}; a rule may look at the categorical features "
                f"{', '.join(known) or '(there is none)'}"
            )


def _missing(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _count(found: Sequence[Any], what: str) -> str:
    return f"{len(found)} {what}{'s' * (len(found) != 1)}"
