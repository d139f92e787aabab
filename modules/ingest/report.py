"""What an ingest did: a typed value, written beside the examples."""

from __future__ import annotations

from dataclasses import dataclass

from modules.report_file import ReportFile

REPORT_FILE = "ingest_report.json"
QUARANTINE_FILE = "quarantine.jsonl"


@dataclass(frozen=True)
class SplitCount:
    """Rows of a split, and how many of them converted."""

    rows: int
    positives: int


class IngestReport(ReportFile):
    """What was read, kept and left out.

    Attributes:
      dataset: name.
      dataset_version: 16 hex digits over the contents of the files.
      files: paths, in order.
      span: newest span read; None without spans.
      rows: records read, unusable ones included; blank lines are not records.
      splits: split -> rows and positives.
      quarantined: reason -> rows.
      immature: rows left out because they are younger than `label_maturity_days` at `as_of`.
      gap: rows left out because they lie in the gap before the test split.
      duplicate_ids: rows whose id an earlier row has too.
      ignored_columns: columns that the dataset does not mention.
      as_of: ISO 8601, UTC: the date of the export, or the newest row's time; None without time.
      thresholds: where splits begin: ISO 8601 times, or row numbers from 0 for `order`.
    """

    FILE = REPORT_FILE
    dataset: str
    dataset_version: str
    files: tuple[str, ...]
    span: int | None
    rows: int
    splits: dict[str, SplitCount]
    quarantined: dict[str, int]
    immature: int
    gap: int
    duplicate_ids: int
    ignored_columns: tuple[str, ...]
    as_of: str | None
    thresholds: dict[str, str | int]

    @property
    def quarantined_rows(self) -> int:
        return sum(self.quarantined.values())

    @property
    def kept(self) -> int:
        """Rows in all splits."""
        return sum(count.rows for count in self.splits.values())


def read_report(folder: str) -> IngestReport:
    """Reads the report of an Examples artifact, given its root.

    Raises:
      DataError: there is none.
    """
    return IngestReport.read(folder)
