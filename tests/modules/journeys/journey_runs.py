"""Small datasets of journeys, and the ingest of them without Beam."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

from tensorflow.core.example import example_pb2

from modules.dataset import SPLITS
from modules.ingest.staging import STAGING
from modules.journeys import finish, splits, tables, work
from modules.journeys.dataset import JourneyDataset
from modules.journeys.report import JourneyReport

EVENT_FEATURES: tuple[dict[str, Any], ...] = (
    {"name": "reply", "kind": "categorical"},
    {"name": "minutes", "kind": "numeric", "missing_values": ["-1"]},
)
LEAD_FEATURES: tuple[dict[str, Any], ...] = (
    {"name": "budget", "kind": "numeric"},
    {"name": "source", "kind": "categorical"},
)


def journey_dataset(events: str | Path | list[str], **changes: Any) -> JourneyDataset:
    """lead, time, action, reply (categorical), minutes (numeric); `event_table` changes the table of events."""
    files = [str(f) for f in events] if isinstance(events, list) else [str(events)]
    table = {"files": files, "lead": "lead", "time": "time", "action": "action", "features": EVENT_FEATURES}
    table |= changes.pop("event_table", {})
    return JourneyDataset.model_validate({"name": "journeys", "events": table, **changes})


def write_table(path: Path, rows: list[dict[str, Any]], columns: list[str] | None = None) -> Path:
    """Writes dicts as CSV; None is the empty field."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.getvalue().encode())
    return path


def ingest(
    dataset: JourneyDataset, root: Path, partitions: int = 1, validation_split: float = 0.25, threads: int = 1
) -> JourneyReport:
    """What the executor does, in one process."""
    found = tables.resolve(dataset)
    ignored = tables.check(dataset, found)
    staging = root / STAGING
    staging.mkdir(parents=True)
    folder = str(staging)
    units = [unit for number in range(len(found.files)) for unit in work.plan_file(found, number)]
    results = [work.spill_unit(dataset, found, u, partitions, validation_split, folder, threads) for u in units]
    if finish.judge(dataset, found, results) is None:
        spilled = work.Spilled.of(results)
        for partition in range(partitions):
            work.find_positions(folder, spilled, partition)
        begin, first = work.read_positions(folder)
        plan = splits.make_plan(dataset, validation_split, finish.newest_event(results), begin, first)
        splits.keep_plan(plan, folder)
        for partition in range(partitions):
            work.write_partition(dataset, found, plan, spilled, partition, folder, threads)
    return finish.finish(dataset, found, ignored, "version", str(root), str(root / "bad" / "rows.jsonl"))


def records(root: Path, split: str) -> list[bytes]:
    """Serialized tf.Examples of a split, in the order of the files."""
    found = []
    for path in sorted((Path(root) / f"Split-{split}").iterdir()):
        data, at = gzip.decompress(path.read_bytes()), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            found.append(data[at + 12 : at + 12 + size])
            at += size + 16
    return found


def decoded(record: bytes) -> dict[str, Any]:
    """Feature -> list of its values; features without a value list are left out."""
    features = example_pb2.Example.FromString(record).features.feature
    return {k: list(getattr(v, v.WhichOneof("kind")).value) for k, v in features.items() if v.WhichOneof("kind")}


def all_examples(root: Path) -> dict[tuple[bytes, int], tuple[str, dict[str, Any]]]:
    """(lead, history_length) -> split, example."""
    found: dict[tuple[bytes, int], tuple[str, dict[str, Any]]] = {}
    for split in SPLITS:
        for record in records(root, split):
            example = decoded(record)
            key = (example["lead"][0], example["history_length"][0])
            assert key not in found, f"{key} is there twice"
            found[key] = (split, example)
    return found


def quarantined(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
