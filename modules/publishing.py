"""Publishes a model directory as a new version: a reader sees the whole version or none.

TensorFlow Serving polls `<base>/<integer>/` and loads the largest one. A version is copied beside the others under a
hidden name that is no integer, written through to disk, and then renamed, which POSIX makes atomic within a file
system. What killed or failed publishers leave behind is hidden, and removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modules.errors import AiqleadsError

_PARTIAL = ".publishing-"
_LOCK = ".publishing.lock"


class PublishError(AiqleadsError):
    """A version could not be written; nothing was published."""


@dataclass(frozen=True)
class Published:
    """A version on disk. new: False when the newest version already was the same, byte for byte."""

    path: Path
    version: int
    new: bool


def versions(base: Path | str) -> list[int]:
    """Published versions in ascending order: directories whose name is an integer."""
    base = Path(base)
    if not base.is_dir():
        return []
    return sorted(int(p.name) for p in base.iterdir() if p.name.isdecimal() and p.is_dir())


def publish(source: Path | str, base: Path | str) -> Published:
    """Publishes a copy of a directory as the newest version.

    The version is the time in seconds since 1970, or one more than the largest existing one if that is not smaller.
    If the newest version is the same byte for byte (a publisher was killed after its rename, before it could say so),
    that one stands.

    Args:
      source: model directory, e.g. a SavedModel.
      base: directory of the servable; created if need be.

    Raises:
      PublishError: the source is no directory, or writing failed; what was written is removed again.
    """
    source, base = Path(source), Path(base)
    if not source.is_dir():
        raise PublishError(f"{source}: expected a model directory to publish, there is none")
    partial: Path | None = None
    try:
        base.mkdir(parents=True, exist_ok=True)
        with _lock(base):
            remove_leftovers(base)
            existing = versions(base)
            if existing and _same_tree(source, base / str(existing[-1])):
                return Published(base / str(existing[-1]), existing[-1], new=False)
            version = max([int(time.time()), *(v + 1 for v in existing[-1:])])
            partial = base / f"{_PARTIAL}{version}-{os.getpid()}"
            shutil.copytree(source, partial, copy_function=_copy_file)
            _flush(partial)
            partial.rename(base / str(version))
            _flush_directory(base)
            return Published(base / str(version), version, new=True)
    except (OSError, shutil.Error) as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        reason = _reason(error)
        raise PublishError(
            f"cannot publish to {base}: {reason}; nothing was published, running again publishes this version"
        ) from error


def remove_leftovers(base: Path | str) -> list[Path]:
    """Removes what killed publishers left; returns the removed paths. Call it while nobody publishes to `base`."""
    found = sorted(p for p in Path(base).glob(f"{_PARTIAL}*") if p.is_dir())
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found


@contextlib.contextmanager
def _lock(base: Path) -> Iterator[None]:
    """One publisher at a time; the kernel lets go when a process dies."""
    with open(base / _LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy_file(source: str, target: str) -> str:
    return shutil.copy2(source, target)


def _flush(folder: Path) -> None:
    """Writes a tree through to disk, so that a rename that survives a power cut names whole files."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(Path(parent) / name, "rb") as file:
                os.fsync(file.fileno())
        _flush_directory(Path(parent))


def _flush_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(folder: Path) -> dict[str, Path]:
    return {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}


def _same_tree(a: Path, b: Path) -> bool:
    left, right = _files(a), _files(b)
    return left.keys() == right.keys() and all(filecmp.cmp(left[n], right[n], shallow=False) for n in left)


def _reason(error: OSError | shutil.Error) -> str:
    # copytree collects the errors of single files as (source, destination, text).
    text = str(error.args[0][0][2]) if isinstance(error, shutil.Error) and error.args[0] else str(error)
    full = os.strerror(errno.ENOSPC) in text or getattr(error, "errno", None) == errno.ENOSPC
    return f"{text}; free some space" if full else text
