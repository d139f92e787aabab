"""One JSON line per request, written by a thread of its own so that no request waits for a disk.

A line holds no header, no token and no body.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from serving.errors import Code, ServingError

logger = logging.getLogger("serving")

# The writer gathers lines for so long: requests do not wake a thread each.
FLUSH_SECONDS = 0.05
# A disk that does not keep up must not fill the memory.
MAX_WAITING = 100_000
_SLICE = 256


class AccessLog:
    """Writes requests to a file, which is appended to, or to standard error.

    Args:
      target: path of the file, or "-" for standard error.

    Raises:
      ServingError: the file cannot be opened.
    """

    def __init__(self, target: str | Path) -> None:
        self._path = None if str(target) == "-" else Path(target)
        self._file = self._open()
        self._lines: collections.deque[tuple] = collections.deque()
        self._work = threading.Event()
        self._asleep = True
        self._closing = False
        self._dropped = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="serving-access-log", daemon=True)
        self._thread.start()

    def write(
        self,
        transport: str,
        peer: str,
        api: str,
        model: str,
        version: int | None,
        code: Code,
        seconds: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Notes a request; returns at once.

        Args:
          transport: grpc or rest.
          peer: address of the caller.
          api: what was called, e.g. Predict, or method and path.
          model: name, empty if the request names none.
          version: that answered, None if none did.
          code: canonical status.
          seconds: from the request's arrival to its answer.
          bytes_in: size of the request. bytes_out: of the answer.
        """
        if len(self._lines) >= MAX_WAITING:
            self._dropped += 1
            return
        self._lines.append((time.time(), transport, peer, api, model, version, code, seconds, bytes_in, bytes_out))
        if self._asleep:
            self._asleep = False
            self._work.set()

    def reopen(self) -> None:
        """Opens the file anew: after a rotation has moved it away.

        Raises:
          ServingError: the file cannot be opened; the old one stays in use.
        """
        with self._lock:
            fresh = self._open()
            self._release()
            self._file = fresh

    def close(self) -> None:
        """Writes what waits and closes the file. May be called twice."""
        self._closing = True
        self._work.set()
        self._thread.join()
        with self._lock:
            self._release()

    def _open(self) -> TextIO:
        if self._path is None:
            return sys.stderr
        try:
            return self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise ServingError(Code.INVALID_ARGUMENT, f"access log {self._path}: {error.strerror}") from error

    def _release(self) -> None:
        if self._path is not None:
            self._file.close()

    def _write_all(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            if not self._closing:
                time.sleep(FLUSH_SECONDS)
            # Before the queue is emptied: whoever adds from now on wakes this thread again.
            self._asleep = True
            closing = self._closing
            while self._lines:
                self._write_some()
            if closing:
                return

    def _write_some(self) -> None:
        """Up to a slice of lines; small, so that the interpreter's lock is given up between slices."""
        entries: list[tuple] = []
        with contextlib.suppress(IndexError):
            while len(entries) < _SLICE:
                entries.append(self._lines.popleft())
        text = "".join(_line(*entry) for entry in entries)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            logger.warning("the access log fell behind: %d requests are missing in it", dropped)
        try:
            with self._lock:
                self._file.write(text)
                self._file.flush()
        except (OSError, ValueError) as error:
            logger.warning("the access log cannot be written: %s", error)


def _line(
    moment: float,
    transport: str,
    peer: str,
    api: str,
    model: str,
    version: int | None,
    code: Code,
    seconds: float,
    bytes_in: int,
    bytes_out: int,
) -> str:
    stamp = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="milliseconds")
    entry = {
        "time": stamp.replace("+00:00", "Z"),
        "transport": transport,
        "peer": peer,
        "api": api,
        "model": model,
        "version": version,
        "code": code.name,
        "ms": round(seconds * 1000, 3),
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
    }
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
