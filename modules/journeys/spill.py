"""Rows on their way from files to journeys: divided by lead, kept as Arrow files in the staging folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from modules.ingest.hashing import hash64
from modules.journeys.read import LEAD, ROW

PARTITION_SEED = 0x5EED
"""Another hash than the one that decides splits, or partitions would hold splits of uneven size."""

FLUSH_ROWS = 500_000
Place = tuple[int, ...]
"""A unit: number of its table, of its file, of the unit in the file."""


def file_name(place: Place) -> str:
    return "rows-" + "-".join(f"{n:05d}" for n in place) + ".arrow"


class SpillWriter:
    """Writes the rows of a unit, ordered by partition, at most `FLUSH_ROWS` in memory at once.

    Attributes:
      parts: partition of each record batch in the file.
    """

    def __init__(self, path: Path, partitions: int) -> None:
        self._path, self._partitions = path, partitions
        self._writer: pa.RecordBatchFileWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self.parts: list[int] = []

    def __enter__(self) -> SpillWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows, in the order of the file."""
        if batch.num_rows:
            self._waiting.append(batch)
            self._rows += batch.num_rows
        if self._rows >= FLUSH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_batches(self._waiting).combine_chunks()
        self._waiting, self._rows = [], 0
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._path), table.schema)
        if self._partitions == 1:
            self._put(table, 0)
            return
        lead = table.column(LEAD).chunk(0)
        part = (hash64(lead, PARTITION_SEED) % np.uint64(self._partitions)).astype(np.uint16)
        table = table.take(pa.array(np.argsort(part, kind="stable")))
        counts = np.bincount(part, minlength=self._partitions)
        begin = 0
        for number in np.flatnonzero(counts).tolist():
            self._put(table.slice(begin, int(counts[number])), number)
            begin += int(counts[number])

    def _put(self, rows: pa.Table, partition: int) -> None:
        assert self._writer is not None
        batches = rows.combine_chunks().to_batches()
        for batch in batches:
            self._writer.write_batch(batch)
        self.parts += [partition] * len(batches)


def read_partition(
    folder: Path, units: list[tuple[Place, list[int]]], partition: int, columns: list[str] | None = None
) -> pa.Table | None:
    """All rows of a partition in the order of the files; ROW is raised so that it orders rows of different units.

    Args:
      folder: where the spilled files lie.
      units: place and `parts` of each unit of a table, in order.
      partition: which.
      columns: which ones, of those there are; all if absent.

    Returns:
      The table, one chunk per column, or None if there is not a row.
    """
    batches = list(_batches(folder, units, partition, columns))
    return pa.Table.from_batches(batches).combine_chunks() if batches else None


def _batches(
    folder: Path, units: list[tuple[Place, list[int]]], partition: int, columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    for ordinal, (place, parts) in enumerate(units):
        if partition not in parts:
            continue
        with pa.memory_map(str(folder / file_name(place))) as source:
            file = pa.ipc.open_file(source)
            for number, part in enumerate(parts):
                if part == partition:
                    batch = file.get_batch(number)
                    if columns is not None:
                        batch = batch.select([c for c in columns if c in batch.schema.names])
                    if ROW in batch.schema.names:
                        at = batch.schema.get_field_index(ROW)
                        row = batch.column(at).to_numpy() + (ordinal << ROW_BITS)
                        batch = batch.set_column(at, ROW, pa.array(row))
                    yield batch


ROW_BITS = 40
"""A unit has fewer than 2**40 rows."""
