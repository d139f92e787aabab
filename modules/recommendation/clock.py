"""What the time of an event tells the network, as codes that are embedded like any other.

    gap      seconds since the event before; for the first event since the start of the journey (or 0 without one)
    age      seconds since the start of the journey
    hour     hour of the day, UTC
    weekday  day of the week, UTC, Monday first

With x in seconds and the boundaries b of its table,

    code = FIRST_WORD + number of i with b[i] <= x

which is `FIRST_WORD + searchsorted(b, x, side="right")` in NumPy and in TensorFlow, on int64, so both give the same
codes. Times that run backwards count as 0 seconds. PADDING (0) marks slots without an event; MISSING and UNKNOWN
do not occur: every event has a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.clock import DAY, HOUR, MINUTE, hour, weekday
from modules.recommendation.layout import FIRST_WORD, PADDING, Codes

Array = NDArray[Any]

GAP_BOUNDARIES: tuple[int, ...] = (
    *(1, 2, 3, 5, 10, 20, 40),
    *(MINUTE * m for m in (1, 2, 3, 5, 10, 20, 40)),
    *(HOUR * h for h in (1, 2, 3, 5, 8, 12, 16, 20)),
    *(DAY * d for d in (1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 21, 28, 40, 60, 90, 180, 365)),
)
"""Seconds, ascending, int64. Two events of one second are a class of their own, and so is what happens at once."""

AGE_BOUNDARIES: tuple[int, ...] = (
    *(1, 10),
    *(MINUTE * m for m in (1, 5, 20)),
    *(HOUR * h for h in (1, 3, 8, 16)),
    *(DAY * d for d in (1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 20, 25, 30, 35, 45, 60, 90, 120, 180, 365, 730)),
)
"""Seconds, ascending, int64."""

COLUMNS: tuple[Codes, ...] = (
    Codes(name="gap", size=FIRST_WORD + len(GAP_BOUNDARIES) + 1),
    Codes(name="age", size=FIRST_WORD + len(AGE_BOUNDARIES) + 1),
    Codes(name="hour", size=FIRST_WORD + 24),
    Codes(name="weekday", size=FIRST_WORD + 7),
)
"""Columns in the order of the network's inputs, behind the attributes of an event."""


def codes(times: Array, lengths: Array, journey_start: Array) -> dict[str, NDArray[np.int32]]:
    """Codes of the times of events.

    Args:
      times: int64 [n, T], seconds since 1970, ascending within a journey; anything in unused slots.
      lengths: int [n], events of each journey, 0 to T, in slots 0 to length - 1.
      journey_start: int64 [n], seconds since 1970; negative where unknown, then the first event starts the journey.

    Returns:
      For each name of COLUMNS int32 [n, T]; PADDING in unused slots.
    """
    times = np.asarray(times, np.int64)
    n, slots = times.shape
    start = np.asarray(journey_start, np.int64).reshape(n)
    if slots == 0:
        return {column.name: np.zeros((n, 0), np.int32) for column in COLUMNS}
    start = np.where(start < 0, times[:, 0], start)
    before = np.concatenate([start[:, None], times[:, :-1]], axis=1)
    values = {
        "gap": np.searchsorted(GAP_BOUNDARIES, np.maximum(times - before, 0), side="right"),
        "age": np.searchsorted(AGE_BOUNDARIES, np.maximum(times - start[:, None], 0), side="right"),
        "hour": hour(times),
        "weekday": weekday(times),
    }
    used = np.arange(slots) < np.asarray(lengths).reshape(n, 1)
    return {name: np.where(used, FIRST_WORD + value, PADDING).astype(np.int32) for name, value in values.items()}
