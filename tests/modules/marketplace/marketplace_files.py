"""Reads the written tables for the tests, everything as strings, as a reader without knowledge would."""

from __future__ import annotations

import csv
from pathlib import Path


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV by column name."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(path: Path, name: str) -> list[str]:
    """One column of a CSV."""
    return [row[name] for row in rows(path)]
