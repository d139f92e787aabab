"""JSON lines as Arrow columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from modules.errors import DataError
from modules.ingest.raw import RawBlock
from modules.ingest.sources import SourceFile

GZIP = b"\x1f\x8b"
BLOCK_BYTES = 1 << 24


def read_json_lines(source: SourceFile, moments: Collection[str | None]) -> pa.Table:
    """All of a file, gzip-compressed or not.

    Args:
      source: the file.
      moments: keys whose texts may be understood as moments.

    Raises:
      DataError: a line that is not JSON, or values of different types under one key.
    """
    import pyarrow.json

    with open(source.path, "rb") as raw:
        compression = "gzip" if raw.read(2) == GZIP else None
    texts: list[tuple[str, pa.DataType]] = []
    options = pyarrow.json.ReadOptions(block_size=BLOCK_BYTES)
    try:
        while True:
            with pa.input_stream(source.path, compression=compression) as stream:
                parse = pyarrow.json.ParseOptions(pa.schema(texts)) if texts else None
                rows = pyarrow.json.read_json(stream, options, parse)
            # Any text that looks like a moment becomes one.
            wrong = [f.name for f in rows.schema if pa.types.is_timestamp(f.type) and f.name not in moments]
            if not wrong:
                return rows.combine_chunks()
            texts = [(name, pa.string()) for name in wrong]
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{source.path}: not JSON lines: {error}") from None


def json_block(rows: pa.Table, source: SourceFile, columns: Sequence[str]) -> RawBlock:
    """Some columns of what `read_json_lines` returned, as the readers of other formats give them.

    Raises:
      DataError: a column of lists or objects.
    """
    chosen = {name: rows.column(name).combine_chunks() for name in columns}
    for name, values in chosen.items():
        if pa.types.is_nested(values.type):
            raise DataError(f"{source.path}: {name}: expected single values, received {values.type}")
    return RawBlock(source, chosen, rows.num_rows, rows.num_rows, lambda: np.arange(1, rows.num_rows + 1))
