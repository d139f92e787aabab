"""What a batch prediction did: counts per block, per file and in all."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modules.files import write_whole
from modules.ingest.quarantine import BadRow, Reason

REPORT_FILE = "predictions.json"
TENTHS = 10
FIRST_BAD = 10

Place = tuple[int, int, int]
"""Number of the file, of the unit in it, and of the block in that."""


@dataclass
class Counts:
    """What became of some consecutive records.

    Attributes:
      records: rows read, unusable ones included.
      predicted: rows in the output.
      probability: sum of `probability` over them; None if the model has no such output.
      tenths: how many of them have a `score` of 0 to 10, 10 to 20, ... 90 to 100; empty without such an output.
      quarantined: reason -> rows.
      first_bad: the first of those, in words.
    """

    records: int = 0
    predicted: int = 0
    probability: float | None = None
    tenths: list[int] = field(default_factory=list)
    quarantined: dict[str, int] = field(default_factory=dict)
    first_bad: list[str] = field(default_factory=list)

    @property
    def quarantined_rows(self) -> int:
        return sum(self.quarantined.values())


def count(records: int, outputs: Mapping[str, np.ndarray], rows: int, bad: Sequence[BadRow]) -> Counts:
    """Counts of a block, given its outputs, [rows] each."""
    # A line whose quoting is broken is not counted among a block's records.
    counts = Counts(records + sum(b.reason is Reason.QUOTING for b in bad), rows)
    if "probability" in outputs:
        counts.probability = float(outputs["probability"].sum(dtype=np.float64))
    if "score" in outputs:
        tenth = np.clip(outputs["score"] // TENTHS, 0, TENTHS - 1).astype(np.int64)
        counts.tenths = np.bincount(tenth, minlength=TENTHS).tolist()
    counts.quarantined = dict(Counter(str(b.reason) for b in bad))
    counts.first_bad = [str(b) for b in bad[:FIRST_BAD]]
    return counts


def total(parts: Iterable[Counts]) -> Counts:
    """The sum of counts, in order."""
    whole = Counts()
    for part in parts:
        whole.records += part.records
        whole.predicted += part.predicted
        if part.probability is not None:
            whole.probability = (whole.probability or 0.0) + part.probability
        if part.tenths:
            whole.tenths = [a + b for a, b in zip(whole.tenths or [0] * TENTHS, part.tenths, strict=True)]
        whole.quarantined = dict(sorted((Counter(whole.quarantined) + Counter(part.quarantined)).items()))
        whole.first_bad = [*whole.first_bad, *part.first_bad][:FIRST_BAD]
    return whole


@dataclass
class FileResult:
    """A file's counts, or why it could not be read. outputs: paths of its predictions."""

    input: str
    counts: Counts = field(default_factory=Counts)
    outputs: list[str] = field(default_factory=list)
    error: str | None = None
    details: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> FileResult:
        values = json.loads(path.read_text())
        return cls(**{**values, "counts": Counts(**values["counts"])})


@dataclass(frozen=True)
class PredictionReport:
    """Written beside the predictions as `predictions.json`.

    Attributes:
      model, version, model_path: which model answered.
      dataset: name of the dataset file that says what the columns mean.
      started_at: UTC, ISO 8601.
      seconds: wall time of the whole job; model_s: inside the model, summed over workers.
      mean_probability: over all predicted rows; None without any, or without such an output.
      counts: over all files.
      files: in order.
      quarantine: path of the rows that have no prediction, JSON lines; None if every row has one.
    """

    model: str
    version: int | None
    model_path: str
    dataset: str
    started_at: str
    seconds: float
    model_s: float | None
    mean_probability: float | None
    counts: Counts
    files: tuple[FileResult, ...]
    quarantine: str | None

    def write(self, folder: Path) -> None:
        """Writes it whole or not at all."""
        write_whole(folder / REPORT_FILE, json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False))


def earlier_outputs(folder: Path) -> tuple[Path, ...]:
    """What the report of an earlier job in this folder says it wrote; nothing without a report, or outside."""
    path = folder / REPORT_FILE
    if not path.is_file():
        return ()
    try:
        values = json.loads(path.read_text())
        names = [name for file in values["files"] for name in file["outputs"]] + [values["quarantine"] or REPORT_FILE]
    except (ValueError, KeyError, TypeError):
        return (path,)
    inside = [folder / name for name in names if (folder / name).resolve().is_relative_to(folder.resolve())]
    return (path, *inside)
