"""Journeys and their decisions, from the events of a partition, without touching an event in Python.

Events are brought into the order (lead, time, place in the file). The history of a decision is then a run of
consecutive events, that is, an offset and a length into the ordered columns: lists of all decisions share one copy of
the values (Arrow's list views).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DIGIT = 16


@dataclass(frozen=True)
class Journeys:
    """The journeys of a partition.

    Attributes:
      order: int64 [events], which row each event is in: journeys one after the other, each by time, then place.
      begin: int64 [journeys], where each begins in `order`.
      count: int64 [journeys], number of its events.
      first: int64 [journeys], its first row as the events came.
      leads: large_binary [journeys], the ids, in order of first appearance.
    """

    order: np.ndarray
    begin: np.ndarray
    count: np.ndarray
    first: np.ndarray
    leads: pa.Array

    def take(self, which: np.ndarray) -> Journeys:
        """The journeys at these indices, in this order."""
        begin, count = self.begin[which], self.count[which]
        order = self.order[_runs(begin, count)]
        return Journeys(order, _starts(count), count, self.first[which], self.leads.take(pa.array(which)))


@dataclass(frozen=True)
class Decisions:
    """Decisions of some journeys; all arrays int64 [decisions].

    Attributes:
      journey: index of the journey.
      event: index, in the order of the journeys, of the event that was decided on.
      earlier: number of events before it, history_length.
      window: how many of them the history shows, at most L.
      positions: training_positions.
    """

    journey: np.ndarray
    event: np.ndarray
    earlier: np.ndarray
    window: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.event)

    def slice(self, begin: int, end: int) -> Decisions:
        return Decisions(*(getattr(self, name)[begin:end] for name in self.__dataclass_fields__))

    def history(self, values: pa.Array, before: int = 0) -> pa.Array:
        """Windows of an ordered column whose first value belongs to event number `before`: large_list_view."""
        offsets = pa.array(self.event - self.window - before)
        return pa.LargeListViewArray.from_arrays(offsets, pa.array(self.window), values)


def find_journeys(lead: pa.Array, micros: np.ndarray) -> Journeys:
    """Groups events by lead.

    Args:
      lead: large_binary [events].
      micros: int64 [events], when; events at the same time keep their order.
    """
    encoded = pc.dictionary_encode(lead)
    code = encoded.indices.to_numpy()
    order = _order(code, micros)
    count = np.bincount(code, minlength=len(encoded.dictionary)).astype(np.int64)
    return Journeys(order, _starts(count), count, first_rows(code), encoded.dictionary)


def first_rows(code: np.ndarray) -> np.ndarray:
    """int64 [codes], where each code of a dictionary that was built in order appears first."""
    return np.flatnonzero(np.diff(np.maximum.accumulate(code), prepend=-1))


def _order(code: np.ndarray, micros: np.ndarray) -> np.ndarray:
    """Stable order by (code, micros); files that are in order of time, or of case and time, cost next to nothing."""
    order = _by_code(code)
    if not _sorted(code[order], micros[order]):
        order = np.argsort(micros, kind="stable")
        order = order[_by_code(code[order])]
    return order


def _sorted(code: np.ndarray, micros: np.ndarray) -> bool:
    return bool(((np.diff(micros) >= 0) | (code[1:] != code[:-1])).all())


def _by_code(code: np.ndarray) -> np.ndarray:
    """Stable order of small non-negative integers; NumPy sorts 16-bit integers by radix."""
    if (code[1:] >= code[:-1]).all():
        return np.arange(len(code))
    order = np.argsort(code.astype(np.uint16), kind="stable")
    high = code >> _DIGIT
    return order[np.argsort(high[order].astype(np.uint16), kind="stable")] if high.any() else order


def find_decisions(count: np.ndarray, length: int, fewest: int = 0) -> Decisions:
    """The decisions of journeys that lie one after the other.

    Args:
      count: int64 [journeys], number of events of each.
      length: most events of a history, L.
      fewest: decisions with fewer events before them are left out.
    """
    kept = np.maximum(count - fewest, 0)
    journey = np.repeat(np.arange(len(count)), kept)
    earlier = fewest + np.arange(len(journey)) - _starts(kept)[journey]
    event = _starts(count)[journey] + earlier
    positions = training_positions(earlier, count[journey] - 1, length, fewest)
    return Decisions(journey, event, earlier, np.minimum(earlier, length), positions)


def training_positions(earlier: np.ndarray, last: np.ndarray, length: int, fewest: int = 0) -> np.ndarray:
    """For how many decisions, its own and those right before it, an example stands in causal training.

    An example whose window begins after its journey does (earlier > L) stands for the last S = max(1, L // 2): each
    of them sees at least L - S + 1 events. Counted back from the last decision every S-th example stands for S, until
    one whose window reaches back to the journey's first event stands for all that are left; 0 elsewhere. So every
    decision is stood for once, and sees L / 2 events or all there are.

    Args:
      earlier: int64 [decisions], number of events before each.
      last: int64 [decisions], the largest `earlier` of its journey.
      length: L.
      fewest: smallest `earlier` of a journey's decisions.
    """
    stride = max(1, length // 2)
    steps = np.minimum(np.maximum(-((length - last) // stride), 0), (last - fewest) // stride)
    back, rest = np.divmod(last - earlier, stride)
    positions = np.where(back < steps, stride, earlier - fewest + 1)
    return np.where((rest == 0) & (back <= steps), positions, 0)


def _starts(count: np.ndarray) -> np.ndarray:
    return np.cumsum(count) - count


def _runs(begin: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Indices begin, begin + 1, ... begin + count - 1 of each run, one after the other."""
    return np.repeat(begin - _starts(count), count) + np.arange(int(count.sum()))
