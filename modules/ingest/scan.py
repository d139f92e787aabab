"""Where the records of a CSV text begin and end, exactly, without parsing it.

A record is what a CSV reader (RFC 4180, double quote doubled) takes for one: a quote opens a quoted field only at the
start of a field and is an ordinary character elsewhere; line ends are LF, CRLF or CR. Two kinds of record are not
believed, because one forgotten quote would otherwise swallow the rest of the file:

- a quoted field that is not followed by a delimiter or a line end, or never closes;
- a record over several lines that has the wrong number of fields or is longer than `MAX_RECORD` bytes.

Only the first line of such a record is given up; reading resumes at the next line. The rule depends on the text
alone, so the result is the same for every size of block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

MAX_RECORD = 1 << 20
"""Longest record over several lines, bytes."""

WINDOW_BYTES = 1 << 17

LF, CR = 10, 13
_LINE_END = re.compile(rb"\r\n?|\n")


@dataclass(frozen=True)
class Dialect:
    """Delimiter and quote, one ASCII character each."""

    delimiter: str = ","
    quote: str = '"'

    @cached_property
    def quoted(self) -> re.Pattern[bytes]:
        q = re.escape(self.quote.encode())
        return re.compile(q + b"[^" + q + b"]*+(?:" + q + q + b"[^" + q + b"]*+)*+" + q)

    @cached_property
    def bare(self) -> re.Pattern[bytes]:
        return re.compile(b"[^\\r\\n" + re.escape(self.delimiter.encode()) + b"]*+")


class Scan(NamedTuple):
    """Record boundaries of a text: starts and ends int64 [records], blank lines included; broken lines; bytes used."""

    starts: np.ndarray
    ends: np.ndarray
    broken: list[tuple[int, int]]
    consumed: int


class _NeedMore(Exception):
    """The text ends inside a record."""


def _one_record(text: bytes, pos: int, final: bool, dialect: Dialect) -> tuple[int, int, bool]:
    """End, number of fields and soundness of the record at `pos`; raises _NeedMore."""
    n, fields = len(text), 0
    delimiter, quote = ord(dialect.delimiter), ord(dialect.quote)
    p = pos
    while True:
        fields += 1
        if p < n and text[p] == quote:
            match = dialect.quoted.match(text, p)
            if match is None or (match.end() == n and not final):
                too_long = n - pos > MAX_RECORD and _LINE_END.search(text, pos, n - 1) is not None
                if final or too_long:
                    return n, fields, False
                raise _NeedMore
            p = match.end()
            if p < n and text[p] not in (delimiter, LF, CR):
                return p, fields, False
        else:
            p = dialect.bare.match(text, p).end()  # type: ignore[union-attr]
        if p >= n:
            if not final:
                raise _NeedMore
            return n, fields, True
        if text[p] == delimiter:
            p += 1
            continue
        return _line_end(text, p, final), fields, True


def _line_end(text: bytes, pos: int, final: bool) -> int:
    """Offset after the first line end at or after `pos`."""
    match = _LINE_END.search(text, pos)
    if match is None:
        if final:
            return len(text)
        raise _NeedMore
    if match.end() == len(text) and text[-1] == CR and not final:
        raise _NeedMore
    return match.end()


def line_ends(text: np.ndarray, pos: int, limit: int, final: bool, has_cr: bool) -> np.ndarray:
    """Offsets after each line end in `text[pos:limit]`; the end of the text counts as one when `final`."""
    ends = np.flatnonzero(text[pos:limit] == LF) + (pos + 1)
    n = len(text)
    if has_cr:
        cr = np.flatnonzero(text[pos:limit] == CR) + pos
        follow = text[np.minimum(cr + 1, n - 1)]
        lone = np.where(cr + 1 < n, follow != LF, final)
        ends = np.union1d(ends, cr[lone] + 1)
    if final and limit == n and (not len(ends) or ends[-1] != n):
        ends = np.append(ends, n)
    return ends


def _window(
    text: np.ndarray, pos: int, limit: int, final: bool, has_cr: bool, fields: int, dialect: Dialect
) -> tuple[np.ndarray, bool]:
    """Ends of the records in `text[pos:limit]`, and whether a doubtful one follows them.

    With well-formed quoting a position is inside a quoted field exactly when an odd number of quotes precedes it;
    well-formed means that every opening quote starts a field and every closing one ends it.
    """
    ends = line_ends(text, pos, limit, final, has_cr)
    quotes = np.flatnonzero(text[pos:limit] == ord(dialect.quote)) + pos
    if not len(quotes) or not len(ends):
        return ends, False
    outside = np.searchsorted(quotes, ends) % 2 == 0
    records = ends[outside]
    if not len(records):
        return records, False
    last = records[-1]
    quotes = quotes[quotes < last]
    opening, closing = quotes[0::2], quotes[1::2]
    delimiter = ord(dialect.delimiter)
    n = len(text)
    before = text[np.maximum(opening - 1, 0)]
    starts_field = (opening == pos) | (before == delimiter) | (before == LF) | (before == CR)
    after = text[np.minimum(closing + 1, n - 1)]
    ends_field = (closing + 1 == n) | (after == delimiter) | (after == LF) | (after == CR)
    doubled = closing[:-1] + 1 == opening[1:]
    starts_field[1:] |= doubled
    ends_field[:-1] |= doubled
    wrong = np.flatnonzero(~(starts_field & ends_field))
    doubtful = int(opening[wrong[0]]) if len(wrong) else n + 1
    inner = ends[~outside]
    inner = inner[inner < last]
    if len(inner):
        which = np.unique(np.searchsorted(records, inner))
        delimiters = np.flatnonzero(text[pos:limit] == delimiter) + pos
        delimiters = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        start = np.where(which > 0, records[which - 1], pos)
        count = np.searchsorted(delimiters, records[which]) - np.searchsorted(delimiters, start) + 1
        odd = start[(count != fields) | (records[which] - start > MAX_RECORD)]
        if len(odd):
            doubtful = min(doubtful, int(odd[0]))
    if doubtful > n:
        return records, False
    return records[records <= doubtful], True


def scan(text: bytes, final: bool, fields: int, dialect: Dialect) -> Scan:
    """Finds the records of `text`, which starts with one.

    Args:
      text: bytes.
      final: whether the text ends here; otherwise an incomplete last record is left over.
      fields: number of fields of a sound record.
      dialect: delimiter and quote.
    """
    array = np.frombuffer(text, np.uint8)
    n, pos, window = len(text), 0, WINDOW_BYTES
    has_cr = b"\r" in text
    starts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    broken: list[tuple[int, int]] = []
    while pos < n:
        limit = min(pos + window, n)
        found, doubtful = _window(array, pos, limit, final, has_cr, fields, dialect)
        if len(found):
            starts.append(np.concatenate([[pos], found[:-1]]))
            ends.append(found)
            pos = int(found[-1])
            window = WINDOW_BYTES
        elif not doubtful and limit < n:
            window *= 4
            continue
        elif not doubtful and not final and n - pos <= MAX_RECORD:
            break
        else:
            doubtful = True
        if doubtful:
            try:
                begun = pos
                pos = _slow(text, pos, limit, final, fields, dialect, starts, ends, broken)
                if pos == begun:
                    break
            except _NeedMore:
                break
    empty = np.zeros(0, np.int64)
    return Scan(np.concatenate(starts or [empty]), np.concatenate(ends or [empty]), broken, pos)


def _slow(
    text: bytes,
    pos: int,
    limit: int,
    final: bool,
    fields: int,
    dialect: Dialect,
    starts: list[np.ndarray],
    ends: list[np.ndarray],
    broken: list[tuple[int, int]],
) -> int:
    """Record by record from `pos` to `limit`; returns where it stopped."""
    first: list[int] = []
    last: list[int] = []
    quote = dialect.quote.encode()
    try:
        while pos < limit:
            line = _line_end(text, pos, final)
            if text.find(quote, pos, line) < 0:
                first.append(pos)
                last.append(line)
                pos = line
                continue
            end, count, sound = _one_record(text, pos, final, dialect)
            if not sound or (end > line and (count != fields or end - pos > MAX_RECORD)):
                broken.append((pos, line))
                pos = line
                continue
            first.append(pos)
            last.append(end)
            pos = end
    except _NeedMore:
        pass
    starts.append(np.array(first, np.int64))
    ends.append(np.array(last, np.int64))
    return pos


def record_starts(text: bytes, fields: int, dialect: Dialect) -> np.ndarray:
    """Offsets, int64 [records], of the records in a text of sound records; blank lines are not records."""
    found = scan(text, True, fields, dialect)
    array = np.frombuffer(text, np.uint8)
    size, byte = found.ends - found.starts, array[found.starts]
    blank = ((byte == LF) | (byte == CR)) & (size <= 2)
    return found.starts[~blank]


def count_lines(text: bytes, start: int, end: int) -> int:
    """Number of line ends in `text[start:end]`, which does not cut a CRLF in two."""
    count = text.count(b"\n", start, end)
    carriage = text.count(b"\r", start, end)
    return count if not carriage else count + carriage - text.count(b"\r\n", start, end)


def header(text: bytes, dialect: Dialect, final: bool) -> tuple[list[bytes], int] | None:
    """Fields of the first record and the offset after it; None if the text ends inside it or it is broken."""
    try:
        end, count, sound = _one_record(text, 0, final, dialect)
    except _NeedMore:
        return None
    if not sound:
        return None
    quote, fields, p = dialect.quote.encode(), [], 0
    for _ in range(count):
        if text[p : p + 1] == quote:
            match = dialect.quoted.match(text, p)
            fields.append(match.group()[1:-1].replace(quote * 2, quote))  # type: ignore[union-attr]
        else:
            match = dialect.bare.match(text, p)
            fields.append(match.group())  # type: ignore[union-attr]
        p = match.end() + 1  # type: ignore[union-attr]
    return fields, end
