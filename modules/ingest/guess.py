"""What a column of a table that nobody described probably holds, from the values of its first rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.clock import DAY
from modules.ingest import convert
from modules.ingest.check import EMAIL, PERSONAL_NAME, PERSONAL_SHARE, PHONE, SENTINEL_WORDS, words_of
from modules.ingest.fields import plain_numbers

Looks = Literal["numeric", "date", "categorical", "text", "empty", "constant", "identifier", "row number", "personal"]

MAX_CATEGORY_LENGTH = 40
CLOSED_CATEGORIES = 50
"""A column with more categories than this will show new ones."""
MANY_WORDS = 3.0
NEARLY_ALL = 0.9
FEW_SPELLINGS = 5
PROBES = 20
NEARLY_CLEAN = 0.95
_YEARS = (1900, 2100)

DATE_FORMATS = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%d.%m.%y", "%d/%m/%y",
    "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%Y%m%d",
)  # fmt: skip
TIMES_OF_DAY = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")

# These words can also be a category; a person decides.
_PERHAPS = frozenset({"unknown", "unk", "none", "not available"})


@dataclass(frozen=True)
class Guess:
    """What a column looks like.

    Attributes:
      looks: what it holds.
      missing: spellings of 'missing' beside the empty field.
      format: of dates, strptime; None for ISO 8601.
      also: another format that all dates fit.
      clock: dates have a time of day.
      open: new categories are to be expected.
      gaps: whether some value is missing.
      comma: numeric only with a decimal comma.
      groups: numeric only if what is not the decimal separator stands between groups of three digits.
    """

    looks: Looks
    missing: tuple[str, ...] = ()
    format: str | None = None
    also: str | None = None
    clock: bool = False
    open: bool = False
    gaps: bool = False
    comma: bool = False
    groups: bool = False


def guess_column(name: str, column: pa.Array) -> Guess:
    """Looks at a column.

    Args:
      name: of the column.
      column: large_binary [n], UTF-8, null where the field is empty.
    """
    if PERSONAL_NAME.search(words_of(name)):
        return Guess("personal")
    values = column.drop_null()
    if not len(values):
        return Guess("empty", gaps=True)
    counts = pc.value_counts(values)
    distinct, many = counts.field("values"), counts.field("counts").to_numpy()
    spelled = [v.decode() for v in distinct.to_pylist()]
    blank = tuple(w for w in spelled if w.strip().lower() in SENTINEL_WORDS)
    gaps = bool(column.null_count or blank)
    rest = distinct.filter(pc.invert(pc.is_in(distinct, pa.array([w.encode() for w in blank], distinct.type))))
    if not len(rest):
        return Guess("empty", blank, gaps=True)
    if len(distinct) == 1 and not column.null_count:
        return Guess("constant")
    if (found := _date(distinct, many, rest, blank)) is not None:
        return found if found.gaps or not gaps else _with_gaps(found)
    if (found := _number(values, distinct, many, rest, blank)) is not None:
        return found if found.gaps or not gaps else _with_gaps(found)
    if _is_personal(values):
        return Guess("personal")
    missing = tuple(w for w in blank if w.strip().lower() not in _PERHAPS)
    return _words(values, rest, missing, gaps)


def _with_gaps(found: Guess) -> Guess:
    return Guess(**{**found.__dict__, "gaps": True})


def _few_others(wrong: np.ndarray, distinct: pa.Array, many: np.ndarray) -> tuple[str, ...] | None:
    """Values that do not fit, if they are few and of few spellings."""
    if many[wrong].sum() > (1 - NEARLY_CLEAN) * many.sum() or wrong.sum() > FEW_SPELLINGS:
        return None
    return tuple(v.decode() for v in distinct.filter(pa.array(wrong)).to_pylist())


def _date(distinct: pa.Array, many: np.ndarray, rest: pa.Array, blank: tuple[str, ...]) -> Guess | None:
    first = rest[0].as_py()
    if not re.search(rb"\d", first) or len(first) > 40:
        return None
    fits: list[tuple[str | None, tuple[str, ...], bool]] = []
    known = {w.encode() for w in blank}
    is_blank = np.array([v in known for v in distinct.to_pylist()])
    few = rest.take(pa.array(np.unique(np.linspace(0, len(rest) - 1, PROBES).astype(int))))
    for pattern in (None, *(day + time for time in TIMES_OF_DAY for day in DATE_FORMATS)):
        if 2 * convert.moments(few, pattern)[0].null_count > len(few):
            continue
        micros, wrong = convert.moments(distinct, pattern)
        wrong = np.zeros(len(distinct), bool) if wrong is None else wrong
        others = _few_others(wrong & ~is_blank, distinct, many)
        if others is None or (wrong & ~is_blank).sum() * 2 > len(rest):
            continue
        moments = micros.drop_null()
        clock = bool((moments.to_numpy() % (DAY * convert.MICROS)).any())
        if pattern is None and convert.numbers(rest)[1] is None:
            continue
        if pattern == "%Y%m%d" and not _plausible(moments, rest):
            continue
        if pattern is not None and "%y" in pattern and fits:
            continue
        fits.append((pattern, others, clock))
    if not fits:
        return None
    pattern, others, clock = min(fits, key=lambda fit: len(fit[1]))
    also = next((p for p, o, _ in fits if p != pattern and len(o) == len(others)), None)
    missing = (*blank, *(o for o in others if o not in blank))
    return Guess("date", missing, pattern, also, clock, gaps=bool(missing))


def _plausible(moments: pa.Array, texts: pa.Array) -> bool:
    """Whether numbers of eight digits are dates of our time."""
    years = pc.year(moments.cast(pa.timestamp("us")))
    in_range = pc.min(years).as_py() >= _YEARS[0] and pc.max(years).as_py() <= _YEARS[1]
    return bool(in_range and pc.min(pc.binary_length(texts)).as_py() == 8)


def _number(
    values: pa.Array, distinct: pa.Array, many: np.ndarray, rest: pa.Array, blank: tuple[str, ...]
) -> Guess | None:
    if pc.any(pc.match_substring_regex(rest.cast(pa.large_string()), r"^\s*\+?0[0-9]")).as_py():
        # Post codes, phone numbers, article numbers: 01234 is not 1234.
        return None
    known = {w.encode() for w in blank}
    is_blank = np.array([v in known for v in distinct.to_pylist()])
    for comma, groups in ((False, False), (True, False), (True, True), (False, True)):
        plain = distinct
        if comma or groups:
            plain = plain_numbers(distinct, "," if comma else ".", ("." if comma else ",") if groups else None)
        wrong = convert.numbers(plain)[1]
        wrong = (np.zeros(len(distinct), bool) if wrong is None else wrong) & ~is_blank
        others = _few_others(wrong, distinct, many)
        if others is None or wrong.sum() * 2 > len(rest):
            continue
        missing = (*blank, *(o for o in others if o not in blank))
        if not missing and _is_row_number(values):
            return Guess("row number")
        return Guess("numeric", missing, gaps=bool(missing), comma=comma, groups=groups)
    return None


def _is_row_number(values: pa.Array) -> bool:
    numbers = convert.numbers(values)[0].to_numpy(zero_copy_only=False).astype(np.float64)
    return len(numbers) > 2 and numbers[0] in (0, 1) and bool((np.diff(numbers) == 1).all())


def _is_personal(values: pa.Array) -> bool:
    some = [v.decode("utf-8", "replace").strip() for v in values[:1000].to_pylist()]
    return any(sum(bool(p.fullmatch(v)) for v in some) > PERSONAL_SHARE * len(some) for p in (EMAIL, PHONE))


def _words(values: pa.Array, rest: pa.Array, missing: tuple[str, ...], gaps: bool) -> Guess:
    length = pc.mean(pc.binary_length(rest)).as_py()
    spaces = pc.mean(pc.count_substring(rest.cast(pa.large_string()), " ")).as_py() + 1
    different = len(rest) / len(values)
    if different > 0.5 and len(rest) > CLOSED_CATEGORIES and (length > MAX_CATEGORY_LENGTH or spaces >= MANY_WORDS):
        return Guess("text", missing, gaps=gaps)
    if different > NEARLY_ALL and len(rest) > CLOSED_CATEGORIES:
        return Guess("identifier", missing, gaps=gaps)
    return Guess("categorical", missing, gaps=gaps, open=len(rest) > CLOSED_CATEGORIES)
