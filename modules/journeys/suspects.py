"""Which attributes tell the future of a journey, because they were filled in after it was over.

The measure is agreement of pairs: among all pairs of journeys with the same value of an attribute, the share that also
has the same number of events. An attribute that is known at the start and honest agrees hardly more often than two
journeys at random; the name of the whole trace agrees always. Unlike "share explained", pairs do not favour attributes
with many values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MIN_PAIRS = 100
MISSING = -1


@dataclass(frozen=True)
class Agreement:
    """Agreement of pairs.

    Attributes:
      share: among pairs with the same value, those with the same answer, 0-1.
      chance: among all pairs, 0-1.
      pairs: number of pairs with the same value.
    """

    share: float
    chance: float
    pairs: int

    def tells(self, share: float = 0.99, chance: float = 0.9) -> bool:
        """Whether the value as good as names the answer, and the answer is not nearly always the same anyway."""
        return self.pairs >= MIN_PAIRS and self.share >= share and self.chance <= chance


def codes(values: pa.Array) -> np.ndarray:
    """int64 [n], equal for equal values; MISSING where there is none."""
    return pc.dictionary_encode(values).indices.fill_null(MISSING).to_numpy().astype(np.int64)


def agreement(value: np.ndarray, answer: np.ndarray) -> Agreement:
    """Agreement of pairs about `answer`.

    Args:
      value: int64 [n], codes; rows that are MISSING make no pairs.
      answer: int64 [n], codes.
    """
    known = value != MISSING
    value, answer = value[known], answer[known]
    both = _pairs(value * (answer.max(initial=0) + 1) + answer)
    same, all_pairs = _pairs(value), len(value) * (len(value) - 1) // 2
    return Agreement(both / same if same else 0.0, _pairs(answer) / all_pairs if all_pairs else 0.0, same)


def changes(value: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """bool [journeys], whether the value changes within the journey; that it is missing at times is no change.

    Args:
      value: int64 [events], codes in the order of the journeys.
      begin: int64 [journeys], where each begins.
    """
    most = np.maximum.reduceat(value, begin)
    least = np.minimum.reduceat(np.where(value == MISSING, np.iinfo(np.int64).max, value), begin)
    return least < most


def of_journeys(value: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """int64 [journeys], the code that a journey has; MISSING where it has none or changes."""
    return np.where(changes(value, begin), MISSING, np.maximum.reduceat(value, begin))


def traces(action: np.ndarray, begin: np.ndarray, count: np.ndarray) -> np.ndarray:
    """int64 [journeys], equal for journeys with the same actions in the same order (up to chance in 64 bits).

    Args:
      action: int64 [events], codes in the order of the journeys.
      begin: int64 [journeys], where each begins.
      count: int64 [journeys], number of its events.
    """
    place = np.arange(len(action)) - np.repeat(begin, count)
    mixed = _mix(action.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + _mix(place.astype(np.uint64)))
    return np.unique(np.add.reduceat(mixed, begin), return_inverse=True)[1].astype(np.int64)


def _pairs(code: np.ndarray) -> int:
    if not len(code):
        return 0
    count = np.unique(code, return_counts=True)[1].astype(np.int64)
    return int((count * (count - 1) // 2).sum())


def _mix(bits: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
