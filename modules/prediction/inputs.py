"""Which files are to be scored, how each is read, and where its predictions go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from modules.dataset import Dataset
from modules.errors import DataError
from modules.ingest import blocks, layout
from modules.ingest.hashing import personal_key
from modules.ingest.layout import Layout
from modules.ingest.raw import RawBlock
from modules.ingest.sources import SourceFile, open_source, resolve
from modules.ingest.typed import MonthState, TypedBlock, type_block
from modules.ingest.units import Unit, in_order, pieces, plan_units

_SUFFIXES = (".gz",), (".csv", ".tsv", ".txt", ".parquet", ".pq")
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class InputFile:
    """A file to be scored.

    Attributes:
      source: where.
      dataset: what its columns mean; its format is the file's own, whatever the training data's was.
      stem: name of its predictions below the output folder, without suffix.
    """

    source: SourceFile
    dataset: Dataset
    stem: str


def find_inputs(dataset: Dataset, patterns: Sequence[str]) -> tuple[InputFile, ...]:
    """The files that paths or patterns name, in order, each once.

    Raises:
      DataError: a path or pattern matches nothing.
    """
    # Links are not followed: predictions are named after what was given.
    files = tuple(os.path.abspath(pattern) for pattern in patterns)  # noqa: PTH100
    sources = resolve(dataset.model_copy(update={"files": files})).files
    found = []
    for source, stem in zip(sources, stems([source.path for source in sources]), strict=True):
        with open_source(source.path) as stream:
            kind = "parquet" if stream.read(4) == _PARQUET_MAGIC else "csv"
        found.append(InputFile(source, dataset.model_copy(update={"format": kind}), stem))
    return tuple(found)


def stems(paths: Sequence[str]) -> list[str]:
    """Names without suffix that tell absolute paths apart, preceded by as few folders as possible.

    `/a/x/leads.csv, /a/y/leads.csv` become `x/leads, y/leads`; `/a/leads.csv, /a/leads.parquet` keep their suffix.
    """
    bare = [_bare(path) for path in paths]
    whole = list(paths) if len(set(bare)) < len(bare) else bare
    depth = [1] * len(paths)
    while True:
        names = ["/".join(Path(p).parts[-d:]).lstrip("/") for p, d in zip(whole, depth, strict=True)]
        longer = [d + 1 if names.count(n) > 1 else d for n, d in zip(names, depth, strict=True)]
        if longer == depth:
            return names
        depth = longer


def _bare(path: str) -> str:
    for suffixes in _SUFFIXES:
        for suffix in suffixes:
            if path.lower().endswith(suffix) and Path(path).name.lower() != suffix:
                path = path[: -len(suffix)]
                break
    return path


def input_layout(file: InputFile) -> Layout:
    """Finds the dataset's columns in the file's header; label, time and personal columns may be missing.

    Raises:
      DataError: the file cannot be read or lacks a feature or the id.
    """
    if file.dataset.format == "parquet" and not _parquet_rows(file.source.path):
        names = tuple(pq.read_schema(file.source.path).names)
        return layout.make_layout(file.dataset, names, file.source.path, with_label=False)
    return layout.read_layout(file.dataset, file.source, with_label=False)


def _parquet_rows(path: str) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError) as e:
        raise DataError(f"{path} is not a Parquet file: {e}") from e


def input_units(file: InputFile, block_bytes: int = blocks.BLOCK_BYTES) -> Iterator[Unit]:
    """The file's units of work, in order; none if it holds no leads."""
    if file.dataset.format == "parquet" and not _parquet_rows(file.source.path):
        return
    yield from plan_units(file.dataset, file.source, input_layout(file), block_bytes)


def read_unit(
    file: InputFile, unit: Unit, threads: int = 1, block_bytes: int = blocks.BLOCK_BYTES
) -> Iterator[TypedBlock]:
    """The blocks of a unit, typed as `modules.ingest.read.read_columns` does, `threads` of them parsed at once.

    Raises:
      DataError: the file is damaged.
    """
    dataset = file.dataset
    key = personal_key() if any(person.action == "hash" for person in dataset.personal_data) else None
    order = dataset.time.month_order if dataset.time else None
    # The year of a lead is no feature, so units of a table without years need not wait for one another.
    month = MonthState(order.first_year) if order else None

    def call(piece: Callable[[], RawBlock]) -> TypedBlock:
        return type_block(dataset, piece(), False, month, key)

    yield from in_order((partial(call, piece) for piece in pieces(dataset, unit, block_bytes)), threads)
