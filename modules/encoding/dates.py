"""Dates as columns of numbers: parsed from ISO 8601 text and encoded in the graph, all date features at once.

A date may be given as

    2026-01-05    2026-01-05T10    2026-01-05T10:30    2026-01-05T10:30:15    2026-01-05T10:30:15.250

with a blank for the T and with `Z`, `+01`, `+0100` or `+01:00` behind a time; without an offset it is UTC. Fractions of
a second are dropped. Anything else is missing, 30 February too: a graph that serves has no way to complain.

    part     columns           value
    age      age               days, fractions included, see `date_columns`
    weekday  weekday_sin, _cos  sin and cos of 2 pi w / 7, Monday w = 0
    month    month_sin, _cos    sin and cos of 2 pi m / 12, January m = 0
    hour     hour_sin, _cos     sin and cos of 2 pi h / 24

Sines and cosines are looked up in constants: those that TensorFlow computes differ in the last bit with the size of the
batch, and training would not equal serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from modules.clock import DAY, HOUR, MINUTE, hour, weekday
from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.columns import TransformedFeature
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig

Part = Literal["age", "weekday", "month", "hour"]

COLUMNS: dict[Part, tuple[str, ...]] = {
    "age": ("age",),
    "weekday": ("weekday_sin", "weekday_cos"),
    "month": ("month_sin", "month_cos"),
    "hour": ("hour_sin", "hour_cos"),
}
"""The columns of each part, in the order in which they are laid out."""

EPOCH = 946_684_800
"""2000-01-01 UTC, seconds since 1970: from here a date without a reference is counted. float32 then tells moments of
the years 1956 to 2043 apart that are two minutes away from each other."""

ISO = (
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T ](?:[01]\d|2[0-3])(?::[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?"
)
"""RE2; what it lets pass is a date, except for the number of days in the month and the year 0."""

_HEAD, _TAIL = 19, 6
_BYTES = _HEAD + _TAIL
# Bytes of the text as far as the seconds, then its last six, where the offset is.
_PAIRS = (0, 2, 5, 8, 11, 14, 17, _HEAD + 1, _HEAD + 2, _HEAD + 4)
_SOME_DATE = "2000-01-01"
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_DAYS_IN = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS_TO_1970 = 719_162
_CYCLES: dict[Part, int] = {"weekday": 7, "month": 12, "hour": 24}


def rows(config: TransformConfig) -> Sequence[Feature]:
    """The rows this file encodes."""
    return config.dataset.encoded.of_kind(Kind.DATE)


def learnings(features: Sequence[Feature], config: TransformConfig) -> Sequence[Learning]:
    """Nothing: no column of a date depends on data."""
    return ()


def columns(features: Sequence[Feature], config: TransformConfig, words: Words) -> Sequence[TransformedFeature | None]:
    """The columns of the block, `date:age`, `date:weekday_sin` and so on."""
    return [
        TransformedFeature(
            f"{row.name}:{name}",
            row.name,
            "date",
            -1,
            raw=row.raw if name in COLUMNS["age"] else (row.name,),
            terms=row.terms,
        )
        for row in features
        for name in column_names(row.parts)
    ]


def encode(features: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """The block, float32 [n, columns]."""
    places = {row.name: i for i, row in enumerate(features)}
    text = tf.concat([batch.strings(row) for row in features], axis=1)
    references = [None if row.reference is None else places[row.reference] for row in features]
    return date_columns(text, [row.parts for row in features], references)


def parse_seconds(text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Seconds since 1970 UTC, exact and rounded down.

    Args:
      text: string of any shape, ISO 8601 as above; '' is missing.

    Returns:
      int64, seconds, anything where there is no date; bool, whether there is one. Both in the shape of `text`.
    """
    text = tf.strings.strip(text)
    known = tf.strings.regex_full_match(text, ISO)
    text = tf.where(known, text, _SOME_DATE)
    head = tf.io.decode_raw(text, tf.uint8, fixed_length=_HEAD)
    tail = tf.io.decode_raw(tf.strings.substr(text, -_TAIL, _TAIL), tf.uint8, fixed_length=_TAIL)
    cells = tf.cast(tf.concat([head, tail], axis=-1), tf.int64)

    def at(place: int, *characters: str) -> tf.Tensor:
        return tf.reduce_any(tf.stack([tf.equal(cells[..., place], ord(c)) for c in characters]), axis=0)

    tens, ones = (tf.gather(cells, [p + i for p in _PAIRS], axis=-1) - ord("0") for i in (0, 1))
    century, rest, month, day, hours, minutes, seconds, early, middle, late = tf.unstack(10 * tens + ones, axis=-1)
    has_time = tf.strings.length(text) > len(_SOME_DATE)
    has_minute = at(13, ":")
    has_second = has_minute & at(16, ":")

    def if_there(there: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        return tf.where(there, value, tf.zeros_like(value))

    year = 100 * century + rest
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    in_month = tf.gather(tf.constant(_DAYS_IN, tf.int64), month - 1) + tf.cast(leap & (month == 2), tf.int64)
    known = known & (day <= in_month) & (year > 0)
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400 - _DAYS_TO_1970
    days += tf.gather(tf.constant(_DAYS_BEFORE, tf.int64), month - 1) + tf.cast(leap & (month > 2), tf.int64) + day - 1
    local = DAY * days + if_there(has_time, HOUR * hours)
    local += if_there(has_minute, MINUTE * minutes) + if_there(has_second, seconds)

    # One of +hh:mm, +hhmm and +hh, found by where the sign is; a date alone ends in something like one.
    colon = has_time & at(_HEAD, "+", "-") & at(_HEAD + 3, ":")
    plain = has_time & at(_HEAD + 1, "+", "-")
    short = has_time & at(_HEAD + 3, "+", "-")
    offset = if_there(colon, HOUR * early + MINUTE * late)
    offset += if_there(plain, HOUR * middle + MINUTE * late) + if_there(short, HOUR * late)
    minus = (colon & at(_HEAD, "-")) | (plain & at(_HEAD + 1, "-")) | (short & at(_HEAD + 3, "-"))
    return tf.where(minus, local + offset, local - offset), known


def month_of_year(seconds: tf.Tensor) -> tf.Tensor:
    """Month, UTC, January 0 to December 11: int64 seconds since 1970, years 1 to 9999 -> int64.

    Source: H. Hinnant, chrono-compatible low-level date algorithms, civil_from_days.
    """
    # Days since 1 March of the year 0 from here on.
    days = seconds // DAY + 719_468
    of_era = days % 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    return ((5 * of_year + 2) // 153 + 2) % 12


def column_names(parts: Sequence[Part]) -> tuple[str, ...]:
    """Names of the columns of a date feature, in order."""
    return tuple(name for part in COLUMNS if part in parts for name in COLUMNS[part])


def date_columns(text: tf.Tensor, parts: Sequence[Sequence[Part]], references: Sequence[int | None]) -> tf.Tensor:
    """Columns of k date features.

    The age of a date d is, in days, r - d where r is its reference, another date of the same row: positive when d lies
    before it. Without a reference it is d - 2000-01-01.

    Args:
      text: string [n, k], see `parse_seconds`.
      parts: of each feature, at least one.
      references: of each feature, which of the k features it is measured against; None if it has no reference.

    Returns:
      float32 [n, F], F = sum of the features' columns, feature by feature as `column_names` lists them. NaN where the
      date is missing, and for the age where the reference is.
    """
    seconds, known = parse_seconds(text)
    used = {part for several in parts for part in several}
    blocks: list[tf.Tensor] = []
    order: dict[str, int] = {}
    if "age" in used:
        blocks.append(tf.expand_dims(_age(seconds, known, references), 2))
        order["age"] = 0
    values = {"weekday": weekday, "month": month_of_year, "hour": hour}
    cycles = [part for part in _CYCLES if part in used]
    if cycles:
        starts = np.cumsum([0, *(_CYCLES[part] for part in cycles)])
        rows = tf.stack([values[p](seconds) + int(s) for p, s in zip(cycles, starts, strict=False)], axis=2)
        rows = tf.where(tf.expand_dims(known, 2), rows, np.int64(starts[-1]))
        table = np.concatenate([*(_circle(_CYCLES[part]) for part in cycles), np.full((1, 2), np.nan, np.float32)])
        found = tf.gather(tf.constant(table), rows)
        blocks.append(tf.reshape(found, tf.concat([tf.shape(seconds), [2 * len(cycles)]], axis=0)))
        for part in cycles:
            order |= {name: len(order) + i for i, name in enumerate(COLUMNS[part])}
    width = len(order)
    wanted = [i * width + order[name] for i, several in enumerate(parts) for name in column_names(several)]
    matrix = tf.reshape(tf.concat(blocks, axis=2), [-1, len(parts) * width])
    return matrix if wanted == list(range(len(parts) * width)) else tf.gather(matrix, wanted, axis=1)


def _age(seconds: tf.Tensor, known: tf.Tensor, references: Sequence[int | None]) -> tf.Tensor:
    """Days, float32 [n, k]."""
    if all(r is None for r in references):
        apart = seconds - EPOCH
    else:
        # One more column for those without a reference.
        last = len(references)
        against = [last if r is None else r for r in references]
        signs = tf.constant([-1 if r is None else 1 for r in references], tf.int64)
        others = tf.pad(seconds, [[0, 0], [0, 1]], constant_values=EPOCH)
        apart = signs * (tf.gather(others, against, axis=1) - seconds)
        known = known & tf.gather(tf.pad(known, [[0, 0], [0, 1]], constant_values=True), against, axis=1)
    days = tf.cast(tf.cast(apart, tf.float64) / DAY, tf.float32)
    return tf.where(known, days, float("nan"))


def _circle(size: int) -> np.ndarray:
    """sin and cos of 2 pi i / size: float32 [size, 2]."""
    angle = 2 * np.pi * np.arange(size) / size
    points = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    # The sine of pi is 0, that of the nearest double is not.
    return np.where(np.abs(points) < 1e-12, 0, points).astype(np.float32)
