"""Writes a synthetic marketplace: leads, events and their truth, whole files or none.

    DIR/leads.csv DIR/events.csv DIR/truth.csv DIR/truth_events.csv        one span
    DIR/span-1/leads.csv ... DIR/span-2/leads.csv ...                      several

Chunks are made by threads and written in order, so bytes depend on the settings alone. A file is written beside its
place and renamed when all are complete.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modules.errors import ConfigError
from modules.marketplace.arrivals import span_starts
from modules.marketplace.faults import Damage, damaged_line, lines_to_damage
from modules.marketplace.generate import LINES, chunk_count, generate_chunk
from modules.marketplace.sampling import generator
from modules.marketplace.settings import MarketplaceSettings
from modules.marketplace.tables import TABLES, ChunkTables, csv_bytes

_WORKERS: Final = 2


@dataclass(frozen=True)
class SpanReport:
    """What one span holds.

    Attributes:
      span: 1-based number.
      start: first day of the span.
      leads: rows of `leads`.
      events: rows of `events`.
      converted: leads the export shows as converted.
      mean_probability: mean true probability, 0-1.
      files: leads, events, truth and truth_events.
    """

    span: int
    start: dt.date
    leads: int
    events: int
    converted: int
    mean_probability: float
    files: tuple[Path, ...]


@dataclass(frozen=True)
class MarketplaceReport:
    """What was written.

    Attributes:
      spans: one report per span.
      export_date: when the tables are exported; leads created in the 90 days before are not mature.
      damage: what the faults did.
    """

    spans: tuple[SpanReport, ...]
    export_date: dt.date
    damage: tuple[Damage, ...] = ()

    @property
    def leads(self) -> int:
        """Leads over all spans."""
        return sum(span.leads for span in self.spans)

    @property
    def events(self) -> int:
        """Events over all spans."""
        return sum(span.events for span in self.spans)

    @property
    def converted(self) -> int:
        """Leads the export shows as converted, over all spans."""
        return sum(span.converted for span in self.spans)

    @property
    def conversion_rate(self) -> float:
        """Share of leads the export shows as converted, 0-1; below the true rate, as young leads need time."""
        return self.converted / self.leads

    @property
    def mean_probability(self) -> float:
        """Mean true probability of all leads, 0-1."""
        return sum(span.mean_probability * span.leads for span in self.spans) / self.leads

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, span by span."""
        return tuple(file for span in self.spans for file in span.files)


class _Sink(Protocol):
    def write(self, piece: Any, /) -> object: ...
    def close(self) -> None: ...


class _ParquetSink:
    """A Parquet file, one row group per piece; dictionaries are stored as plain strings for every reader."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def write(self, piece: pa.Table) -> None:
        if self._writer is None:
            few = [field.name for field in piece.schema if pa.types.is_dictionary(field.type)]
            self._writer = pq.ParquetWriter(
                self._path, piece.schema, compression="snappy", use_dictionary=few, store_schema=False
            )
        self._writer.write_table(piece)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@dataclass(frozen=True)
class _Piece:
    """The part of a chunk that belongs to one span, ready to be written."""

    span: int
    tables: dict[str, bytes | memoryview | pa.Table]
    leads: int
    events: int
    converted: int
    probability: float


class _Plan:
    """Which lines of which span are damaged, decided before the first chunk is made."""

    def __init__(self, settings: MarketplaceSettings) -> None:
        self.settings = settings
        self.starts = span_starts(settings)
        self.rows: dict[int, np.ndarray] = {}
        self.which: dict[int, np.ndarray] = {}
        if any(fault.of_lines for fault in settings.faults):
            for span in range(1, settings.spans + 1):
                rows = int(self.starts[span] - self.starts[span - 1])
                rng = generator(settings.seed, span, LINES)
                self.rows[span], self.which[span] = lines_to_damage(settings.faults, span, rows, rng)

    def damage(self) -> tuple[Damage, ...]:
        """A record of every fault in every span."""
        out = []
        for span in range(1, self.settings.spans + 1):
            rows = int(self.starts[span] - self.starts[span - 1])
            for index, fault in enumerate(self.settings.faults):
                if span < fault.from_span:
                    continue
                if fault.of_lines:
                    lines = tuple(int(row) + 2 for row in self.rows[span][self.which[span] == index])
                    out.append(Damage(span, fault.kind, fault.column, len(lines), lines))
                else:
                    out.append(Damage(span, fault.kind, fault.column, round(fault.amount * rows)))
        return tuple(out)

    def apply(self, span: int, first: int, count: int, lines: memoryview) -> bytes | memoryview:
        """Damages lines first .. first + count - 1 (0-based rows) of a span's file."""
        rows = self.rows.get(span, np.empty(0, dtype=np.int64))
        low, high = np.searchsorted(rows, [first, first + count])
        if low == high:
            return lines
        ends = np.flatnonzero(np.frombuffer(lines, dtype=np.uint8) == 10)
        out: list[bytes | memoryview] = []
        done = 0
        for at in range(low, high):
            row = int(rows[at]) - first
            begin, end = (int(ends[row - 1]) + 1 if row else 0), int(ends[row])
            index = int(self.which[span][at])
            fault = self.settings.faults[index]
            turn = int((self.which[span][:at] == index).sum())
            out += [lines[done:begin], damaged_line(fault.kind, fault.column, bytes(lines[begin:end]), turn)]
            done = end
        return b"".join([*out, lines[done:]])


