"""The staging folder inside an Examples artifact: what units of work wrote, until all of them are done."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from modules.ingest.report import QUARANTINE_FILE
from modules.ingest.tfrecord import GzipTFRecordFile
from modules.report_file import ReportFile

STAGING = ".staging"


def merge_quarantine(staging: Path) -> None:
    """Puts the quarantined rows of all units (`bad-*.jsonl`) into one file, in order of the units."""
    with open(staging / QUARANTINE_FILE, "wb") as merged:
        for part in sorted(staging.glob("bad-*.jsonl")):
            with open(part, "rb") as rows:
                shutil.copyfileobj(rows, merged)


def keep_quarantine(staging: Path, path: Path) -> str:
    """Moves the quarantined rows to where they outlive the artifact; returns the line that tells people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(staging / QUARANTINE_FILE, path)
    return f"all of them: {path}"


def publish(root: Path, shards: Mapping[str, Sequence[Path]], report: ReportFile) -> None:
    """Gives everything its final name below the artifact's folder and removes the staging folder.

    Args:
      root: the Examples artifact.
      shards: finished files of each split, in the order of their numbers; a split may have none.
      report: is written beside the splits.
    """
    staging = root / STAGING
    for name, found in shards.items():
        files = list(found)
        if not files:
            # Readers expect at least one file in every split.
            files = [staging / f"{name}-none.gz"]
            GzipTFRecordFile(str(files[0])).close()
        folder = root / f"Split-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        for i, shard in enumerate(files):
            shard.replace(folder / f"data_tfrecord-{i:05d}-of-{len(files):05d}.gz")
    (staging / QUARANTINE_FILE).replace(root / QUARANTINE_FILE)
    report.write(root)
    shutil.rmtree(staging)
