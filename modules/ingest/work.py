"""The work on one unit, and what is made of the results of all."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modules.dataset import SPLITS, Dataset
from modules.errors import AiqleadsError, DataError
from modules.ingest import quarantine, split
from modules.ingest.examples import ShardWriter, encode_splits
from modules.ingest.hashing import hash64, personal_key
from modules.ingest.layout import check_names, read_layout
from modules.ingest.quarantine import BadRow
from modules.ingest.raw import RawBlock
from modules.ingest.report import IngestReport, SplitCount
from modules.ingest.sources import Source
from modules.ingest.split import BlockSummary, Key, SplitPlan
from modules.ingest.staging import STAGING, keep_quarantine, merge_quarantine, publish
from modules.ingest.tfrecord import Piece
from modules.ingest.typed import type_block
from modules.ingest.units import BLOCKS_PER_UNIT, Unit, in_order, narrowed, pieces, plan_units

PLAN_FILE = "plan.json"
FIRST_BAD = 10
MAX_NEWEST = -(2**62)


@dataclass(frozen=True)
class Work:
    """A unit, or why its file could not be cut into units."""

    place: Key
    unit: Unit | None
    error: str | None = None
    details: tuple[str, ...] = ()


@dataclass
class UnitResult:
    """Counts of a unit; `shards` are its files per split, in order."""

    records: int = 0
    rows: list[int] = field(default_factory=lambda: [0] * len(SPLITS))
    positives: list[int] = field(default_factory=lambda: [0] * len(SPLITS))
    left_out_positives: int = 0
    immature: int = 0
    gap: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    first_bad: list[str] = field(default_factory=list)
    newest: int = MAX_NEWEST
    suffixes: list[str] = field(default_factory=list)
    error: str | None = None
    details: list[str] = field(default_factory=list)


def needs_key(dataset: Dataset) -> bool:
    return any(person.action == "hash" for person in dataset.personal_data)


def check(dataset: Dataset, source: Source) -> tuple[str, ...]:
    """Everything that can be said before rows are read; returns the columns that no one mentions.

    Raises:
      DataError, ConfigError: see `read_layout`, `check_names` and `personal_key`.
    """
    check_names(dataset)
    if needs_key(dataset):
        personal_key()
    ignored = dict.fromkeys(name for file in source.files for name in read_layout(dataset, file).ignored)
    return tuple(ignored)


def plan_file(dataset: Dataset, source: Source, number: int) -> Iterator[Work]:
    """The units of a file."""
    try:
        file = source.files[number]
        for unit in plan_units(dataset, file, read_layout(dataset, file)):
            yield Work((number, unit.number), unit)
    except AiqleadsError as e:
        yield Work((number, 0), None, str(e), tuple(e.details))


def summarise_unit(dataset: Dataset, work: Work, threads: int = 1) -> list[tuple[Key, BlockSummary]]:
    """First pass over a unit; what cannot be read is reported by the second."""
    columns = split.first_pass_columns(dataset)
    if not columns or work.unit is None:
        return []

    def call(piece: Callable[[], RawBlock]) -> Callable[[], BlockSummary]:
        return lambda: split.summarise(dataset, piece())

    try:
        calls = (call(piece) for piece in pieces(dataset, narrowed(work.unit, columns)))
        return [((*work.place, i), summary) for i, summary in enumerate(in_order(calls, threads))]
    except AiqleadsError:
        return []


def process_unit(dataset: Dataset, plan: SplitPlan, work: Work, folder: str, threads: int = 1) -> UnitResult:
    """Second pass over a unit: reads, judges, splits, encodes and writes its rows below `folder`.

    Each block is worked on by one of `threads` threads; Arrow, the encoder and zlib let them run in parallel.
    """
    result = UnitResult(error=work.error, details=list(work.details))
    if work.unit is not None:
        try:
            _process(dataset, plan, work.place, work.unit, Path(folder), threads, result)
        except AiqleadsError as e:
            result.error, result.details = str(e), list(e.details)
    name = "-".join(f"{n:05d}" for n in work.place)
    (Path(folder) / f"result-{name}.json").write_text(json.dumps(dataclasses.asdict(result)))
    return result


def keep_plan(plan: SplitPlan, folder: str) -> None:
    """Keeps what the report says about the plan."""
    values = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    thresholds = {name: value for name, value in values.items() if value is None or isinstance(value, int)}
    (Path(folder) / PLAN_FILE).write_text(json.dumps(thresholds))


def _read_plan(folder: Path) -> SplitPlan:
    return SplitPlan(**json.loads((folder / PLAN_FILE).read_text()))


@dataclass
class _Done:
    """An encoded block."""

    records: dict[int, Piece]
    part: np.ndarray
    label: np.ndarray
    newest: int
    read: int
    bad: tuple[BadRow, ...]
    hashes: np.ndarray | None


def _process(
    dataset: Dataset, plan: SplitPlan, place: Key, unit: Unit, folder: Path, threads: int, result: UnitResult
) -> None:
    key = personal_key() if needs_key(dataset) else None
    name = "-".join(f"{n:05d}" for n in place)

    def call(number: int, piece: Callable[[], RawBlock]) -> Callable[[], _Done]:
        return lambda: _block(dataset, plan, (*place, number), piece(), key)

    calls = (call(i, piece) for i, piece in enumerate(pieces(dataset, unit)))
    done = in_order(calls, threads)
    hashes = []
    shard = 0
    more = True
    with open(folder / f"bad-{name}.jsonl", "w", encoding="utf-8") as bad_rows:
        while more:
            suffix = f"{name}-{shard:05d}"
            result.suffixes.append(suffix)
            shard += 1
            more = False
            with ShardWriter(str(folder), suffix) as writer:
                for count, block in enumerate(done, 1):
                    writer.write(block.records)
                    quarantine.write(block.bad, bad_rows)
                    _count(result, block)
                    if block.hashes is not None:
                        hashes.append(block.hashes)
                    if count == BLOCKS_PER_UNIT:
                        more = True
                        break
    if hashes:
        np.save(folder / f"ids-{name}.npy", np.concatenate(hashes), allow_pickle=False)


def _block(dataset: Dataset, plan: SplitPlan, place: Key, raw: RawBlock, key: bytes | None) -> _Done:
    block = type_block(dataset, raw, month=plan.months.get(place), key=key)
    part = split.assign(dataset, plan, block, place)
    label = block.columns[dataset.label_feature].to_numpy()
    newest = MAX_NEWEST
    if dataset.time_feature is not None and block.rows:
        newest = int(block.columns[dataset.time_feature].to_numpy().max())
    hashes = hash64(block.identity, dataset.split.seed) if dataset.id is not None else None
    return _Done(encode_splits(block.batch(), part), part, label, newest, block.records, block.bad, hashes)


def _count(result: UnitResult, block: _Done) -> None:
    result.records += block.read
    for i in range(len(SPLITS)):
        chosen = block.part == i
        result.rows[i] += int(chosen.sum())
        result.positives[i] += int(block.label[chosen].sum())
    result.immature += int((block.part == split.IMMATURE).sum())
    result.gap += int((block.part == split.GAP).sum())
    result.newest = max(result.newest, block.newest)
    reasons = Counter(result.quarantined) + Counter(str(bad.reason) for bad in block.bad)
    result.quarantined = dict(reasons)
    result.first_bad += [str(bad) for bad in block.bad[: FIRST_BAD - len(result.first_bad)]]


def finish(
    dataset: Dataset,
    source: Source,
    ignored: tuple[str, ...],
    version: str,
    root: str,
    quarantine_path: str,
) -> IngestReport:
    """Checks the results of all units, gives the shards their final names below `root` and writes the report.

    Args:
      root: the Examples artifact; results lie in its staging folder, which goes.
      quarantine_path: where quarantined rows are kept when the data cannot be used; otherwise beside the examples.

    Raises:
      DataError: a file could not be read, there are no rows, too many are bad, the label has one class only, or
        nothing is left to train on.
    """
    staging = Path(root) / STAGING
    results = [UnitResult(**json.loads(p.read_text())) for p in sorted(staging.glob("result-*.json"))]
    for result in results:
        if result.error is not None:
            raise DataError(result.error, result.details)
    report = _report(dataset, source, _read_plan(staging), ignored, version, results, _duplicates(staging))
    merge_quarantine(staging)
    _judge(dataset, report, results, staging, Path(quarantine_path))
    shards = {name: [staging / f"{name}-{suffix}.gz" for r in results for suffix in r.suffixes] for name in SPLITS}
    publish(Path(root), {name: [p for p in paths if p.exists()] for name, paths in shards.items()}, report)
    return report


def _duplicates(staging: Path) -> int:
    parts = [np.load(p, allow_pickle=False) for p in sorted(staging.glob("ids-*.npy"))]
    if not parts:
        return 0
    hashes = np.sort(np.concatenate(parts))
    return int((hashes[1:] == hashes[:-1]).sum())


def _report(
    dataset: Dataset,
    source: Source,
    plan: SplitPlan,
    ignored: tuple[str, ...],
    version: str,
    results: list[UnitResult],
    duplicates: int,
) -> IngestReport:
    newest = max((r.newest for r in results), default=MAX_NEWEST)
    as_of = plan.as_of if plan.as_of is not None else (newest if newest != MAX_NEWEST else None)
    places = {"test": plan.test_from, "gap": plan.gap_from, "calibration": plan.calibration_from}
    places |= {"validation": plan.validation_from, "mature until": plan.mature_until}
    by_row = dataset.split.method == "order"
    thresholds: dict[str, str | int] = {
        name: value if by_row and name != "mature until" else _moment(value)
        for name, value in places.items()
        if value is not None
    }
    quarantined: Counter[str] = Counter()
    for r in results:
        quarantined.update(r.quarantined)
    return IngestReport(
        dataset=dataset.name,
        dataset_version=version,
        files=tuple(file.path for file in source.files),
        span=source.span,
        rows=sum(r.records for r in results) + quarantined.get(quarantine.Reason.QUOTING, 0),
        splits={
            name: SplitCount(sum(r.rows[i] for r in results), sum(r.positives[i] for r in results))
            for i, name in enumerate(SPLITS)
        },
        quarantined=dict(sorted(quarantined.items())),
        immature=sum(r.immature for r in results),
        gap=sum(r.gap for r in results),
        duplicate_ids=duplicates,
        ignored_columns=ignored,
        as_of=None if as_of is None else _moment(as_of),
        thresholds=thresholds,
    )


def _moment(seconds: int) -> str:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)).isoformat()


def _judge(
    dataset: Dataset, report: IngestReport, results: list[UnitResult], staging: Path, quarantine_path: Path
) -> None:
    where = f"dataset {dataset.name!r} ({', '.join(report.files[:3])}{', ...' if len(report.files) > 3 else ''})"
    if not report.rows:
        raise DataError(f"{where} has no rows, only a header")
    bad = report.quarantined_rows
    if bad > dataset.max_bad_rows * report.rows:
        kept = keep_quarantine(staging, quarantine_path)
        details = [f"{count} rows: {reason}" for reason, count in report.quarantined.items()]
        details += [line for r in results for line in r.first_bad][:FIRST_BAD]
        details.append(kept)
        raise DataError(
            f"{where}: {bad} of {report.rows} rows cannot be used ({bad / report.rows:.2%}), more than max_bad_rows "
            f"({dataset.max_bad_rows:.2%})",
            details,
        )
    if not report.kept:
        raise DataError(
            f"{where}: no row is left", [f"{report.immature} are immature, {report.gap} lie in the gap before test"]
        )
    positives = sum(count.positives for count in report.splits.values())
    if positives in (0, report.kept):
        only, label = ("positive" if positives else "negative"), dataset.label
        raise DataError(
            f"{where}: the label {label.column!r} has one class only: all {report.kept} rows are {only}",
            [f"positive: {', '.join(label.positive)}; negative: {', '.join(label.negative)}"],
        )
    train = report.splits["train"]
    if train.positives in (0, train.rows):
        raise DataError(
            f"{where}: the training split has {train.rows} rows, {train.positives} of them positive; it needs both "
            "classes",
            [f"{name}: {c.rows} rows, {c.positives} positive" for name, c in report.splits.items()]
            + [f"thresholds: {report.thresholds}"],
        )