def _compressed(data: bytes | memoryview) -> bytes:
    """A gzip member of its own, without a time stamp; members in a row are one gzip file."""
    compressor = zlib.compressobj(level=1, wbits=31)
    return compressor.compress(data) + compressor.flush()


def _make(settings: MarketplaceSettings, plan: _Plan, index: int) -> list[_Piece]:
    """Makes a chunk and serialises it, one piece per span it touches."""
    chunk = generate_chunk(settings, index)
    as_text = settings.format != "parquet"
    pieces = []
    for span in np.unique(chunk.span).tolist():
        tables = ChunkTables(settings, chunk, span, int(plan.starts[span - 1]), as_text)
        data: dict[str, bytes | memoryview | pa.Table] = {}
        for name in TABLES:
            columns = tables.table(name)
            if not as_text:
                data[name] = pa.table(columns)
                continue
            lines: bytes | memoryview = csv_bytes(columns)
            if name == "leads":
                lines = plan.apply(span, tables.row_in_file, tables.last - tables.first, memoryview(lines))
            if tables.row_in_file == 0:
                lines = b"".join([",".join(columns).encode() + b"\n", lines])
            data[name] = _compressed(lines) if settings.format == "csv.gz" else lines
        part = slice(tables.first, tables.last)
        pieces.append(
            _Piece(
                span=span,
                tables=data,
                leads=tables.last - tables.first,
                events=len(tables.events_at),
                converted=int(chunk.converted[part].sum()),
                probability=float(chunk.probability[part].sum()),
            )
        )
    return pieces


def _in_order(settings: MarketplaceSettings, plan: _Plan) -> Iterator[list[_Piece]]:
    """Pieces of all chunks in order, made ahead by threads, but never far ahead."""
    waiting: deque[Future[list[_Piece]]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            for index in range(chunk_count(settings)):
                waiting.append(pool.submit(_make, settings, plan, index))
                if len(waiting) > _WORKERS + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def write_marketplace(
    out: Path, settings: MarketplaceSettings, progress: Callable[[int, int], None] | None = None
) -> MarketplaceReport:
    """Writes a synthetic marketplace.

    Args:
      out: folder; made if it does not exist. Files of the same names are replaced.
      settings: what to write.
      progress: called with leads written so far and leads in all.

    Returns:
      What was written.

    Raises:
      ConfigError: the folder cannot be written to, a span would be empty, or there are fewer rows than damaged lines.
    """
    plan = _Plan(settings)
    empty = np.flatnonzero(np.diff(plan.starts) == 0)
    if len(empty):
        raise ConfigError(
            f"rows: {settings.rows} rows leave span {empty[0] + 1} of {settings.spans} empty; give more rows"
        )
    folders = [out] if settings.spans == 1 else [out / f"span-{k + 1}" for k in range(settings.spans)]
    finals = [{name: folder / f"{name}.{settings.format}" for name in TABLES} for folder in folders]
    totals = np.zeros((settings.spans, 4))
    sinks: dict[Path, _Sink] = {}

    def part_of(path: Path) -> Path:
        return path.with_name(path.name + ".part")

    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for pieces in _in_order(settings, plan):
            for piece in pieces:
                for name, data in piece.tables.items():
                    path = finals[piece.span - 1][name]
                    if path not in sinks:
                        sinks[path] = (
                            _ParquetSink(part_of(path)) if settings.format == "parquet" else part_of(path).open("wb")
                        )
                    sinks[path].write(data)
                totals[piece.span - 1] += [piece.leads, piece.events, piece.converted, piece.probability]
            if progress is not None:
                progress(int(totals[:, 0].sum()), settings.rows)
        for sink in sinks.values():
            sink.close()
        for path in sinks:
            part_of(path).replace(path)
    except OSError as error:
        raise ConfigError(f"out: expected a folder that can be written to, received {out}: {error}") from error
    finally:
        for path, sink in sinks.items():
            sink.close()
            part_of(path).unlink(missing_ok=True)

    return MarketplaceReport(
        spans=tuple(
            SpanReport(
                span=k + 1,
                start=dt.datetime.fromtimestamp(settings.span_start_time(k + 1), dt.UTC).date(),
                leads=int(leads),
                events=int(events),
                converted=int(converted),
                mean_probability=float(probability / leads),
                files=tuple(finals[k].values()),
            )
            for k, (leads, events, converted, probability) in enumerate(totals)
        ),
        export_date=settings.start + dt.timedelta(days=settings.days),
        damage=plan.damage(),
    )
