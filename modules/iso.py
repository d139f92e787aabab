"""Single dates as the text that tf.Examples and requests carry: `2024-01-31` or `2024-01-31T12:00:00Z`."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable


def date_text(moment: dt.date) -> str:
    """A date, or a datetime in whole seconds (rounded down) of UTC; without an offset it is UTC.

    Raises:
      OverflowError: its offset carries it out of the years 1 to 9999.
    """
    if not isinstance(moment, dt.datetime):
        return moment.isoformat()
    moment = moment.astimezone(dt.UTC) if moment.tzinfo else moment
    moment = moment.replace(microsecond=0, tzinfo=None)
    return moment.date().isoformat() if moment.time() == dt.time() else moment.isoformat() + "Z"


def read_date(text: str, pattern: str | None = None) -> dt.datetime:
    """A moment from text after `pattern` (strptime; '%s' is seconds since 1970), or ISO 8601 without one.

    Raises:
      ValueError: the text is no such date.
    """
    text = text.strip()
    try:
        if pattern == "%s":
            return dt.datetime.fromtimestamp(int(text), dt.UTC)
        return dt.datetime.strptime(text, pattern) if pattern else dt.datetime.fromisoformat(text)
    except (OverflowError, OSError) as e:
        raise ValueError(str(e)) from None


def date_spellings(missing: Iterable[str], pattern: str | None = None) -> set[str]:
    """Those spellings of 'missing' that are dates, as `date_text` writes them: they stand for the moment."""
    found = set()
    for spelling in missing:
        for form in dict.fromkeys((pattern, None)):
            with contextlib.suppress(ValueError, OverflowError):
                found.add(date_text(read_date(spelling, form)))
                break
    return found
