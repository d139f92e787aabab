"""Counting predictors of the next action that are hard to beat; what the network is compared with in benchmarks.

    suffix_counts      the most frequent follower of the longest suffix of the history that was seen in training, at
                       most `longest` events with the start of the journey as one of them
    recent_followers   the most frequent follower of the last action, where a journey weighs 0.5 ^ (age / half-life)

Both give a class for every slot of the test journeys that has an answer; `decisions` lists these slots in their order.
Ties go to the action that is more frequent overall, then to vocabulary order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.recommendation.layout import FIRST_WORD, PADDING
from modules.recommendation.sequences import Sequences

Ints = NDArray[np.int64]

START = PADDING
"""Symbol of the slot before the first event: the code that no event has."""


def decisions(sequences: Sequences) -> tuple[Ints, Ints, Ints]:
    """(row, slot, class) of every slot that carries loss and has an answer, int64 [D] each, by row, then slot."""
    answers = sequences.answers()
    row, slot = np.nonzero(answers >= 0)
    return row.astype(np.int64), slot.astype(np.int64), answers[row, slot].astype(np.int64)


def suffix_counts(train: Sequences, test: Sequences, actions: int, longest: int = 8) -> Ints:
    """Predicted class of each decision of `test`, int64 [D].

    Args:
      train: journeys to count.
      test: journeys to predict.
      actions: A.
      longest: most symbols of a suffix.
    """
    (row, slot, answer), (test_row, test_slot, _) = decisions(train), decisions(test)
    total = np.bincount(answer, minlength=actions)
    rank = _rank(total)
    found = np.full(len(test_row), int(np.argmin(rank)), np.int64)
    base = actions + FIRST_WORD
    keys, test_keys = np.zeros(len(row), np.int64), np.zeros(len(test_row), np.int64)
    for size in range(1, longest + 1):
        # Suffixes of one size are numbered: the number of the shorter one and the symbol before it make the next.
        symbol, test_symbol = _symbol_back(train, row, slot, size), _symbol_back(test, test_row, test_slot, size)
        pairs = np.where(symbol >= 0, keys * base + symbol, -1)
        test_pairs = np.where((test_symbol >= 0) & (test_keys >= 0), test_keys * base + test_symbol, -1)
        known, keys = np.unique(pairs, return_inverse=True)
        at = np.minimum(np.searchsorted(known, test_pairs), len(known) - 1)
        seen = (known[at] == test_pairs) & (test_pairs >= 0)
        test_keys = np.where(seen, at, -1)
        best = _best_followers(keys, answer, len(known), rank)
        found = np.where(seen, best[at], found)
    return found


def recent_followers(train: Sequences, test: Sequences, actions: int, half_life_days: float) -> Ints:
    """Predicted class of each decision of `test`, int64 [D].

    Args:
      train: journeys to count.
      test: journeys to predict.
      actions: A.
      half_life_days: a journey's weight halves with its age at the newest training journey.
    """
    (row, slot, answer), (test_row, test_slot, _) = decisions(train), decisions(test)
    age_days = (train.time.max() - train.time.astype(np.float64)) / 86_400
    weight = 0.5 ** (age_days / half_life_days)
    counts = np.zeros((actions + FIRST_WORD, actions))
    np.add.at(counts, (_symbol_back(train, row, slot, 1), answer), weight[row])
    order = np.argsort(_rank(np.bincount(answer, minlength=actions)))
    best = order[np.argmax(counts[:, order], axis=1)]
    return best[_symbol_back(test, test_row, test_slot, 1)].astype(np.int64)


def _symbol_back(sequences: Sequences, row: Ints, slot: Ints, back: int) -> Ints:
    """Code of the event `back` events before each slot; START right before the first event, -1 further back."""
    at = slot - back
    codes: NDArray[Any] = sequences.event_codes[:, :, 0]
    if not codes.shape[1]:
        return np.where(at == -1, START, -1)
    return np.where(at >= 0, codes[row, np.maximum(at, 0)].astype(np.int64), np.where(at == -1, START, -1))


def _rank(total: Ints) -> Ints:
    """0 for the most frequent action, ties in vocabulary order."""
    return np.argsort(np.argsort(-total, kind="stable"))


def _best_followers(group: Ints, answer: Ints, groups: int, rank: Ints) -> Ints:
    """Most frequent answer of each group, int64 [groups]; every group has one."""
    pairs, count = np.unique(group * len(rank) + answer, return_counts=True)
    owner, follower = pairs // len(rank), pairs % len(rank)
    order = np.lexsort((rank[follower], -count, owner))
    first = np.searchsorted(owner[order], np.arange(groups))
    return follower[order][first]
