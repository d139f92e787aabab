"""Rows of typed columns go to the files of their splits."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from modules.dataset import SPLITS
from modules.ingest.tfrecord import GzipTFRecordFile, Piece, make_piece
from modules.ingest.wire import framed_examples


def encode_splits(batch: pa.RecordBatch, part: np.ndarray) -> dict[int, Piece]:
    """TFRecord pieces by split, their tf.Examples in the order of the rows; a negative split is left out."""
    order = np.argsort(part, kind="stable")
    order = order[part[order] >= 0]
    counts = np.bincount(part[order], minlength=len(SPLITS))
    framed, offsets = framed_examples(batch.take(pa.array(order)))
    ends = np.cumsum(counts)
    return {
        i: make_piece(framed[offsets[end - n] : offsets[end]])
        for i, (end, n) in enumerate(zip(ends, counts, strict=True))
        if n
    }


class ShardWriter:
    """Writes gzip TFRecord files, one per split that has rows, named `{split}-{suffix}.gz` in a folder."""

    def __init__(self, folder: str, suffix: str) -> None:
        self.folder, self.suffix = Path(folder), suffix
        self._files: dict[int, GzipTFRecordFile] = {}

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def write(self, pieces: dict[int, Piece]) -> None:
        for part, piece in pieces.items():
            if part not in self._files:
                self._files[part] = GzipTFRecordFile(str(self.folder / f"{SPLITS[part]}-{self.suffix}.gz"))
            self._files[part].write(piece)
