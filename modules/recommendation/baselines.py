"""Three naive predictors of the next action, learned from the training journeys and exported beside the network.

    majority     the most frequent action
    last_action  the most frequent follower of the last action; at the start of a journey, the most frequent first one
    prefix       the most frequent follower of exactly this history (all actions in the window, in order);
                 last_action where it was never seen

Ties go to the action that is more frequent overall, then to vocabulary order. Every decision counts once: only the
slots that carry loss (`Sequences.answers`) are counted, so windows that overlap add nothing.

A history is a 64-bit number, sum over slots i of position_factors[i] * code_factors[code at i] modulo 2^64 with random
factors: two different histories meet with a probability near 2^-60. The table of prefixes holds only those whose answer
differs from last_action's (the others would change nothing), and of these the MAX_PREFIXES most frequent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from numpy.typing import NDArray

from modules.recommendation.layout import FIRST_WORD, PADDING
from modules.recommendation.sequences import Sequences

Array = NDArray[Any]
Ints = NDArray[np.int64]

NAMES = ("majority", "last_action", "prefix")
MAX_PREFIXES = 1_000_000

_ROWS = 1 << 14
_COMPACT_ROWS = 1 << 22


@dataclass(frozen=True, eq=False)
class Baselines:
    """What was learned; A actions, P prefixes.

    Attributes:
      majority: class of the most frequent action.
      last_action: int64 [A + FIRST_WORD], class by code of the last action; PADDING is the start of a journey.
      prefix_keys: int64 [P], ascending: hashes of histories.
      prefix_actions: int64 [P], their classes.
      position_factors: int64 [L].
      code_factors: int64 [A + FIRST_WORD], 0 for PADDING.
    """

    majority: int
    last_action: Ints
    prefix_keys: Ints
    prefix_actions: Ints
    position_factors: Ints
    code_factors: Ints

    def __call__(self, codes: Array, length: Array) -> dict[str, Ints]:
        """Predicted classes int64 [n] by NAMES, from codes of actions int [n, T] (T <= L) and lengths int [n]."""
        codes, length = np.asarray(codes, np.int64), np.asarray(length, np.int64)
        n = len(length)
        last = _last(codes, length)
        hashes = history_hashes(codes, length, self.position_factors, self.code_factors)
        hashes = hashes[np.arange(n), np.minimum(length, codes.shape[1])]
        found = {"majority": np.full(n, self.majority, np.int64), "last_action": self.last_action[last]}
        found["prefix"] = found["last_action"]
        if len(self.prefix_keys):
            at = np.minimum(np.searchsorted(self.prefix_keys, hashes), len(self.prefix_keys) - 1)
            seen = self.prefix_keys[at] == hashes
            found["prefix"] = np.where(seen, self.prefix_actions[at], found["last_action"])
        return found


def learn(sequences: Sequences, actions: int, length: int, max_prefixes: int = MAX_PREFIXES) -> Baselines:
    """Counts the decisions of training journeys.

    Args:
      sequences: training journeys, or windows of them.
      actions: A.
      length: L.
      max_prefixes: most prefixes kept.
    """
    random = np.random.default_rng(20_260_101)
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    position_factors = random.integers(low, high, length, np.int64)
    code_factors = random.integers(low, high, actions + FIRST_WORD, np.int64)
    code_factors[PADDING] = 0

    followers = np.zeros((actions + FIRST_WORD, actions), np.int64)
    tables: list[pa.Table] = []
    for part in _parts(sequences):
        codes = part.event_codes[:, :, 0].astype(np.int64)
        answers = part.answers()
        row, slot = np.nonzero(answers >= 0)
        answer = answers[row, slot].astype(np.int64)
        last = np.where(slot > 0, codes[row, np.maximum(slot - 1, 0)], PADDING) if codes.shape[1] else slot * 0
        np.add.at(followers, (last, answer), 1)
        # The empty history is what last_action has a row of its own for.
        longer = slot > 0
        hashes = history_hashes(codes, part.length, position_factors, code_factors)[row, slot]
        tables.append(_counted(hashes[longer], last[longer], answer[longer]))
        if sum(t.num_rows for t in tables[1:]) > max(_COMPACT_ROWS, tables[0].num_rows):
            tables = [_summed(tables)]

    total = followers.sum(axis=0)
    # By falling frequency, ties in vocabulary order: the first maximum among columns in this order wins.
    order = np.argsort(-total, kind="stable")
    rank = np.argsort(order)
    last_action = order[np.argmax(followers[:, order], axis=1)]
    table = _summed(tables)
    hashes, last, answer, count = (table[name].to_numpy() for name in ("hash", "last", "answer", "count"))
    best = np.lexsort((rank[answer], -count, hashes))
    first = np.ones(len(best), bool)
    first[1:] = hashes[best][1:] != hashes[best][:-1]
    seen = np.add.reduceat(count[best], np.flatnonzero(first)) if len(best) else count
    best = best[first]
    keys, classes = hashes[best], answer[best]
    useful = classes != last_action[last[best]]
    keys, classes, seen = keys[useful], classes[useful], seen[useful]
    kept = np.sort(np.argsort(-seen, kind="stable")[:max_prefixes])
    return Baselines(
        int(order[0]), last_action.astype(np.int64), keys[kept], classes[kept], position_factors, code_factors
    )


def history_hashes(codes: Array, length: Array, position_factors: Ints, code_factors: Ints) -> Ints:
    """Hash of the first m events of each history for every m: int64 [n, T + 1]; behind the last event it stays."""
    n, slots = codes.shape
    used = np.arange(slots) < np.asarray(length)[:, None]
    with np.errstate(over="ignore"):
        terms = np.where(used, code_factors[codes] * position_factors[:slots], 0)
        return np.concatenate([np.zeros((n, 1), np.int64), np.cumsum(terms, axis=1, dtype=np.int64)], axis=1)


def baselines_tensor(baselines: Baselines, codes: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
    """`Baselines.__call__` in TensorFlow: codes int32 [n, T], length int32 [n] -> int64 [n] by NAMES."""
    slots = tf.shape(codes)[1]
    used = tf.sequence_mask(length, slots)
    codes = tf.where(used, codes, PADDING)
    hashes = tf.reduce_sum(
        tf.gather(tf.constant(baselines.code_factors), codes)
        * tf.constant(baselines.position_factors)[tf.newaxis, :slots],
        axis=1,
    )
    at_last = tf.one_hot(length - 1, slots, on_value=True, off_value=False)
    last = tf.reduce_sum(tf.where(at_last, codes, PADDING), axis=1)
    majority = tf.fill([tf.shape(length)[0]], tf.constant(baselines.majority, tf.int64))
    last_action = prefix = tf.gather(tf.constant(baselines.last_action), last)
    if len(baselines.prefix_keys):
        keys = tf.constant(baselines.prefix_keys)
        at = tf.minimum(tf.searchsorted(keys, hashes), len(baselines.prefix_keys) - 1)
        seen = tf.equal(tf.gather(keys, at), hashes)
        prefix = tf.where(seen, tf.gather(tf.constant(baselines.prefix_actions), at), last_action)
    return {"majority": majority, "last_action": last_action, "prefix": prefix}


def _last(codes: Ints, length: Ints) -> Ints:
    """Code of the last event, PADDING without one."""
    if not codes.shape[1]:
        return np.full(len(length), PADDING, np.int64)
    return np.where(length > 0, codes[np.arange(len(length)), np.maximum(length - 1, 0)], PADDING)


def _parts(sequences: Sequences) -> Iterator[Sequences]:
    for start in range(0, len(sequences), _ROWS):
        yield sequences.take(slice(start, start + _ROWS))  # type: ignore[arg-type]


def _counted(hashes: Ints, last: Ints, answer: Ints) -> pa.Table:
    table = pa.table({"hash": hashes, "last": last, "answer": answer, "count": np.ones(len(hashes), np.int64)})
    return _summed([table])


def _summed(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return _counted(*(np.zeros(0, np.int64),) * 3)
    grouped = pa.concat_tables(tables).group_by(["hash", "last", "answer"]).aggregate([("count", "sum")])
    return grouped.rename_columns(["hash", "last", "answer", "count"])
