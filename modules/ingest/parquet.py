"""Parquet files as raw blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modules.errors import DataError
from modules.ingest.layout import Layout
from modules.ingest.quarantine import BadRow, Reason
from modules.ingest.raw import RawBlock
from modules.ingest.sources import SourceFile, open_source

BATCH_ROWS = 50_000


def _open(path: str) -> pq.ParquetFile:
    open_source(path).close()
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as e:
        raise DataError(f"{path} is not a Parquet file: {e}") from e


def column_names(path: str) -> tuple[str, ...]:
    with _open(path) as file:
        if file.metadata.num_rows == 0:
            raise DataError(f"{path} holds no rows")
        return tuple(file.schema_arrow.names)


def row_groups(path: str) -> list[int]:
    """Rows of each row group."""
    with _open(path) as file:
        return [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]


def read(
    file: SourceFile, layout: Layout, groups: tuple[int, ...], first_row: int, batch_rows: int = BATCH_ROWS
) -> Iterator[RawBlock]:
    """Batches of some row groups; `first_row` is the number, from 1, of the first row of the first one."""
    with _open(file.path) as parquet:
        try:
            for batch in parquet.iter_batches(batch_rows, row_groups=list(groups), columns=list(layout.columns)):
                columns = {name: _plain(batch.column(name)) for name in layout.columns}
                yield _block(file, columns, batch.num_rows, first_row)
                first_row += batch.num_rows
        except (pa.ArrowInvalid, OSError) as e:
            raise DataError(f"{file.path}: damaged Parquet data: {e}") from e


def _block(file: SourceFile, columns: dict[str, pa.Array], rows: int, first: int) -> RawBlock:
    def lines() -> np.ndarray:
        return np.arange(first, first + rows)

    spoiled: dict[int, str] = {}
    for name, column in columns.items():
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            try:
                columns[name] = column.cast(pa.large_string())
            except pa.ArrowInvalid:
                for row, value in enumerate(column.to_pylist()):
                    if value is not None and not _is_utf8(value):
                        spoiled.setdefault(row, name)
    if not spoiled:
        return RawBlock(file, columns, rows, rows, lines)
    bad = [
        BadRow(file.path, first + row, Reason.ENCODING, f"{name} holds bytes that are not UTF-8", name)
        for row, name in sorted(spoiled.items())
    ]
    index = np.delete(np.arange(rows), list(spoiled))
    columns = {name: column.take(pa.array(index)) for name, column in columns.items()}
    return RawBlock(file, columns, len(index), rows, lines, index, bad)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
