"""CSV and JSON lines as chunks of feature columns; memory does not grow with the rows.

Text is read as the pipeline's ingest reads it: an empty field, NaN and the declared spellings are missing, infinity
is an error.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import itertools
import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from modules import iso, numerals
from modules.errors import DataError
from serving.client.errors import LeadError
from serving.client.leads import NAN, Feature, Features, shown
from serving.client.tensors import BOOL, FLOATS, INTEGERS, STRING

USUAL_IDS = ("lead_id", "id")
DELIMITERS = (",", ";", "\t", "|")
SHOWN_BAD_ROWS = 10

_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan)", re.IGNORECASE | re.ASCII)

Kind = Literal["csv", "jsonl"]


@dataclass(frozen=True)
class Reading:
    """How a table's columns become features.

    id: column that identifies a lead; `lead_id` or `id` if there is one otherwise.
    features: column -> feature, where the names differ. missing: feature -> spellings of 'missing'.
    dates: feature that is a date -> how its text is to be read (strptime), None for ISO 8601.
    delimiter: of a CSV file; found out otherwise. decimal, thousands: of its numbers. trim: blanks around its fields
    are no part of them. skip_bad: leave bad rows out instead of stopping.
    chunk: rows at a time.
    """

    id: str | None = None
    features: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    dates: Mapping[str, str | None] = field(default_factory=dict)
    delimiter: str | None = None
    decimal: str = "."
    thousands: str | None = None
    trim: bool = False
    skip_bad: bool = False
    chunk: int = 512


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows. columns: by feature, encoded. ids: one per row, the line number without id column. lines: of rows."""

    columns: Mapping[str, Sequence[object]]
    ids: Sequence[object]
    lines: Sequence[int]


