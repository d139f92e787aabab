"""CSV text in blocks of whole records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from modules.ingest.scan import Dialect, Scan, count_lines, line_ends, scan

BLOCK_BYTES = 4 << 20


class Segment(NamedTuple):
    """Consecutive good records: byte offset and size in the (decompressed) text, number of the first line."""

    offset: int
    size: int
    line: int


class Block(NamedTuple):
    """A piece of a file that starts and ends with a record.

    `segments` hold its good records; `broken` are the lines given up: offset, size, line number.
    """

    offset: int
    size: int
    segments: tuple[Segment, ...]
    broken: tuple[Segment, ...]

    def cut(self, text: bytes) -> bytes:
        """The good records' bytes; `text` are the block's `size` bytes (one less at the end of a file is fine)."""
        if len(self.segments) == 1 and self.segments[0].size == self.size:
            return text
        return b"".join(text[s.offset - self.offset : s.offset - self.offset + s.size] for s in self.segments)


def line_numbers(text: bytes, block: Block, offsets: np.ndarray) -> np.ndarray:
    """Line numbers, int64 [k], of byte offsets into `block.cut(...)`."""
    sizes = np.array([s.size for s in block.segments], np.int64)
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    ends = line_ends(np.frombuffer(text, np.uint8), 0, len(text), False, b"\r" in text)
    segment = np.searchsorted(begin, offsets, side="right") - 1
    before = np.searchsorted(ends, offsets, side="right") - np.searchsorted(ends, begin, side="right")[segment]
    return np.array([s.line for s in block.segments], np.int64)[segment] + before


def blocks(
    chunks: Iterable[bytes], fields: int, dialect: Dialect, skip: int, line: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[Block, bytes]]:
    """Cuts a stream of bytes into blocks of whole records.

    Args:
      chunks: the text, in pieces of any size.
      fields: number of fields of a sound record.
      dialect: delimiter and quote.
      skip: bytes to leave out at the start (byte order mark, header).
      line: number of the first line after them.
      block_bytes: size of a block; a record that is longer makes a longer one.

    Yields:
      The block and all its bytes, broken lines included.
    """
    pending: list[bytes] = []
    size, offset, wanted = 0, 0, block_bytes
    stream = iter(chunks)
    final = False
    while not final:
        chunk = next(stream, None)
        final = chunk is None
        if chunk:
            drop = min(skip, len(chunk))
            skip, offset = skip - drop, offset + drop
            pending.append(chunk[drop:])
            size += len(chunk) - drop
        if not size or (size < wanted and not final):
            continue
        text = b"".join(pending)
        found = _unquoted(text, final, dialect) or scan(text, final, fields, dialect)
        if not found.consumed:
            pending, wanted = [text], size + block_bytes
            continue
        block, lines = _block(text, found, offset, line)
        yield block, text[: found.consumed]
        offset, line, wanted = offset + found.consumed, line + lines, block_bytes
        pending = [text[found.consumed :]]
        size = len(pending[0])


def _unquoted(text: bytes, final: bool, dialect: Dialect) -> Scan | None:
    """The scan of a text without quotes, where every line feed ends a record; boundaries are not listed."""
    consumed = len(text) if final else text.rfind(b"\n") + 1
    if not consumed or dialect.quote.encode() in text:
        return None
    return Scan(np.zeros(0, np.int64), np.zeros(0, np.int64), [], consumed)


def _block(text: bytes, found: Scan, offset: int, line: int) -> tuple[Block, int]:
    segments, broken, begin, at = [], [], 0, line
    for start, end in [*found.broken, (found.consumed, found.consumed)]:
        if start > begin:
            segments.append(Segment(offset + begin, start - begin, at))
            at += count_lines(text, begin, start)
        if end > start:
            broken.append(Segment(offset + start, end - start, at))
            at += count_lines(text, start, end)
        begin = end
    return Block(offset, found.consumed, tuple(segments), tuple(broken)), at - line
