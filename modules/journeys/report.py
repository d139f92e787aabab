"""What an ingest of journeys did: a typed value, written beside the examples."""

from __future__ import annotations

from dataclasses import dataclass

from modules.ingest.report import REPORT_FILE
from modules.report_file import ReportFile


@dataclass(frozen=True)
class JourneyCount:
    """A split.

    Attributes:
      rows: decisions, that is, examples.
      journeys: leads with at least one event.
      converted: journeys that converted, as far as it is known.
    """

    rows: int
    journeys: int
    converted: int


class JourneyReport(ReportFile):
    """What was read, kept and left out.

    Attributes:
      dataset: name.
      dataset_version: 16 hex digits over the contents of the files.
      files: paths, events first.
      span: newest span read; None without spans.
      events: records of the event tables, unusable ones included.
      leads: the same of the lead tables; 0 without any.
      splits: split -> decisions and journeys.
      quarantined: reason -> rows, events and leads together.
      events_without_lead: good events whose lead is not in the lead table; its features are missing.
      leads_without_events: leads of which there is no journey.
      duplicate_leads: good rows of the lead tables whose id an earlier row has too; the first one counts.
      immature: journeys whose outcome is not known yet.
      left_out: decisions with fewer events before them than `history.min`.
      ignored_columns: columns that the dataset does not mention.
      as_of: ISO 8601, UTC: the date of the export, or the newest event's time; None if there is no event.
      thresholds: where splits begin: ISO 8601 times, or for `order` the number, from 0, of an event; `mature until`.
    """

    FILE = REPORT_FILE
    dataset: str
    dataset_version: str
    files: tuple[str, ...]
    span: int | None
    events: int
    leads: int
    splits: dict[str, JourneyCount]
    quarantined: dict[str, int]
    events_without_lead: int
    leads_without_events: int
    duplicate_leads: int
    immature: int
    left_out: int
    ignored_columns: tuple[str, ...]
    as_of: str | None
    thresholds: dict[str, str | int]

    @property
    def quarantined_rows(self) -> int:
        return sum(self.quarantined.values())

    @property
    def rows(self) -> int:
        """Records read from all tables."""
        return self.events + self.leads

    @property
    def kept(self) -> int:
        """Decisions in all splits."""
        return sum(count.rows for count in self.splits.values())

    @property
    def journeys(self) -> int:
        """Journeys in all splits."""
        return sum(count.journeys for count in self.splits.values())


def read_report(folder: str) -> JourneyReport:
    """Reads the report of an Examples artifact, given its root.

    Raises:
      DataError: there is none.
    """
    return JourneyReport.read(folder)
