"""Optuna's journal in a file: one line of JSON per operation, no database, no pickle.

A process that is killed may leave half a line, which Optuna would join with the next one and then refuse to read; and
its own lock file, which others would wait for. Here the half line is cut off, and the lock is one that the operating
system releases with the process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

FILE = "trials.jsonl"


class _Lock(BaseJournalFileLock):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        os.close(self._descriptor)


def open_journal(folder: Path) -> JournalStorage:
    """The journal in a folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    lock = _Lock(folder / f".{FILE}.lock")
    lock.acquire()
    try:
        _cut_half_line(path)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _cut_half_line(path: Path) -> None:
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
