"""Blocks of a file as Arrow columns, before their values are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from modules.dataset import Dataset
from modules.features import Kind
from modules.ingest import blocks, fields, scan
from modules.ingest.layout import Layout, dialect
from modules.ingest.quarantine import BadRow, Reason, masked, shown
from modules.ingest.sources import SourceFile


@dataclass
class RawBlock:
    """Columns of some consecutive records of a file.

    Attributes:
      file: where they come from.
      columns: source column -> binary (CSV), double (CSV, a number column) or any type (Parquet), [rows].
      records: number of records in the block, unusable ones included.
      index: int64 [rows], which record of the block each row is; None if all are there.
      lines: gives the line number, int64 [records], of each record; computed when asked for.
      bad: records that have no fields.
    """

    file: SourceFile
    columns: dict[str, pa.Array]
    rows: int
    records: int
    lines: Callable[[], np.ndarray]
    index: np.ndarray | None = None
    bad: list[BadRow] = field(default_factory=list)

    def row_lines(self) -> np.ndarray:
        """Line number, int64 [rows], of each row."""
        lines = self.lines()
        return lines if self.index is None else lines[self.index]


def null_spellings(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Numeric source column -> spellings of 'missing' that are not numbers."""
    spellings: dict[str, tuple[str, ...]] = {}
    for feature in dataset.table:
        if feature.kind is Kind.NUMERIC:
            words = tuple(sorted({w for w in feature.missing_values if not _is_number(w)}))
            known = spellings.setdefault(feature.source, words)
            if known != words:
                # Two features read one column differently: the reader must not decide.
                spellings[feature.source] = ("\0",)
    return spellings


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


