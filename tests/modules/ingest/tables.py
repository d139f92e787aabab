"""Small datasets and files for the tests."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from modules.dataset import Dataset

FEATURES: tuple[dict[str, Any], ...] = (
    {"name": "age", "kind": "numeric"},
    {"name": "job", "kind": "categorical"},
)


def make_dataset(*files: str | Path, **changes: Any) -> Dataset:
    """id, age (numeric), job (categorical), label 0 or 1."""
    values: dict[str, Any] = {
        "name": "leads",
        "files": [str(f) for f in files],
        "id": "id",
        "label": {"column": "label"},
        "features": FEATURES,
    }
    return Dataset.model_validate({**values, **changes})


def write_rows(path: Path, rows: list[list[str]], **dialect: Any) -> Path:
    """Writes rows with the csv module."""
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    path.write_bytes(text.getvalue().encode())
    return path


def many_rows(count: int, header: bool = True) -> list[list[str]]:
    """count rows `lead-i, age, job, label`; ages 20 to 69, every third row converted."""
    rows = [[f"lead-{i}", str(20 + i % 50), f"job {i % 7}", str(int(i % 3 == 0))] for i in range(count)]
    return [["id", "age", "job", "label"], *rows] if header else rows
