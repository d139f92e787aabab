"""Reads a table's rows the way training does, for everything else that needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from modules.dataset import Dataset
from modules.ingest import blocks, convert
from modules.ingest.hashing import personal_key
from modules.ingest.layout import check_names, read_layout
from modules.ingest.raw import RawBlock
from modules.ingest.sources import SourceFile, resolve
from modules.ingest.typed import MonthState, TypedBlock, after, has_time, month_steps, type_block
from modules.ingest.units import in_order, pieces, plan_units


def read_columns(
    dataset: Dataset,
    files: Sequence[SourceFile] | None = None,
    with_label: bool = False,
    threads: int = 1,
    block_bytes: int = blocks.BLOCK_BYTES,
) -> Iterator[TypedBlock]:
    """Typed columns of a table, block by block, in the order of the files; memory does not grow with their size.

    Args:
      dataset: says what the columns mean.
      files: which files to read; the dataset's own (newest span) if absent.
      with_label: whether to read label and split column, which leads to be scored do not have. Without it, time and
        personal columns may be missing too.
      threads: how many blocks are parsed at once.
      block_bytes: size of a block of CSV text.

    Raises:
      DataError: a file or a column is missing, or a file is damaged. Rows that cannot be read do not raise: each
        block lists its own.
    """
    check_names(dataset)
    hashed = any(person.action == "hash" for person in dataset.personal_data)
    key = personal_key() if hashed else None
    order = dataset.time.month_order if dataset.time else None
    state = MonthState(order.first_year if order else 0)
    for file in resolve(dataset).files if files is None else files:
        layout = read_layout(dataset, file, with_label)
        for unit in plan_units(dataset, file, layout, block_bytes):
            if order is None:
                calls = (
                    partial(_typed, dataset, piece, with_label, key) for piece in pieces(dataset, unit, block_bytes)
                )
                yield from in_order(calls, threads)
                continue
            for piece in pieces(dataset, unit, block_bytes):
                raw = piece()
                yield type_block(dataset, raw, with_label, state, key)
                if has_time(dataset, raw):
                    state = after(state, month_steps(convert.months(raw.columns[order.column])[0]))


def _typed(dataset: Dataset, piece: Callable[[], RawBlock], with_label: bool, key: bytes | None) -> TypedBlock:
    return type_block(dataset, piece(), with_label, key=key)
