"""Where in its day and week a moment lies; for NumPy and TensorFlow alike, so that both give the same numbers."""

from __future__ import annotations

from typing import Any

MINUTE, HOUR, DAY = 60, 3_600, 86_400

EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""


def hour(seconds: Any) -> Any:
    """Hour of the day, UTC, 0-23.

    Args:
      seconds: int64 array or tensor of any shape, seconds since 1970 UTC, negative before.

    Returns:
      The same type and shape.
    """
    return seconds % DAY // HOUR


def weekday(seconds: Any) -> Any:
    """Day of the week, UTC, 0-6, Monday first; otherwise as `hour`."""
    return (seconds // DAY + EPOCH_WEEKDAY) % 7
