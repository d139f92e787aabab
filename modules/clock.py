"""Where in its day and week a moment lies; for NumPy and TensorFlow alike, so that both give the same numbers."""

from __future__ import annotations

from typing import TypeVar

MINUTE, HOUR, DAY = 60, 3_600, 86_400

EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""

Seconds = TypeVar("Seconds")
"""int64 array or tensor of any shape, seconds since 1970 UTC, negative before."""


def hour(seconds: Seconds) -> Seconds:
    """Hour of the day, UTC, 0-23, in the type and shape of `seconds`."""
    return seconds % DAY // HOUR  # type: ignore[operator]


def weekday(seconds: Seconds) -> Seconds:
    """Day of the week, UTC, 0-6, Monday first, in the type and shape of `seconds`."""
    return (seconds // DAY + EPOCH_WEEKDAY) % 7  # type: ignore[operator]
