"""What is made of the results of all units and partitions: final files, the report, or a reason to stop."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections import Counter
from pathlib import Path

from modules.dataset import SPLITS
from modules.errors import DataError
from modules.ingest.staging import STAGING, keep_quarantine, merge_quarantine, publish
from modules.journeys.dataset import JourneyDataset
from modules.journeys.report import JourneyCount, JourneyReport
from modules.journeys.spill import ROW_BITS
from modules.journeys.splits import JourneyPlan, Position, read_plan
from modules.journeys.tables import EVENTS, Tables
from modules.journeys.work import FIRST_BAD, LONG_AGO, PartitionResult, SpillResult

_DAY = 86_400


def newest_event(results: list[SpillResult]) -> int | None:
    """Seconds since 1970 UTC of the newest event; None if there is none."""
    newest = max((r.newest for r in results), default=LONG_AGO)
    return None if newest == LONG_AGO else newest


def judge(dataset: JourneyDataset, found: Tables, results: list[SpillResult]) -> DataError | None:
    """Why nothing can be made of what was read, if so: a file cannot be read, no events, or too many bad rows."""
    for result in results:
        if result.error is not None:
            return DataError(result.error, result.details)
    for number, files, what in ((EVENTS, found.event_files, "events"), (1 - EVENTS, found.lead_files, "leads")):
        own = [r for r in results if r.place[0] == number]
        if not files:
            continue
        where = f"dataset {dataset.name!r}, {what} ({', '.join(f.path for f in files[:3])}"
        where += ", ...)" if len(files) > 3 else ")"
        records, bad = sum(r.records for r in own), sum(r.bad for r in own)
        if not records:
            return DataError(f"{where} has no rows, only a header")
        if bad > dataset.max_bad_rows * records:
            reasons: Counter[str] = Counter()
            for r in own:
                reasons.update(r.quarantined)
            details = [f"{count} rows: {reason}" for reason, count in sorted(reasons.items())]
            details += [line for r in own for line in r.first_bad][:FIRST_BAD]
            return DataError(
                f"{where}: {bad} of {records} rows cannot be used ({bad / records:.2%}), more than max_bad_rows "
                f"({dataset.max_bad_rows:.2%})",
                details,
            )
    return None


def finish(
    dataset: JourneyDataset,
    found: Tables,
    ignored: tuple[str, ...],
    version: str,
    root: str,
    quarantine_path: str,
) -> JourneyReport:
    """Checks the results of all units, gives the files their final names below `root` and writes the report.

    Args:
      dataset: what was read.
      found: its files.
      ignored: columns that the dataset does not mention.
      version: dataset version.
      root: the Examples artifact; results lie in its staging folder, which goes.
      quarantine_path: where quarantined rows are kept when the data cannot be used; otherwise beside the examples.

    Raises:
      DataError: a file could not be read, there are no events, too many rows are bad, or nothing is left to train on.
    """
    staging = Path(root) / STAGING
    units = [SpillResult(**json.loads(p.read_text())) for p in sorted(staging.glob("spill-*.json"))]
    error = judge(dataset, found, units)
    merge_quarantine(staging)
    if error is not None:
        if any(r.bad for r in units):
            error.details.append(keep_quarantine(staging, Path(quarantine_path)))
        # Nothing of the rows stays behind, hashed or not.
        shutil.rmtree(staging)
        raise error
    partitions = [PartitionResult(**json.loads(p.read_text())) for p in sorted(staging.glob("part-*.json"))]
    report = _report(dataset, found, read_plan(str(staging)), ignored, version, units, partitions)
    if not report.splits["train"].rows:
        shutil.rmtree(staging)
        raise DataError(
            f"dataset {dataset.name!r}: there is no decision to train on",
            [f"{name}: {c.rows} decisions of {c.journeys} journeys" for name, c in report.splits.items()]
            + [f"{report.left_out} decisions have fewer than {dataset.history.min} events before them"],
        )
    publish(Path(root), {name: sorted(staging.glob(f"{name}-*.gz")) for name in SPLITS}, report)
    return report


def _report(
    dataset: JourneyDataset,
    found: Tables,
    plan: JourneyPlan,
    ignored: tuple[str, ...],
    version: str,
    units: list[SpillResult],
    partitions: list[PartitionResult],
) -> JourneyReport:
    quarantined: Counter[str] = Counter()
    for unit in units:
        quarantined.update(unit.quarantined)
    return JourneyReport(
        dataset=dataset.name,
        dataset_version=version,
        files=tuple(file.path for _, file in found.files),
        span=found.span,
        events=sum(r.records for r in units if r.place[0] == EVENTS),
        leads=sum(r.records for r in units if r.place[0] != EVENTS),
        splits={
            name: JourneyCount(
                sum(p.rows[i] for p in partitions),
                sum(p.journeys[i] for p in partitions),
                sum(p.converted[i] for p in partitions),
            )
            for i, name in enumerate(SPLITS)
        },
        quarantined=dict(sorted(quarantined.items())),
        events_without_lead=sum(p.events_without_lead for p in partitions),
        leads_without_events=sum(p.leads_without_events for p in partitions),
        duplicate_leads=sum(p.duplicate_leads for p in partitions),
        immature=sum(p.immature for p in partitions),
        left_out=sum(p.left_out for p in partitions),
        ignored_columns=ignored,
        as_of=None if plan.as_of is None else _moment(plan.as_of),
        thresholds=_thresholds(dataset, plan, units),
    )


def _thresholds(dataset: JourneyDataset, plan: JourneyPlan, units: list[SpillResult]) -> dict[str, str | int]:
    events = sorted((r for r in units if r.place[0] == EVENTS), key=lambda r: r.place)

    def shown(position: Position) -> str | int:
        begin, first = position
        if dataset.split.method == "time":
            return _moment(begin // 1_000_000)
        unit, row = first >> ROW_BITS, first & ((1 << ROW_BITS) - 1)
        return sum(r.records for r in events[:unit]) + row

    places = {"test": plan.test_from, "calibration": plan.calibration_from, "validation": plan.validation_from}
    thresholds = {name: shown(position) for name, position in places.items() if position is not None}
    if dataset.outcome is not None and dataset.outcome.maturity_days and plan.as_of is not None:
        thresholds["mature until"] = _moment(int(plan.as_of - dataset.outcome.maturity_days * _DAY))
    return thresholds


def _moment(seconds: int) -> str:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)).isoformat()
