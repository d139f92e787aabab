"""Predictions on disk: a shard per block, written by whoever had the block, and shards joined to files in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from modules.native.tensor import DTYPES, STRING
from modules.prediction.versions import ModelVersion, Signature

FORMATS = ("parquet", "csv")
ROW_GROUP = 1 << 17
_ARROW, _CSV = ".arrow", ".csv"
_SPECIAL = '[",\r\n]'


def output_schema(id_column: str, signature: Signature) -> pa.Schema:
    """The columns of the output files: id, a column per output of the signature, model and version."""
    fields = [pa.field(id_column, pa.string())]
    fields += [pa.field(o.name, _arrow_type(o.dtype)) for o in signature.outputs]
    return pa.schema([*fields, pa.field("model", pa.string()), pa.field("version", pa.int64())])


def _arrow_type(dtype: int) -> pa.DataType:
    return pa.string() if dtype == STRING else pa.from_numpy_dtype(DTYPES[dtype])


def output_batch(
    schema: pa.Schema, model: ModelVersion, ids: pa.Array, outputs: Mapping[str, np.ndarray]
) -> pa.RecordBatch:
    """Predictions of some leads as the output files hold them.

    Args:
      schema: from `output_schema`.
      model: which version answered.
      ids: large_binary [n], UTF-8.
      outputs: output -> [n].
    """
    n = len(ids)
    arrays = [ids.cast(pa.string())]
    for field in list(schema)[1:-2]:
        arrays.append(pa.array(outputs[field.name], field.type))
    constants = (pa.scalar(model.name, pa.string()), pa.scalar(model.version, pa.int64()))
    return pa.RecordBatch.from_arrays([*arrays, *(pa.repeat(c, n) for c in constants)], schema=schema)


def write_shard(stem: Path, batch: pa.RecordBatch, formats: Sequence[str]) -> None:
    """Writes a block's predictions as `<stem>.arrow` and `<stem>.csv`, beside and renamed: a retry does no harm."""
    if "parquet" in formats:
        with _beside(stem, _ARROW) as path, pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, batch.schema) as out:
            out.write_batch(batch)
    if "csv" in formats:
        with _beside(stem, _CSV) as path:
            pacsv.write_csv(batch, path, pacsv.WriteOptions(include_header=False, quoting_style=_quoting(batch)))


class _beside:
    """A name to write to, which becomes the real one unless that failed."""

    def __init__(self, stem: Path, suffix: str) -> None:
        self.target = stem.with_name(stem.name + suffix)
        self.path = self.target.with_name(f".{self.target.name}.{os.getpid()}")

    def __enter__(self) -> str:
        return str(self.path)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.path.replace(self.target)
        else:
            self.path.unlink(missing_ok=True)


def _quoting(batch: pa.RecordBatch) -> str:
    """Arrow's `needed` quotes every string; only few ids need it."""
    texts = [column for column in batch.columns if pa.types.is_string(column.type)]
    special = any(pc.any(pc.match_substring_regex(text, _SPECIAL)).as_py() for text in texts)
    return "needed" if special else "none"


def join_csv(shards: Sequence[Path], target: Path, schema: pa.Schema) -> None:
    """The shards' rows one after the other, below a header."""
    with open(target, "wb") as out:
        out.write(",".join(_quoted(name) for name in schema.names).encode() + b"\n")
        for shard in shards:
            with open(shard.with_name(shard.name + _CSV), "rb") as rows:
                shutil.copyfileobj(rows, out, 1 << 20)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in '",\r\n') else name


def join_parquet(shards: Sequence[Path], target: Path, schema: pa.Schema) -> None:
    """The shards' rows one after the other, in row groups of the same size however they were cut into blocks."""
    names = [schema.names[0], "model", "version"]
    with pq.ParquetWriter(target, schema, use_dictionary=names[1:], compression="snappy") as out:
        for table in _row_groups(_batches(shards), schema):
            out.write_table(table, row_group_size=ROW_GROUP)


def _batches(shards: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for shard in shards:
        with pa.memory_map(str(shard.with_name(shard.name + _ARROW))) as file, pa.ipc.open_file(file) as reader:
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)


def _row_groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= ROW_GROUP:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, ROW_GROUP)
            waiting, rows = table.slice(ROW_GROUP).to_batches(), rows - ROW_GROUP
    if rows:
        yield pa.Table.from_batches(waiting, schema)
