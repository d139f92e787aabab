"""What commands that ask a running server share: whom to ask, where input comes from, where output goes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from modules.errors import ConfigError, DataError
from serving.client import Client, Tls

FORMATS = ("csv", "jsonl", "table")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whom a command asks, as `serving.client.Client`, and where it writes.

    format: of the output; a table on a terminal and CSV elsewhere when None. skip_bad: leave bad rows out. explain: add
    the strongest reasons.
    """

    server: str = "127.0.0.1:8500"
    version: int | None = None
    label: str | None = None
    format: str | None = None
    output: Path | None = None
    skip_bad: bool = False
    timeout: float = 5.0
    batch: int = 512
    token_file: Path | None = None
    tls: bool = False
    ca: Path | None = None
    explain: bool = False


def connect(asked: Asked, model: str) -> Client:
    """
    Raises:
      ConfigError: the token's file cannot be read.
      ClientError: settings that contradict each other.
    """
    return Client(
        asked.server,
        model=model,
        version=asked.version,
        label=asked.label,
        timeout=asked.timeout,
        token=_token(asked.token_file),
        tls=Tls(ca=asked.ca) if asked.ca else asked.tls,
        max_batch=asked.batch,
    )


def chosen_format(asked: Asked) -> str:
    """csv, jsonl or table: as asked for, or else by the output file's name, a table on a terminal and CSV elsewhere.

    Raises:
      ConfigError: no such format.
    """
    if asked.format is not None:
        if asked.format not in FORMATS:
            raise ConfigError(f"--format: expected csv, jsonl or table; received {asked.format!r}")
        return asked.format
    if asked.output is not None:
        return "jsonl" if asked.output.suffix in (".jsonl", ".ndjson") else "csv"
    return "table" if sys.stdout.isatty() else "csv"


@contextlib.contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """A file, or standard input for "-".

    Raises:
      DataError: it cannot be opened.
    """
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = open(file, "rb")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    with stream:
        yield stream


@contextlib.contextmanager
def written(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears once everything is in it.

    Raises:
      ConfigError: the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "w", encoding="utf-8", newline="") as out:
            yield out
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"--output {path}: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)


def shown(file: str) -> str:
    """Name of an input, for people."""
    return "standard input" if file == "-" else file


def note(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr)


def count(number: int, thing: str) -> str:
    """ "1 lead", "2,000 leads"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def by_versions(versions: Sequence[int]) -> str:
    """ "version 3 and version 4"."""
    return " and ".join(f"version {v}" for v in versions)


def digits(number: float) -> float:
    """Seven digits: all that a 32-bit float holds, without the noise behind it."""
    return float(f"{number:.7g}")


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"--token-file {path}: {error.strerror or error}") from None
