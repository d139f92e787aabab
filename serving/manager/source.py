"""What lies in a base path: version directories, and whether a directory's content has changed.

Reference: tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path

_LOG = logging.getLogger("serving.manager")
_NUMBER = re.compile(r"[0-9]+")
_LARGEST = 2**63 - 1


def version_number(name: str) -> int | None:
    """The version that a directory name stands for, 0 to 2^63 - 1; None if it is not an integer. `007` is 7."""
    if not name.isascii() or not _NUMBER.fullmatch(name):
        return None
    number = int(name)
    return number if number <= _LARGEST else None


def versions(base_path: Path) -> dict[int, Path]:
    """The version directories in a base path; anything else in it is ignored.

    Raises:
      OSError: the base path cannot be listed.
    """
    found: dict[int, Path] = {}
    with os.scandir(base_path) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            number = version_number(entry.name)
            if number is not None and entry.is_dir():
                found[number] = base_path / entry.name
    return found


def fingerprint(path: Path) -> str:
    """Names, sizes and times of all files in a directory, hashed: differs once anything was written, moved or cut."""
    lines = []
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            try:
                stat = file.stat()
            except OSError:
                continue
            lines.append(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


class Source:
    """Lists base paths, and tells the log about a missing one once, not at every poll."""

    def __init__(self) -> None:
        self._complaints: dict[str, str] = {}
        self._absent: dict[str, tuple[int, ...]] = {}

    def versions(self, name: str, base_path: Path) -> dict[int, Path] | None:
        """The versions of a model; empty if there are none (yet), None if the file system would not say."""
        try:
            found = versions(base_path)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._complain(name, f"Could not find base path {base_path} for servable {name}: {error.strerror}")
            return {}
        except OSError as error:
            self._complain(name, f"Could not list base path {base_path} for servable {name}: {error.strerror}")
            return None
        if found:
            self._complaints.pop(name, None)
        else:
            self._complain(
                name,
                f"No versions of servable {name} found under base path {base_path}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            )
        return found

    def tell_absent(self, name: str, absent: tuple[int, ...]) -> None:
        """Logs versions that a specific policy asks for and that do not exist."""
        if absent and self._absent.get(name) != absent:
            told = ", ".join(map(str, absent))
            _LOG.warning("Not found in the file system, but requested by the policy of %s: version %s", name, told)
        self._absent[name] = absent

    def _complain(self, name: str, message: str) -> None:
        if self._complaints.get(name) != message:
            self._complaints[name] = message
            _LOG.warning("%s Waiting for one.", message if message.endswith("?") else message + ".")
