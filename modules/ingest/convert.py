"""Raw columns become typed ones; what cannot be read is marked, not guessed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = re.compile(rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan)", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAMES = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
                "november", "december")  # fmt: skip

MICROS = 1_000_000

Checked = tuple[pa.Array, np.ndarray | None]
"""A typed column, null where missing or wrong; bool [n] where the value is wrong, None if nowhere."""


def is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_string_view(kind)
    )


def words(values: pa.Array, missing: tuple[str, ...] = ()) -> pa.Array:
    """Bytes, large_binary [n]; null for the empty string and the spellings of 'missing'.

    Whole floating-point numbers are spelled without a fraction, truth values 'true' and 'false'.
    """
    kind = values.type
    if pa.types.is_floating(kind):
        whole = pc.all(pc.equal(values, pc.trunc(values)), skip_nulls=True).as_py()
        finite = pc.all(pc.less(pc.abs(values), 2.0**53), skip_nulls=True).as_py()
        if whole and finite:
            values = values.cast(pa.int64())
    if not is_text(kind):
        values = values.cast(pa.string())
    if values.type != pa.large_binary():
        values = values.cast(pa.large_binary())
    absent = pc.equal(pc.binary_length(values), 0)
    if missing:
        absent = pc.or_(absent, pc.is_in(values, pa.array([m.encode() for m in missing], values.type)))
    if pc.any(absent).as_py():
        values = pc.if_else(absent, pa.scalar(None, values.type), values)
    return values


def numbers(values: pa.Array, missing: tuple[str, ...] = ()) -> Checked:
    """float32 [n]; NaN and the empty field are missing; text, infinity and what float32 cannot hold are wrong.

    A spelling of 'missing' that is a number stands for its value: '999' also means '999.0'.
    """
    wrong: np.ndarray | None = None
    sentinels = []
    if is_text(values.type):
        values = words(values, missing)
        values, wrong = _parse_numbers(values)
    elif not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        elif not pa.types.is_decimal(values.type) and not pa.types.is_null(values.type):
            return pa.nulls(len(values), pa.float32()), np.asarray(values.is_valid())
    for spelling in missing:
        try:
            sentinels.append(float(spelling))
        except ValueError:
            continue
    doubles = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        singles = doubles.astype(np.float32)
    valid = ~np.isnan(doubles)
    for sentinel in sentinels:
        valid &= doubles != sentinel
    infinite = np.isinf(singles) & valid
    if infinite.any():
        wrong = infinite if wrong is None else wrong | infinite
        valid &= ~infinite
    return pa.array(singles, mask=None if valid.all() else ~valid), wrong


def _parse_numbers(values: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    text = values.cast(pa.large_string())
    try:
        return text.cast(pa.float64()), None
    except pa.ArrowInvalid:
        pass
    parsed: list[float | None] = []
    bad = np.zeros(len(values), bool)
    for i, value in enumerate(values.to_pylist()):
        value = value if value is None else value.strip(b" \t")
        if not value:
            parsed.append(None)
        elif _NUMBER.fullmatch(value):
            parsed.append(float(value))
        else:
            parsed.append(None)
            bad[i] = True
    return pa.array(parsed, pa.float64()), bad if bad.any() else None


def labels(values: pa.Array, positive: tuple[str, ...], negative: tuple[str, ...]) -> Checked:
    """int64 [n]: 1 for the positive spellings, 0 for the negative ones; everything else, missing too, is wrong."""
    text = words(values)
    found = pc.index_in(text, pa.array([s.encode() for s in (*positive, *negative)], text.type))
    wrong = np.asarray(found.is_null())
    label = pc.less(found, len(positive)).cast(pa.int64())
    return label, wrong if wrong.any() else None


def times(values: pa.Array, pattern: str | None) -> Checked:
    """Seconds since 1970-01-01 UTC, int64 [n], rounded down; a missing time is wrong.

    Text follows `pattern` (strptime; '%s' alone is seconds since 1970) or ISO 8601; without an offset it is UTC.
    Timestamps and dates of Parquet are taken as they are, integers as seconds.
    """
    if pa.types.is_integer(values.type):
        missing = np.asarray(values.is_null())
        return values.cast(pa.int64()), missing if missing.any() else None
    micros, wrong = moments(values, pattern)
    return floor_seconds(micros), wrong


def moments(values: pa.Array, pattern: str | None) -> Checked:
    """As `times`, in microseconds: what order in time is decided by."""
    if is_text(values.type):
        micros = _parse_times(words(values), pattern)
    elif pa.types.is_integer(values.type):
        micros = pc.multiply(values.cast(pa.int64()), MICROS)
    elif pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        micros = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    else:
        micros = pa.nulls(len(values), pa.int64())
    wrong = np.asarray(micros.is_null())
    return micros, wrong if wrong.any() else None


def floor_seconds(micros: pa.Array) -> pa.Array:
    """Whole seconds, int64 [n], rounded down; null stays null."""
    valid = np.asarray(micros.is_valid())
    whole = micros.fill_null(0).to_numpy(zero_copy_only=False) // MICROS
    return pa.array(whole, pa.int64(), mask=None if valid.all() else ~valid)


def _parse_times(values: pa.Array, pattern: str | None) -> pa.Array:
    """Microseconds, int64 [n]; null where the text is not a time."""
    text = values.cast(pa.large_string())
    if pattern is None:
        for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
            try:
                return text.cast(kind).cast(pa.int64())
            except pa.ArrowInvalid:
                continue
        return _each(text, lambda t: _micros(dt.datetime.fromisoformat(t)))
    if pattern == "%s":
        return _each(text, lambda t: int(t) * MICROS)
    if pattern.endswith(".%f"):
        # Arrow's strptime knows no fractions of a second.
        head = pc.replace_substring_regex(text, r"\.[0-9]{1,6}$", "")
        digits = pc.replace_substring_regex(text, r"^.*\.([0-9]{1,6})$", r"\1")
        fraction = pc.utf8_rpad(pc.if_else(pc.equal(head, text), None, digits), 6, "0").cast(pa.int64())
        micros = pc.add(_strptime(head, pattern.removesuffix(".%f")), fraction)
    else:
        micros = _strptime(text, pattern)
    doubtful = micros.is_null()
    if not pc.any(doubtful).as_py():
        return micros
    again = _each(text.filter(doubtful), lambda t: _micros(dt.datetime.strptime(t, pattern)))
    return pc.replace_with_mask(micros, doubtful, again)


def _strptime(text: pa.Array, pattern: str) -> pa.Array:
    """Microseconds, int64 [n], of whole seconds; null where Arrow cannot tell."""
    text = text.cast(pa.string())
    parsed = pc.strptime(text, pattern, "s", error_is_null=True)
    # strptime turns 31 February into 2 March: only what prints the same again is believed.
    same = pc.fill_null(pc.equal(pc.strftime(parsed, pattern), text), False)
    return pc.if_else(same, pc.multiply(parsed.cast(pa.int64()), MICROS), pa.scalar(None, pa.int64()))


def _each(text: pa.Array, parse: Callable[[str], int]) -> pa.Array:
    """Applies `parse` to every distinct text; null where it raises ValueError."""
    encoded = pc.dictionary_encode(text)
    parsed: list[int | None] = []
    for value in encoded.dictionary.to_pylist():
        try:
            parsed.append(parse(value.strip()))
        except (ValueError, OverflowError):
            parsed.append(None)
    return pa.array(parsed, pa.int64()).take(encoded.indices)


def _micros(moment: dt.datetime) -> int:
    """Microseconds since 1970-01-01 UTC; UTC without an offset."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def months(values: pa.Array) -> Checked:
    """Month numbers 1-12, int64 [n], from English names, their first three letters or numbers; else wrong."""
    text = pc.utf8_lower(words(values).cast(pa.large_string()))
    spellings = [[f"{i}", f"{i:02d}", _MONTHS[i - 1], _MONTH_NAMES[i - 1]] for i in range(1, 13)]
    found = pc.index_in(text, pa.array([s for four in spellings for s in four], text.type))
    wrong = np.asarray(found.is_null())
    month = pc.add(pc.divide(found, 4), 1).cast(pa.int64())
    return month, wrong if wrong.any() else None