class LeadTable:
    """A table of leads, read once from front to back.

    Attributes:
      id_column: what `ids` of chunks are: a column's name, or "line".
      ignored: columns that are no features. absent: features that no row so far has a column for.
      rows: good rows so far. bad_rows: left-out ones. bad: some of them, line number -> what is wrong.

    Raises:
      DataError: no rows, no header, a header that names a column twice or no feature at all, or no such id column.
    """

    def __init__(
        self, stream: BinaryIO, name: str, features: Features, reading: Reading, kind: Kind | None = None
    ) -> None:
        self._name, self._features, self._reading = name, features, reading
        buffered, beginning = next(self._safely(_opened(stream)))
        if not beginning:
            raise DataError(f"{name}: expected leads, received nothing")
        self.kind: Kind = kind or ("jsonl" if beginning.startswith(b"{") else "csv")
        self._text = io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="")
        self.ignored: set[str] = set()
        self.absent: set[str] = set(features.names)
        self.rows = self.bad_rows = 0
        self.bad: dict[int, str] = {}
        self._id: str | None = reading.id
        self.id_column = reading.id or "line"
        self._header: list[str] = []
        self._csv: Any = None
        if self.kind == "csv":
            header = beginning.split(b"\n", 1)[0].decode(errors="replace")
            delimiter = reading.delimiter or max(DELIMITERS, key=header.count)
            self._csv = csv.reader(self._text, delimiter=delimiter, strict=True)
            self._header = next(self._safely(self._csv), [])
            if reading.trim:
                self._header = [column.strip() for column in self._header]
            twice = sorted({column for column in self._header if self._header.count(column) > 1})
            if twice:
                raise DataError(f"{name}: columns named twice: {', '.join(twice)}")
            self._meet(self._header)

    def chunks(self) -> Iterator[Chunk]:
        """The rows, `reading.chunk` at a time.

        Raises:
          DataError: a bad row, with its line, unless those are left out; text that is not UTF-8 or not CSV.
        """
        records = self._csv_records() if self.kind == "csv" else self._json_records()
        while block := list(itertools.islice(records, self._reading.chunk)):
            lines = [line for line, _ in block]
            rows = [row for _, row in block]
            if self.kind == "jsonl":
                self._meet(list(dict.fromkeys(itertools.chain.from_iterable(rows))))
            chunk = self._chunk(lines, rows)
            if chunk.lines:
                self.rows += len(chunk.lines)
                yield chunk

    def _csv_records(self) -> Iterator[tuple[int, Any]]:
        before = self._csv.line_num
        for row in self._safely(self._csv):
            line, before = before + 1, self._csv.line_num
            if len(row) == len(self._header):
                yield line, row
            elif row:
                self._reject(line, f"expected {len(self._header)} fields as the header has, received {len(row)}")

    def _json_records(self) -> Iterator[tuple[int, Any]]:
        for line, text in enumerate(self._safely(self._text), 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                self._reject(line, f"not JSON: {error.msg} at column {error.colno}")
                continue
            if isinstance(row, dict):
                yield line, row
            else:
                self._reject(line, f"expected a JSON object, received {type(row).__name__}")

    def _chunk(self, lines: list[int], rows: list[Any]) -> Chunk:
        while True:
            raw = self._raw_columns(rows)
            bad: dict[int, str] = {}
            columns = {f.name: self._encode(f, raw[f.name], bad) for f in self._features if f.name in raw}
            if not bad:
                ids = lines if self._id is None else self._raw_ids(rows)
                return Chunk(columns, ids, lines)
            for index in sorted(bad):
                self._reject(lines[index], bad[index])
            lines = [line for i, line in enumerate(lines) if i not in bad]
            rows = [row for i, row in enumerate(rows) if i not in bad]

    def _raw_columns(self, rows: list[Any]) -> dict[str, list[object]]:
        names = self._reading.features
        if self.kind == "csv":
            columns = zip(*rows, strict=True) if rows else itertools.repeat(())
            named = zip(self._header, columns, strict=False)
            found = {names.get(column, column): list(values) for column, values in named}
        else:
            back = {feature: column for column, feature in names.items()}
            found = {}
            for feature in self._features.names:
                column = back.get(feature, feature)
                found[feature] = [row.get(column) for row in rows]
        return {f.name: self._parsed(f, found[f.name]) for f in self._features if f.name in found}

    def _raw_ids(self, rows: list[Any]) -> list[object]:
        if self.kind == "csv":
            position = self._header.index(str(self._id))
            return [row[position] for row in rows]
        return [row.get(self._id) for row in rows]

    def _parsed(self, feature: Feature, values: list[Any]) -> list[Any]:
        """Text of a CSV file as values; what cannot be read stays as it is, for the encoder to refuse."""
        missing = self._reading.missing.get(feature.name, frozenset())
        if self.kind == "csv":
            if self._reading.trim:
                values = [value.strip(" \t") for value in values]
            if feature.dtype in (*FLOATS, *INTEGERS):
                values = _numbers([self._plain(value) for value in values], missing)
            elif feature.dtype == BOOL:
                values = [{"true": True, "false": False}.get(value.lower(), value) for value in values]
        if not missing:
            return values
        if feature.dtype == STRING:
            return [None if value in missing else value for value in values]
        sentinels = {float(spelling) for spelling in missing if _NUMBER.fullmatch(spelling)}
        return [None if value in sentinels or value in missing else value for value in values]

    def _plain(self, text: str) -> str:
        """A number with a decimal point; anything else as it is."""
        decimal, thousands = self._reading.decimal, self._reading.thousands
        if decimal == "." and thousands is None:
            return text
        return numerals.plain_number(text, decimal, thousands)

    def _encode(self, feature: Feature, values: list[Any], bad: dict[int, str]) -> Sequence[object]:
        if feature.many:
            return values
        if feature.name in self._reading.dates:
            values = self._dates(feature.name, values, bad)
        try:
            return feature.encode(values)
        except LeadError:
            for i, value in enumerate(values):
                try:
                    feature.encode((value,))
                except LeadError as error:
                    bad.setdefault(i, f"{error.feature}: {error.reason}")
            return array("f")

    def _dates(self, name: str, values: Sequence[object], bad: dict[int, str]) -> list[object]:
        """Text of dates as the model takes it."""
        pattern = self._reading.dates[name]
        absent = iso.date_spellings(self._reading.missing.get(name, ()), pattern)
        found: list[object] = list(values)
        for i, value in enumerate(values):
            if not isinstance(value, str):
                continue
            try:
                text = iso.date_text(iso.read_date(value, pattern)) if value.strip() else None
                found[i] = None if text in absent else text
            except (ValueError, OverflowError):
                bad.setdefault(i, f"{name}: expected a date like {pattern or '2024-01-31'}, received {shown(value)}")
        return found

    def _meet(self, columns: Sequence[str]) -> None:
        """Takes note of columns seen for the first time."""
        names = self._reading.features
        first = len(self.absent) == len(self._features)
        if first and self.id_column == "line":
            self._id = next((c for c in USUAL_IDS if c in columns and c not in self._features), None)
            self.id_column = self._id or "line"
        elif first and self._id not in columns:
            near = difflib.get_close_matches(str(self._id), columns, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(columns)}"
            raise DataError(f"{self._name}: no column {self._id!r} (--id); {hint}")
        features = {names.get(column, column) for column in columns}
        self.absent -= features
        self.ignored |= {c for c in columns if names.get(c, c) not in self._features and c != self._id}
        if first and len(self.absent) == len(self._features):
            raise DataError(
                f"{self._name}: none of its columns is a feature of the model",
                [f"columns: {', '.join(columns)}", f"features: {', '.join(self._features.names)}"],
            )

    def _reject(self, line: int, reason: str) -> None:
        if not self._reading.skip_bad:
            raise DataError(f"{self._name}: line {line}: {reason}", ["--skip-bad leaves bad rows out"])
        self.bad_rows += 1
        if len(self.bad) < SHOWN_BAD_ROWS:
            self.bad[line] = reason

    def _safely(self, source: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from source
        except UnicodeDecodeError as error:
            raise DataError(f"{self._name}: not UTF-8 text: {error.reason}") from None
        except csv.Error as error:
            raise DataError(f"{self._name}: line {self._csv.line_num}: not CSV: {error}") from None
        except (EOFError, gzip.BadGzipFile, OSError) as error:
            raise DataError(f"{self._name}: cannot be read: {error}") from None


def _numbers(texts: list[str], missing: frozenset[str]) -> list[Any]:
    try:
        # What Python reads as a number and no table means as one: 1_000.
        if not missing and "_" not in "".join(texts):
            return [float(text) if text else NAN for text in texts]
    except ValueError:
        pass
    return [_number(text, missing) for text in texts]


def _number(text: str, missing: frozenset[str]) -> float | str | None:
    stripped = text.strip(" \t")
    if not stripped or text in missing:
        return None
    return float(stripped) if _NUMBER.fullmatch(stripped) else text


def _opened(stream: BinaryIO) -> Iterator[tuple[io.BufferedReader, bytes]]:
    """The stream, unpacked if it was, and how its text begins."""
    buffered: Any = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
    if buffered.peek(2).startswith(b"\x1f\x8b"):
        buffered = io.BufferedReader(gzip.GzipFile(fileobj=buffered))
    yield buffered, buffered.peek(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()
