"""Faults: damage done to the written `leads` CSV, for testing what is to find it.

Grammar, comma separated; N is a number of rows of each damaged file, SHARE a share of its rows:

    ragged=N                lines with a field too few or too many, in turn
    utf8=N                  lines with a byte that is not UTF-8, in the enquiry
    quote=N                 lines whose enquiry opens a quote and never closes it
    bad_date=N              lines whose created_at is no date
    text_in_number=COLUMN:N lines with the word "many" in a numeric column
    new_category=COLUMN:SHARE   cells of a categorical column hold "unseen"
    missing=COLUMN:SHARE        cells of a feature are emptied
    out_of_range=COLUMN:SHARE   cells of a numeric column hold ten times its legal maximum
    ...@2                   any of them, from span 2 on

Faults change what is written, not the truth: probabilities and outcomes are those of the undamaged rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from modules.errors import ConfigError
from modules.marketplace.columns import BY_NAME, CATEGORICAL, COLUMNS, NUMERIC
from modules.marketplace.drift import unknown

FaultKind = Literal["ragged", "utf8", "quote", "bad_date", "text_in_number", "new_category", "missing", "out_of_range"]
LINE_KINDS: Final = ("ragged", "utf8", "quote", "bad_date", "text_in_number")
_NAMES: Final[tuple[str, ...]] = get_args(FaultKind)
_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "text_in_number": NUMERIC,
    "new_category": CATEGORICAL,
    "missing": (*NUMERIC, *CATEGORICAL, "enquiry"),
    "out_of_range": NUMERIC,
}
_ITEM = re.compile(r"(?P<kind>\w+)=(?:(?P<column>[A-Za-z_]\w*):)?(?P<amount>[\d.]+)(?:@(?P<span>\d+))?")
UNSEEN: Final = "unseen"
WORD: Final = "many"
BAD_DATE: Final = "2024-13-45T99:00:00Z"
_ENQUIRY: Final = next(i for i, column in enumerate(COLUMNS) if column.name == "enquiry")
_CREATED_AT: Final = next(i for i, column in enumerate(COLUMNS) if column.name == "created_at")


@dataclass(frozen=True)
class Fault:
    """One kind of damage.

    Attributes:
      kind: see the grammar.
      column: the column it hits; empty where the kind decides.
      amount: number of rows, or share of rows (0-1).
      from_span: 1-based span from which it happens.
    """

    kind: FaultKind
    column: str
    amount: float
    from_span: int = 1

    def __str__(self) -> str:
        return f"fault {self.kind}"

    @property
    def of_lines(self) -> bool:
        """Whether it damages lines of text (amount is a number of rows) or cells (a share of rows)."""
        return self.kind in LINE_KINDS


@dataclass(frozen=True)
class Damage:
    """What a fault did to one file.

    Attributes:
      span: 1-based span of the file.
      kind: kind of fault.
      column: column it hit; empty for whole lines.
      rows: number of rows it hit.
      lines: 1-based numbers of the lines it hit, the header being line 1; empty for faults of cells.
    """

    span: int
    kind: str
    column: str
    rows: int
    lines: tuple[int, ...] = ()


def parse_faults(spec: str) -> tuple[Fault, ...]:
    """Faults from their grammar (above); an empty text gives none.

    Raises:
      ConfigError: an item cannot be read, names an unknown fault or column, or its amount is out of range.
    """
    return tuple(_parse_item(item.strip()) for item in spec.split(",") if item.strip())


def _parse_item(item: str) -> Fault:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ConfigError(f"faults: expected fault=N or fault=column:amount, received {item!r}", [_expected()])
    kind, column = match["kind"], match["column"] or ""
    if kind not in _NAMES:
        raise unknown("faults", kind, _NAMES)
    allowed = _COLUMNS.get(kind, ())
    if bool(allowed) != bool(column):
        wanted = f"{kind}=column:amount" if allowed else f"{kind}=N without a column"
        raise ConfigError(f"faults: expected {wanted}, received {item!r}")
    if column and column not in allowed:
        raise unknown(f"faults: {kind}", column, allowed)
    try:
        amount = float(match["amount"])
    except ValueError:
        raise ConfigError(f"faults: expected a number, received {match['amount']!r} in {item!r}") from None
    if kind in LINE_KINDS and (amount < 1 or amount != int(amount)):
        raise ConfigError(f"faults: expected a whole number of rows, 1 or more, received {item!r}")
    if kind not in LINE_KINDS and not 0 < amount <= 1:
        raise ConfigError(f"faults: expected a share above 0 and up to 1, received {item!r}")
    span = int(match["span"] or 1)
    if span < 1:
        raise ConfigError(f"faults: expected a span of 1 or more, received {item!r}")
    return Fault(kind, column, amount, span)  # type: ignore[arg-type]


def _expected() -> str:
    lines = ", ".join(f"{name}={'column:' if name in _COLUMNS else ''}N" for name in LINE_KINDS)
    cells = ", ".join(f"{name}=column:share" for name in _NAMES if name not in LINE_KINDS)
    return f"faults: {lines}, {cells}"


def lines_to_damage(
    faults: tuple[Fault, ...], span: int, rows: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of a span's file get which fault of lines; no row gets two.

    Args:
      faults: all faults.
      span: 1-based span.
      rows: rows of the file.
      rng: chooses the rows.

    Returns:
      Rows, int64 [k] ascending, 0-based within the file; and for each the index of its fault, int64 [k].

    Raises:
      ConfigError: more rows are to be damaged than there are.
    """
    wanted = [int(fault.amount) if fault.of_lines and span >= fault.from_span else 0 for fault in faults]
    total = sum(wanted)
    if total > rows:
        raise ConfigError(f"faults: {total} damaged lines asked for, but span {span} has {rows} rows")
    which = np.repeat(np.arange(len(faults)), wanted)
    chosen = np.sort(rng.choice(rows, total, replace=False)) if total else np.empty(0, dtype=np.int64)
    return chosen, rng.permutation(which)