class CsvReader:
    """Turns the text of blocks into columns."""

    def __init__(self, dataset: Dataset, file: SourceFile, layout: Layout) -> None:
        self.dataset, self.file, self.layout = dataset, file, layout
        self.dialect = dialect(dataset)
        self.private = bool(dataset.personal_data)
        words = {c: w for c, w in null_spellings(dataset).items() if c in layout.numbers}
        # Arrow knows one list of null spellings for all columns; the most common one it may use.
        lists = list(words.values())
        common = max(set(lists), key=lists.count) if lists else ()
        self.nulls = ["", *common]
        self.typed = {c for c, w in words.items() if w == common and w != ("\0",)}
        if dataset.csv.thousands is not None:
            # Arrow knows none.
            self.typed = set()

    def read(self, source: bytes, block: blocks.Block) -> RawBlock:
        """Parses a block; `source` are all its bytes."""
        text = block.cut(source)
        starts: list[np.ndarray] = []

        def offsets() -> np.ndarray:
            if not starts:
                starts.append(scan.record_starts(text, len(self.layout.names), self.dialect))
            return starts[0]

        bad = [self._broken(source[s.offset - block.offset :][: s.size], s.line) for s in block.broken]
        invalid: list[tuple[int, int, str]] = []
        columns: dict[str, pa.Array] = {}
        rows = 0
        if text:
            columns, rows = self._parse(text, invalid)
        dropped = np.array([number - 1 for number, _, _ in invalid], np.int64)
        records = rows + len(dropped)
        index = None
        if len(dropped):
            index = np.delete(np.arange(records), dropped)
            lines = blocks.line_numbers(text, block, offsets()[dropped])
            expected = len(self.layout.names)
            for line, (_, count, content) in zip(lines.tolist(), invalid, strict=True):
                message = f"{count} fields, expected {expected}"
                bad.append(BadRow(self.file.path, line, Reason.FIELDS, message, text=self._text(content)))
        if not _is_utf8(text):
            wrong = _not_utf8(text, offsets())
            lines = blocks.line_numbers(text, block, offsets()[list(wrong)])
            index = np.arange(records) if index is None else index
            spoiled = np.isin(index, list(wrong))
            for line, (record, byte) in zip(lines.tolist(), wrong.items(), strict=True):
                row = np.flatnonzero(index == record)
                if len(row):
                    values = row_fields(self.dataset, columns, int(row[0]))
                    message = f"byte 0x{byte:02x} is not UTF-8"
                    bad.append(BadRow(self.file.path, line, Reason.ENCODING, message, fields=values))
            keep = pa.array(~spoiled)
            columns = {name: column.filter(keep) for name, column in columns.items()}
            index, rows = index[~spoiled], int((~spoiled).sum())
        columns = {name: self._plain(name, column) for name, column in columns.items()}
        return RawBlock(
            self.file, columns, rows, records, lambda: blocks.line_numbers(text, block, offsets()), index, bad
        )

    def _plain(self, name: str, column: pa.Array) -> pa.Array:
        """Fields without what is particular to this file's way of writing them."""
        csv = self.dataset.csv
        if not pa.types.is_binary(column.type):
            return column
        if csv.trim:
            column = fields.trimmed(column)
        if name in self.layout.numbers and (csv.decimal != "." or csv.thousands is not None):
            column = fields.plain_numbers(column, csv.decimal, csv.thousands)
        return column

    def _parse(self, text: bytes, invalid: list[tuple[int, int, str]]) -> tuple[dict[str, pa.Array], int]:
        def skip(row: pacsv.InvalidRow) -> str:
            invalid.append((row.number, row.actual_columns, row.text))
            return "skip"

        def parse(typed: set[str]) -> pa.Table:
            types = {c: pa.float64() if c in typed else pa.binary() for c in self.layout.columns}
            return pacsv.read_csv(
                pa.BufferReader(text),
                read_options=pacsv.ReadOptions(
                    use_threads=False, block_size=len(text) + 1, column_names=_arrow_names(self.layout)
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.dialect.delimiter,
                    quote_char=self.dialect.quote,
                    newlines_in_values=True,
                    invalid_row_handler=skip,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=types,
                    include_columns=list(types),
                    null_values=self.nulls,
                    strings_can_be_null=False,
                    decimal_point=self.dataset.csv.decimal,
                ),
            )

        try:
            table = parse(self.typed)
        except pa.ArrowInvalid:
            # Some number column holds text: every value is then judged on its own.
            invalid.clear()
            table = parse(set())
        return {c: one_chunk(table.column(c)) for c in self.layout.columns}, table.num_rows

    def _broken(self, row: bytes, line: int) -> BadRow:
        text = None if self.private else shown(row.rstrip(b"\r\n"), False)
        return BadRow(self.file.path, line, Reason.QUOTING, "a quoted field is not closed properly", text=text)

    def _text(self, row: str) -> str | None:
        return None if self.private else shown(row, False)


def _arrow_names(layout: Layout) -> list[str]:
    """Column names for Arrow, which wants to find the ones it reads exactly once."""
    wanted = set(layout.columns)
    return [name if name in wanted else f"\0{i}" for i, name in enumerate(layout.names)]


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def row_fields(dataset: Dataset, columns: dict[str, pa.Array], row: int) -> dict[str, str | None]:
    """The values of a row as people may see them."""
    hidden = masked(dataset)
    private = bool(hidden)
    return {name: "***" if name in hidden else shown(column[row].as_py(), private) for name, column in columns.items()}


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    offsets = pa.py_buffer(np.array([0, len(text)], np.int64))
    whole = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(text)])
    try:
        pc.cast(whole, pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _not_utf8(text: bytes, starts: np.ndarray) -> dict[int, int]:
    """Record -> its first byte that is not UTF-8."""
    wrong: dict[int, int] = {}
    at = 0
    while True:
        try:
            text[at:].decode()
        except UnicodeDecodeError as e:
            position = at + e.start
            record = int(np.searchsorted(starts, position, side="right")) - 1
            wrong[record] = text[position]
            if record + 1 >= len(starts):
                return wrong
            at = int(starts[record + 1])
        else:
            return wrong
