"""What a user sets about a synthetic marketplace."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from modules.errors import ConfigError
from modules.marketplace.drift import Drift, parse_drift
from modules.marketplace.faults import Fault, parse_faults
from modules.marketplace.world import FIRST_START, LAST_END

Format = Literal["csv", "csv.gz", "parquet"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)
MAX_ROWS: Final = 999_999_999


@dataclass(frozen=True)
class MarketplaceSettings:
    """Settings of one synthetic marketplace; equal settings give equal bytes.

    Attributes:
      rows: leads over all spans, 1 to 999,999,999.
      seed: another seed, another sample of the same world; 0 or more.
      start: first day of the period; the period ends `days` later, and that is the date of the export.
      days: length of the period in days.
      spans: consecutive parts of equal length in time, each in a folder of its own when there is more than one.
      drift: changes of features or of the outcome from a span on.
      faults: damage done to the written `leads` CSV.
      format: csv, csv.gz or parquet.

    Raises:
      ConfigError: a value is out of range, or two values contradict each other.
    """

    rows: int
    seed: int = 0
    start: dt.date = dt.date(2024, 1, 1)
    days: int = 730
    spans: int = 1
    drift: tuple[Drift, ...] = ()
    faults: tuple[Fault, ...] = ()
    format: Format = "csv"

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= MAX_ROWS:
            raise ConfigError(f"rows: expected 1 to {MAX_ROWS:,}, received {self.rows:,}")
        if self.seed < 0:
            raise ConfigError(f"seed: expected 0 or more, received {self.seed}")
        if not 1 <= self.days <= 5000:
            raise ConfigError(f"days: expected 1 to 5000, received {self.days}")
        if not 1 <= self.spans <= min(self.days, 1000):
            raise ConfigError(f"spans: expected 1 to {min(self.days, 1000)} for {self.days} days, got {self.spans}")
        if self.start < FIRST_START or self.start + dt.timedelta(days=self.days) > LAST_END:
            raise ConfigError(
                f"start: expected a period within {FIRST_START} to {LAST_END}, "
                f"received {self.start} and {self.days} days"
            )
        if self.format not in FORMATS:
            raise ConfigError(f"format: expected one of {', '.join(FORMATS)}; received {self.format!r}")
        if self.faults and self.format != "csv":
            raise ConfigError(f"faults: expected format csv, received {self.format!r}; only a plain CSV can be damaged")
        items: tuple[Drift | Fault, ...] = (*self.drift, *self.faults)
        for item in items:
            if item.from_span > self.spans:
                raise ConfigError(f"{item}: expected a span from 1 to {self.spans}, received @{item.from_span}")

    @classmethod
    def parse(
        cls,
        rows: int,
        seed: int = 0,
        start: str | None = None,
        spans: int = 1,
        drift: str = "",
        faults: str = "",
        format: str = "csv",
        days: int = 730,
    ) -> MarketplaceSettings:
        """Settings from the words of a command line.

        Args:
          rows: number of leads.
          seed: seed of the sample.
          start: first day as YYYY-MM-DD; 2024-01-01 when absent.
          spans: number of spans.
          drift: see `modules.marketplace.drift.parse_drift`.
          faults: see `modules.marketplace.faults.parse_faults`.
          format: csv, csv.gz or parquet.
          days: length of the period.

        Raises:
          ConfigError: something cannot be read or is out of range.
        """
        try:
            first = dt.date.fromisoformat(start) if start else cls.start
        except ValueError:
            raise ConfigError(f"start: expected a date as YYYY-MM-DD, received {start!r}") from None
        return cls(
            rows=rows,
            seed=seed,
            start=first,
            days=days,
            spans=spans,
            drift=parse_drift(drift),
            faults=parse_faults(faults),
            format=format,  # type: ignore[arg-type]
        )

    @property
    def start_time(self) -> int:
        """First second of the period, seconds since 1970 UTC."""
        return int(np.datetime64(self.start, "s").astype(np.int64))

    @property
    def export_time(self) -> int:
        """When the tables are exported: the end of the period, seconds since 1970 UTC, for every span."""
        return self.start_time + 86400 * self.days

    def span_start_time(self, span: int) -> int:
        """First second of a span (1-based); `spans + 1` gives the end of the period."""
        return self.start_time + (86400 * self.days * (span - 1)) // self.spans
