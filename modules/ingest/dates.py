"""Columns of dates become the text that tf.Examples and requests carry: ISO 8601, UTC, whole seconds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules import iso
from modules.clock import DAY
from modules.ingest import convert
from modules.ingest.convert import Checked

EXAMPLE = "2024-01-31 or 2024-01-31T12:00:00"

_FIRST = -62_135_596_800
_LAST = 253_402_300_799


def dates(values: pa.Array, pattern: str | None = None, missing: tuple[str, ...] = ()) -> Checked:
    """`2024-01-31` or, if it is not midnight, `2024-01-31T12:00:00Z`, large_binary [n].

    Args:
      values: text after `pattern` (strptime) or ISO 8601, without an offset UTC; timestamps and dates of Parquet;
        whole numbers, which are seconds since 1970 unless a pattern says how to read their digits.
      pattern: strptime format.
      missing: spellings of 'missing' beside the empty field. One that is a date stands for the moment, however it is
        written.

    Returns:
      The text, null where missing or wrong: not a date, or not in the years 1 to 9999; and where it is wrong.
    """
    if pa.types.is_integer(values.type) and pattern not in (None, "%s"):
        values = values.cast(pa.string())
    if convert.is_text(values.type):
        trimmed = pc.ascii_trim_whitespace(convert.words(values).cast(pa.large_string()))
        values = convert.words(trimmed, missing)
    elif pa.types.is_null(values.type):
        return pa.nulls(len(values), pa.large_binary()), None
    micros = convert.moments(values, pattern)[0]
    seconds = convert.floor_seconds(micros)
    legal = pc.fill_null(pc.and_(pc.greater_equal(seconds, _FIRST), pc.less_equal(seconds, _LAST)), False)
    wrong = np.asarray(pc.and_not(values.is_valid(), legal))
    text = iso_text(pc.if_else(legal, seconds, pa.scalar(None, pa.int64())))
    if absent := sorted(iso.date_spellings(missing, pattern)):
        text = convert.words(text, tuple(absent))
    return text, wrong if wrong.any() else None


def iso_text(seconds: pa.Array) -> pa.Array:
    """Seconds since 1970, int64 [n], years 1 to 9999 -> large_binary [n] as `dates` writes them; null stays null."""
    days = pc.floor(pc.divide(seconds.cast(pa.float64()), DAY)).cast(pa.int32())
    day = days.cast(pa.date32()).cast(pa.string())
    midnight = pc.equal(pc.multiply(days.cast(pa.int64()), DAY), seconds)
    if not pc.all(midnight).as_py():
        moment = pc.replace_substring(seconds.cast(pa.timestamp("s")).cast(pa.string()), " ", "T")
        day = pc.if_else(midnight, day, pc.binary_join_element_wise(moment, "Z", ""))
    return day.cast(pa.large_binary())


def seconds_of(text: pa.Array) -> np.ndarray:
    """The reverse of `iso_text`: float64 [n], exact, NaN where null."""
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    return convert.times(text, None)[0].cast(pa.float64()).to_numpy(zero_copy_only=False)
