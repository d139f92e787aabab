"""What is suspicious about a column of dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from modules.clock import DAY

MAX_LATER = 0.01
"""Largest share of dates after the lead's own time that is taken for noise."""
_YEAR = 365.25 * DAY
_FAR = 10 * _YEAR
_STANDS_FOR_NOTHING = ("0001-01-01", "1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1970-01-01",
                       "2099-12-31", "2100-01-01", "2999-12-31", "9999-12-31")  # fmt: skip


def suspects(column: pa.Array, times: pa.Array | None) -> Iterator[tuple[str, str]]:
    """What was found, and what to do about it.

    Args:
      column: double [n], seconds since 1970, null where missing.
      times: int64 [n], when the leads came in, if that is known.
    """
    seconds = column.to_numpy(zero_copy_only=False)
    known = ~np.isnan(seconds)
    yield from _sentinels(seconds[known])
    if times is not None and known.any():
        later = float(np.mean(seconds[known] >= times.to_numpy(zero_copy_only=False)[known] + DAY))
        if later > MAX_LATER:
            yield (
                f"{later:.1%} of the dates lie after the time of their lead",
                "is it known when the lead comes in? if not, list it under leave_out",
            )


def _sentinels(seconds: np.ndarray) -> Iterator[tuple[str, str]]:
    distinct, counts = np.unique(seconds, return_counts=True)
    if len(distinct) < 3:
        return
    for at, neighbour in ((0, 1), (-1, -2)):
        day = (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=float(distinct[at]))).date().isoformat()
        if day in _STANDS_FOR_NOTHING and abs(distinct[at] - distinct[neighbour]) > _FAR and counts[at] > 2:
            yield (
                f"{counts[at]} rows have {day}, years away from the next date",
                (f"if that means missing: missing_values: ['{day}']"),
            )
