"""Rows that cannot be used: what is kept of them, and the file they go to."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import IO

from modules.dataset import Dataset

MASK = "***"
MAX_TEXT = 2000

# What shifted columns could bring into an unsuspicious one: e-mail addresses and long runs of digits.
_PERSONAL = re.compile(r"\S*@\S*|\+?\d[\d\s()/.-]{5,}\d")


class Reason(enum.StrEnum):
    """Why a row is quarantined."""

    QUOTING = "broken quoting"
    FIELDS = "wrong number of fields"
    ENCODING = "not UTF-8"
    NUMBER = "not a number"
    TIME = "not a date"
    LABEL = "unknown label"
    ID = "no id"
    SPLIT = "unknown split value"
    ACTION = "no action"


@dataclass(frozen=True)
class BadRow:
    """A row that is left out.

    Attributes:
      file: path of its file.
      line: number, from 1, of its first line (CSV) or of the row (Parquet).
      reason: why.
      column: which column is wrong, if it is one.
      message: the reason in words, with what was received.
      fields: the row by column: the ones that the dataset names, personal ones masked; None if it has no fields.
      text: the row as it stands in the file, if it has no fields and the dataset no personal data.
    """

    file: str
    line: int
    reason: Reason
    message: str
    column: str | None = None
    fields: dict[str, str | None] | None = None
    text: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"

    def to_json(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None}, ensure_ascii=False)


def shown(value: bytes | str | float | None, private: bool) -> str | None:
    """A value as people may see it: at most 2000 characters; without what looks personal if `private`."""
    if value is None:
        return None
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "..."
    return _PERSONAL.sub(MASK, text) if private else text


def masked(dataset: Dataset) -> frozenset[str]:
    """Columns whose values never leave the source file."""
    return frozenset(p.column for p in dataset.personal_data)


def write(rows: Iterable[BadRow], stream: IO[str]) -> None:
    """Appends rows as JSON lines."""
    for row in rows:
        stream.write(row.to_json() + "\n")
