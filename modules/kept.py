"""Folders in which the state of a killed run waits to be continued, each named by a hash of what decides the state."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEPT_DAYS = 30
"""A killed run that nobody continued for so long is forgotten."""

_FOLDER = re.compile(r"[0-9a-f]{16}")


def folder_of(parent: str | Path, deciding: Mapping[str, Any]) -> Path:
    """The folder below `parent` for everything that decides the state, as JSON knows it."""
    return Path(parent) / hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def prune(keep: Path, days: float = KEPT_DAYS) -> None:
    """Removes folders of killed runs beside `keep` in which nothing was written for so many days."""
    if not keep.parent.is_dir():
        return
    limit = time.time() - days * 86_400
    for folder in keep.parent.iterdir():
        if folder == keep or folder.is_symlink() or not folder.is_dir() or not _FOLDER.fullmatch(folder.name):
            continue
        try:
            newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        except FileNotFoundError:  # its own run is at work there
            continue
        if newest < limit:
            shutil.rmtree(folder, ignore_errors=True)