def cells_to_damage(fault: Fault, first: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which rows of a piece of a file lose a cell to a fault.

    Pieces add up to round(share x rows of the file) exactly.

    Args:
      fault: a fault of cells.
      first: first row of the piece, 0-based within the file.
      count: rows of the piece.
      rng: chooses the rows.

    Returns:
      bool [count].
    """
    share = fault.amount
    number = round(share * (first + count)) - round(share * first)
    hit = np.zeros(count, dtype=bool)
    hit[rng.choice(count, number, replace=False)] = True
    return hit


def damaged_line(kind: str, column: str, line: bytes, turn: int) -> bytes:
    """One line of the CSV, damaged.

    Args:
      kind: a kind of `LINE_KINDS`.
      column: text_in_number only: the column.
      line: the undamaged line, without its line break.
      turn: ragged only: an even turn takes the last field away, an odd one adds a field.

    Returns:
      The damaged line, without a line break.
    """
    fields = _fields(line)
    if kind == "ragged":
        fields = fields[:-1] if turn % 2 == 0 else [*fields, b"0"]
    elif kind == "bad_date":
        fields[_CREATED_AT] = BAD_DATE.encode()
    elif kind == "text_in_number":
        fields[list(BY_NAME).index(column)] = WORD.encode()
    elif kind == "utf8":
        fields[_ENQUIRY] = b'"caf\xe9 ' + fields[_ENQUIRY].strip(b'"') + b'"'
    elif kind == "quote":
        fields[_ENQUIRY] = b'"never closed ' + fields[_ENQUIRY].strip(b'"')
    return b",".join(fields)


def _fields(line: bytes) -> list[bytes]:
    """Fields of a line as they stand, quotes included; quoted fields hold no quotes themselves."""
    outside = line.split(b'"')
    fields: list[bytes] = []
    open_field = b""
    for index, part in enumerate(outside):
        if index % 2:
            open_field += b'"' + part + b'"'
        else:
            pieces = part.split(b",")
            pieces[0] = open_field + pieces[0]
            fields += pieces[:-1]
            open_field = pieces[-1]
    return [*fields, open_field]
