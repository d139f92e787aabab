"""When leads come in: season, weekday, hour and slow growth."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from modules.marketplace.settings import MarketplaceSettings

_MONTH: Final = np.array([0.82, 0.88, 1.06, 1.15, 1.22, 1.2, 1.12, 1.05, 0.96, 0.92, 0.84, 0.78])
_WEEKDAY: Final = np.array([1.05, 1.02, 1.0, 0.98, 0.9, 1.0, 1.2])  # Monday first
_HOUR: Final = np.array(
    [0.35, 0.2, 0.12, 0.1, 0.12, 0.25, 0.5, 0.8, 1.0, 1.15, 1.2, 1.2, 1.25, 1.2, 1.15, 1.1, 1.15, 1.25, 1.4, 1.6, 1.65,
     1.45, 1.0, 0.6]
)  # fmt: skip
_GROWTH_A_YEAR: Final = 0.12


@lru_cache(maxsize=4)
def _cumulative(start_day: int, days: int) -> np.ndarray:
    """Share of leads that came in before each hour of the period, float64 [24 days + 1], 0 to 1."""
    hours = np.arange(days * 24)
    day = start_day + hours // 24
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    weight = _MONTH[month] * _WEEKDAY[(day + 3) % 7] * _HOUR[hours % 24] * np.exp(_GROWTH_A_YEAR * hours / 8766)
    sums = np.concatenate([[0.0], np.cumsum(weight)])
    return sums / sums[-1]


def span_starts(settings: MarketplaceSettings) -> np.ndarray:
    """First row of each span and, last, the number of rows: int64 [spans + 1], ascending."""
    share = _cumulative(settings.start_time // 86400, settings.days)
    times = np.array([settings.span_start_time(span) for span in range(1, settings.spans + 2)])
    at = np.interp((times - settings.start_time) / 3600, np.arange(len(share)), share)
    return np.rint(settings.rows * at).astype(np.int64)


def arrival_times(settings: MarketplaceSettings, first: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Times of rows first .. first + count - 1: int64 [count], seconds since 1970 UTC, ascending.

    Row i falls at a random place within the i-th of `rows` slices that hold equally many leads in expectation, so
    rows are in order of time whichever chunk makes them; within its span, whichever slice straddles two.
    """
    share = _cumulative(settings.start_time // 86400, settings.days)
    rows = np.arange(first, first + count)
    hours = np.interp((rows + rng.random(count)) / settings.rows, share, np.arange(len(share), dtype=np.float64))
    time = settings.start_time + np.floor(hours * 3600).astype(np.int64)
    starts = np.array([settings.span_start_time(span) for span in range(1, settings.spans + 2)])
    span = np.searchsorted(span_starts(settings), rows, side="right")
    return np.clip(time, starts[span - 1], starts[span] - 1)
