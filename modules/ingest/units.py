"""Units of work: pieces of files that workers read on their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from modules.dataset import Dataset
from modules.ingest import blocks, parquet
from modules.ingest.layout import Layout, dialect
from modules.ingest.raw import CsvReader, RawBlock
from modules.ingest.sources import CHUNK_BYTES, SourceFile, chunks, open_source

BLOCKS_PER_UNIT = 16
ROWS_PER_UNIT = 500_000

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """Consecutive blocks of one file.

    Attributes:
      file: where.
      layout: how.
      number: position among all units of the file.
      blocks: CSV: what to read; None reads the whole file as a stream (gzip cannot be entered in the middle).
      groups: Parquet: row groups.
      first_row: Parquet: number, from 1, of the first row.
    """

    file: SourceFile
    layout: Layout
    number: int = 0
    blocks: tuple[blocks.Block, ...] | None = None
    groups: tuple[int, ...] = ()
    first_row: int = 1


def plan_units(
    dataset: Dataset, file: SourceFile, layout: Layout, block_bytes: int = blocks.BLOCK_BYTES
) -> Iterator[Unit]:
    """Cuts a file into units: plain CSV by blocks of whole records, Parquet by row groups, gzip not at all."""
    if dataset.format == "parquet":
        groups: list[int] = []
        rows, first, number = 0, 1, 0
        counts = parquet.row_groups(file.path)
        for i, count in enumerate(counts):
            groups.append(i)
            rows += count
            if rows >= ROWS_PER_UNIT or i == len(counts) - 1:
                yield Unit(file, layout, number, groups=tuple(groups), first_row=first)
                groups, first, rows, number = [], first + rows, 0, number + 1
        return
    if layout.compressed:
        yield Unit(file, layout)
        return
    found: list[blocks.Block] = []
    number = 0
    text = chunks(file.path, min(block_bytes, CHUNK_BYTES))
    fields = len(layout.names)
    stream = blocks.blocks(text, fields, dialect(dataset), layout.skip, layout.line, block_bytes)
    for block, _ in stream:
        found.append(block)
        if len(found) == BLOCKS_PER_UNIT:
            yield Unit(file, layout, number, tuple(found))
            found, number = [], number + 1
    if found:
        yield Unit(file, layout, number, tuple(found))


def narrowed(unit: Unit, columns: tuple[str, ...]) -> Unit:
    """The same unit, of which only some columns are read."""
    layout = replace(unit.layout, columns=columns, numbers=unit.layout.numbers & set(columns))
    return replace(unit, layout=layout)


def pieces(
    dataset: Dataset, unit: Unit, block_bytes: int = blocks.BLOCK_BYTES, batch_rows: int = parquet.BATCH_ROWS
) -> Iterator[Callable[[], RawBlock]]:
    """The unit's blocks in order, each as a call that parses it; the calls may run on any thread."""
    if dataset.format == "parquet":
        for raw in parquet.read(unit.file, unit.layout, unit.groups, unit.first_row, batch_rows):
            yield partial(_ready, raw)
        return
    reader = CsvReader(dataset, unit.file, unit.layout)
    if unit.blocks is None:
        layout = unit.layout
        inflated = chunks(unit.file.path, min(block_bytes, CHUNK_BYTES))
        fields = len(layout.names)
        stream = blocks.blocks(inflated, fields, reader.dialect, layout.skip, layout.line, block_bytes)
        for block, text in stream:
            yield partial(reader.read, text, block)
        return
    with open_source(unit.file.path) as file:
        for block in unit.blocks:
            file.seek(block.offset)
            text = file.read(block.size)
            yield partial(reader.read, text, block)


def _ready(raw: RawBlock) -> RawBlock:
    return raw


def in_order(calls: Iterator[Callable[[], T]], threads: int) -> Iterator[T]:
    """Results of calls in their order, `threads` of them at work ahead of the consumer."""
    if threads <= 1:
        for call in calls:
            yield call()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="ingest") as pool:
        waiting: list[Future[T]] = []
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
