"""`aiqleads score`: leads of a file or of standard input through a running model server.

Exit codes: 0 scored, 4 bad input, 5 the server cannot be reached or failed.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from modules.features import Kind
from pipeline.client_io import Asked, by_versions, chosen_format, connect, count, digits, note, opened, shown, written
from serving.client import Client, LeadScore, Reason
from serving.client.table import Chunk, LeadTable, Reading

COLUMNS = ("score", "probability", "probability_low", "probability_high", "confidence", "version")
REASONS = 3
"""Reasons of each lead in the output."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Asked):
    """What the command was asked.

    file: path, or "-" for standard input. id, dataset: how the input is read.
    """

    file: str
    model: str = "lead-scoring"
    id: str | None = None
    dataset: str | None = None


def score(options: ScoreOptions) -> int:
    """Scores and writes; notes on the input and a summary go to standard error.

    Raises:
      ConfigError: options that cannot be used.
      DataError: input that cannot be used.
      ClientError: the server.
    """
    chosen = chosen_format(options)
    reading = _reading(options)
    begin = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(opened(options.file))
        client = stack.enter_context(connect(options, options.model))
        table = LeadTable(stream, shown(options.file), client.features(), reading, _kind(options.file))
        chunks = _noted(table)
        # JSON lines name their columns only now.
        beginning = list(itertools.islice(chunks, 1))
        writer = _WRITERS[chosen](stack.enter_context(written(options.output)), table.id_column, options.explain)
        versions = _write(client, writer, itertools.chain(beginning, chunks), options.explain)
    _summary(table, options.model, versions, time.perf_counter() - begin)
    return 0


Reasons = Sequence[Sequence[Reason]]
"""Of each lead the strongest ones; none where they were not asked for."""


class Writer(Protocol):
    """Writes scores as they come; explain: with REASONS reasons each."""

    def __init__(self, out: TextIO, id_column: str, explain: bool = False) -> None: ...

    def write(self, ids: Sequence[object], scores: Sequence[LeadScore], reasons: Reasons) -> None: ...


class CsvWriter:
    """A header, then a line per lead."""

    def __init__(self, out: TextIO, id_column: str, explain: bool = False) -> None:
        self._csv = csv.writer(out, lineterminator="\n")
        named = [f"{name}_{rank}" for rank in range(1, REASONS + 1) for name in ("reason", "contribution")]
        self._csv.writerow((id_column, *COLUMNS, *(named if explain else ())))

    def write(self, ids: Sequence[object], scores: Sequence[LeadScore], reasons: Reasons) -> None:
        for i, s, why in zip(ids, scores, reasons, strict=True):
            cells = [cell for reason in why for cell in (reason.feature, digits(reason.contribution))]
            self._csv.writerow((*_values(i, s), *cells))


class JsonLinesWriter:
    """A JSON object per lead."""

    def __init__(self, out: TextIO, id_column: str, explain: bool = False) -> None:
        self._out, self._keys, self._explain = out, (id_column, *COLUMNS), explain

    def write(self, ids: Sequence[object], scores: Sequence[LeadScore], reasons: Reasons) -> None:
        for i, s, why in zip(ids, scores, reasons, strict=True):
            row: dict[str, Any] = dict(zip(self._keys, _values(i, s), strict=True))
            if self._explain:
                row["reasons"] = [{"feature": r.feature, "contribution": digits(r.contribution)} for r in why]
            self._out.write(json.dumps(row, ensure_ascii=False) + "\n")


class TableWriter:
    """For people: rounded, in columns of a fixed width."""

    def __init__(self, out: TextIO, id_column: str, explain: bool = False) -> None:
        self._out = out
        self._width = max(12, len(id_column))
        out.write(f"{id_column:<{self._width}}  score  probability         interval  confidence\n")

    def write(self, ids: Sequence[object], scores: Sequence[LeadScore], reasons: Reasons) -> None:
        for i, s, why in zip(ids, scores, reasons, strict=True):
            self._out.write(
                f"{i!s:<{self._width}}  {s.score:5.1f}  {s.probability:11.1%}  "
                f"{f'{s.low:.1%} to {s.high:.1%}':>15}  {s.confidence:10.3f}\n"
            )
            for reason in why:
                self._out.write(f"{'':<{self._width}}    {reason}\n")


_WRITERS: dict[str, type[Writer]] = {"csv": CsvWriter, "jsonl": JsonLinesWriter, "table": TableWriter}


def _values(identity: object, s: LeadScore) -> tuple[Any, ...]:
    numbers = (s.score, s.probability, s.low, s.high, s.confidence)
    return (identity, *map(digits, numbers), s.version)


def _write(client: Client, writer: Writer, chunks: Iterator[Chunk], explain: bool) -> list[int]:
    """Returns the versions that answered; a new one may take over in the middle."""
    waiting: deque[Chunk] = deque()

    def columns() -> Iterator[Any]:
        for chunk in chunks:
            waiting.append(chunk)
            yield chunk.columns

    versions: dict[int, None] = {}
    for scores, reasons in _answers(client, columns(), explain):
        writer.write(waiting.popleft().ids, scores, reasons)
        versions.update(dict.fromkeys({s.version for s in scores}))
    return list(versions)


def _answers(client: Client, columns: Iterator[Any], explain: bool) -> Iterator[tuple[list[LeadScore], Reasons]]:
    if not explain:
        for scores in client.score_columns(columns):
            yield scores, [()] * len(scores)
        return
    for answers in client.explain_columns(columns):
        yield [answer.score for answer in answers], [answer.reasons[:REASONS] for answer in answers]


def _noted(table: LeadTable) -> Iterator[Chunk]:
    """The chunks; says once, before the first answer, which columns are ignored and which features are missing."""
    reported: set[str] = set()
    for position, chunk in enumerate(table.chunks()):
        if position == 0 and table.absent:
            note(f"features not in the input, taken as missing: {', '.join(sorted(table.absent))}")
        new = table.ignored - reported
        if new:
            note(f"ignored, not a feature of the model: {', '.join(sorted(new))}")
            reported |= new
        yield chunk


def _summary(table: LeadTable, model: str, versions: Sequence[int], seconds: float) -> None:
    if table.bad_rows:
        note(f"left out {count(table.bad_rows, 'bad row')}")
        for line, reason in sorted(table.bad.items()):
            note(f"  line {line}: {reason}")
        if table.bad_rows > len(table.bad):
            note(f"  and {table.bad_rows - len(table.bad):,} more")
    leads = count(table.rows, "lead")
    note(f"{leads} scored by {model} {by_versions(versions)} in {seconds:.1f} s" if versions else "no leads to score")


def _reading(options: ScoreOptions) -> Reading:
    if options.dataset is None:
        return Reading(id=options.id, skip_bad=options.skip_bad, chunk=options.batch)
    from pipeline.config import load_leads

    dataset = load_leads(options.dataset)
    return Reading(
        id=options.id or dataset.id,
        features={f.source: f.name for f in dataset.table if f.source != f.name},
        missing={f.name: frozenset(f.missing_values) for f in dataset.table if f.missing_values},
        dates={f.name: f.format for f in dataset.table.of_kind(Kind.DATE)},
        delimiter=dataset.csv.delimiter,
        decimal=dataset.csv.decimal,
        thousands=dataset.csv.thousands,
        trim=dataset.csv.trim,
        skip_bad=options.skip_bad,
        chunk=options.batch,
    )


def _kind(file: str) -> Literal["csv", "jsonl"] | None:
    suffix = Path(file.removesuffix(".gz")).suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    return "csv" if suffix in (".csv", ".tsv") else None
