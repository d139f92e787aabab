"""How numbers are written: with a comma or a point before the fraction, and between groups of three digits or not."""

from __future__ import annotations

import re
from functools import lru_cache

MARK = "\u00b7"
"""Stands for a point that is no decimal point: what holds it is no number."""


def with_decimal(decimal: str) -> str:
    """Pattern of a number with a fraction after `decimal`."""
    return rf"^[ \t]*[+-]?[0-9]*{re.escape(decimal)}[0-9]+(?:[eE][+-]?[0-9]+)?[ \t]*$"


def with_groups(decimal: str, thousands: str) -> str:
    """Pattern of a number of at least one group of three digits after `thousands`."""
    return rf"^[ \t]*[+-]?[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+(?:{re.escape(decimal)}[0-9]*)?[ \t]*$"


POINTED = r"^[ \t]*[+-]?[0-9]*\.[0-9]*"
"""Pattern of what begins like a number with a point."""


def plain_number(text: str, decimal: str, thousands: str | None) -> str:
    """A number as `1234.5`; anything else as it is.

    Where the comma is the decimal separator 1.234 is no number: is it a thousand, or a bit more than one?

    Args:
      text: what may be a number.
      decimal: '.' or ','.
      thousands: stands between groups of exactly three digits, if at all.
    """
    if thousands is not None and _compiled(with_groups(decimal, thousands)).search(text):
        text = text.replace(thousands, "")
    if decimal != ".":
        if _compiled(with_decimal(decimal)).search(text):
            return text.replace(decimal, ".")
        if _compiled(POINTED).search(text):
            return text.replace(".", MARK)
    return text


@lru_cache(16)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
