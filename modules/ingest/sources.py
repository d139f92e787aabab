"""Which files a dataset names: patterns, spans, names for row ids, fingerprints.

Patterns follow TFX's conventions: `*`, `?` and `[...]`; `{SPAN}` or `{SPAN:width}` is a number, `{YYYY}`, `{MM}` and
`{DD}` together a date (its span is the number of days since 1970-01-01); `{VERSION}` or `{VERSION:width}` is a number
within a span, of which the largest counts.
"""

from __future__ import annotations

import datetime as dt
import difflib
import glob
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from modules.errors import ConfigError, DataError

_PLACEHOLDER = re.compile(r"\{(SPAN|VERSION)(?::(\d+))?\}|\{(YYYY|MM|DD)\}")
_WIDTH = {"YYYY": 4, "MM": 2, "DD": 2}
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """A file of the table.

    Attributes:
      path: where it lies.
      name: the part of the path that row ids carry: the file name, preceded by as many folders as tell files apart
        or as the pattern leaves open, so that it does not depend on where the data is kept.
    """

    path: str
    name: str


@dataclass(frozen=True)
class Source:
    """The files of a run, in order, and the newest span they belong to (None without spans)."""

    files: tuple[SourceFile, ...]
    span: int | None = None


class HasFiles(Protocol):
    """Anything that names files by paths or patterns."""

    @property
    def name(self) -> str: ...

    @property
    def files(self) -> tuple[str, ...]: ...


def has_spans(patterns: tuple[str, ...]) -> bool:
    """Whether any pattern holds `{SPAN}` or a date."""
    return any(_PLACEHOLDER.search(p) for p in patterns)


def resolve(dataset: HasFiles, span: int | None = None, last_spans: int = 1) -> Source:
    """Finds the files of a dataset.

    Args:
      dataset: its `files` are paths or patterns; relative ones are relative to the current directory.
      span: the newest span to read; the newest there is when absent.
      last_spans: how many spans, counted back from `span`, are read together.

    Raises:
      DataError: a path or pattern matches nothing, or the span does not exist.
      ConfigError: `span` without a `{SPAN}` in any pattern, or a malformed pattern.
    """
    if last_spans < 1:
        raise ConfigError(f"last_spans must be 1 or more, received {last_spans}")
    spanned = [p for p in dataset.files if _PLACEHOLDER.search(p)]
    if not spanned and (span is not None or last_spans > 1):
        raise ConfigError(
            f"dataset {dataset.name!r}: a span was asked for, but no path in `files` holds {{SPAN}}",
            [f"files: {', '.join(dataset.files)}"],
        )
    found = {p: _match_spans(p) for p in spanned}
    available = sorted(set().union(*(set(m) for m in found.values()))) if found else []
    chosen: list[int] = []
    if spanned:
        if not available:
            raise DataError(f"dataset {dataset.name!r}: no file matches {spanned[0]!r} (from {Path.cwd()})")
        if span is not None and span not in available:
            raise DataError(
                f"dataset {dataset.name!r}: there is no span {span}",
                [f"spans there are: {', '.join(map(str, available[-20:]))}"],
            )
        chosen = [s for s in available if span is None or s <= span][-last_spans:]
    paths: list[tuple[str, int]] = []
    for pattern in dataset.files:
        if pattern in found:
            for number in chosen:
                if number not in found[pattern]:
                    raise DataError(f"dataset {dataset.name!r}: {pattern!r} has no file for span {number}")
                paths += [(p, _open_part(pattern)) for p in found[pattern][number]]
        else:
            paths += [(p, _open_part(pattern)) for p in _match(dataset, pattern)]
    unique: dict[Path, tuple[str, int]] = {}
    for path, keep in paths:
        unique.setdefault(Path(path).resolve(), (path, keep))
    return Source(_name(list(unique.values())), chosen[-1] if chosen else None)


def _match(dataset: HasFiles, pattern: str) -> list[str]:
    if Path(pattern).is_file():
        return [pattern]
    if Path(pattern).is_dir():
        raise DataError(
            f"dataset {dataset.name!r}: {pattern!r} is a folder; name its files, e.g. {pattern.rstrip('/')}/*.csv"
        )
    paths = sorted(p for p in glob.glob(pattern, recursive=True) if Path(p).is_file())  # noqa: PTH207
    if not paths:
        folder = Path(pattern).parent
        near = difflib.get_close_matches(
            Path(pattern).name, [p.name for p in folder.iterdir()] if folder.is_dir() else [], 3
        )
        what = "no file matches" if glob.has_magic(pattern) else "there is no file"
        raise DataError(
            f"dataset {dataset.name!r}: {what} {pattern!r} (from {Path.cwd()})",
            [f"in {folder} there is: {', '.join(near)}"] if near else [],
        )
    return paths


def _match_spans(pattern: str) -> dict[int, list[str]]:
    """Span number -> its files, of the newest version."""
    kinds = [m.group(1) or m.group(3) for m in _PLACEHOLDER.finditer(pattern)]
    dated = {"YYYY", "MM", "DD"} & set(kinds)
    if len(kinds) != len(set(kinds)) or (dated and (len(dated) < 3 or "SPAN" in kinds)) or kinds == ["VERSION"]:
        raise ConfigError(
            f"{pattern!r}: expected {{SPAN}} once, or {{YYYY}}, {{MM}} and {{DD}} once each, at most one {{VERSION}}"
        )
    regex, at = "", 0
    for m in _PLACEHOLDER.finditer(pattern):
        kind = m.group(1) or m.group(3)
        width = m.group(2) or _WIDTH.get(kind)
        regex += _glob_regex(pattern[at : m.start()]) + rf"(?P<{kind}>\d{{{width}}})" * bool(width)
        regex += "" if width else rf"(?P<{kind}>\d+)"
        at = m.end()
    compiled = re.compile(regex + _glob_regex(pattern[at:]))
    versions: dict[int, dict[int, list[str]]] = {}
    for path in sorted(glob.glob(_PLACEHOLDER.sub("*", pattern), recursive=True)):  # noqa: PTH207
        match = compiled.fullmatch(path)
        if match is None or not Path(path).is_file():
            continue
        parts = match.groupdict()
        if dated:
            try:
                day = dt.date(int(parts["YYYY"]), int(parts["MM"]), int(parts["DD"]))
            except ValueError:
                continue
            number = (day - dt.date(1970, 1, 1)).days
        else:
            number = int(parts["SPAN"])
        versions.setdefault(number, {}).setdefault(int(parts.get("VERSION") or 0), []).append(path)
    return {number: files[max(files)] for number, files in versions.items()}


def _glob_regex(text: str) -> str:
    out, i = "", 0
    while i < len(text):
        c = text[i]
        close = text.find("]", i + 2) if c == "[" else -1
        if text.startswith("**", i):
            out, i = out + ".*", i + 2
        elif close > 0:
            body = text[i + 1 : close].replace("\\", "\\\\")
            out, i = out + "[" + ("^" + body[1:] if body[0] == "!" else body) + "]", close + 1
        else:
            out, i = out + {"*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c)), i + 1
    return out


def _open_part(pattern: str) -> int:
    """How many trailing parts of a path the pattern leaves open, at least the file name."""
    parts = Path(pattern).parts
    for i, part in enumerate(parts):
        if _PLACEHOLDER.search(part) or glob.has_magic(part):
            return len(parts) - i
    return 1


def _name(paths: list[tuple[str, int]]) -> tuple[SourceFile, ...]:
    depth = [keep for _, keep in paths]
    while True:
        names = ["/".join(Path(p).parts[-keep:]) for (p, _), keep in zip(paths, depth, strict=True)]
        twice = {n for n in names if names.count(n) > 1} if len(set(names)) < len(names) else set()
        longer = [min(d + 1, len(Path(p).parts)) if n in twice else d
                  for d, n, (p, _) in zip(depth, names, paths, strict=True)]  # fmt: skip
        if longer == depth:
            return tuple(SourceFile(p, n) for (p, _), n in zip(paths, names, strict=True))
        depth = longer


def fingerprint(source: Source) -> str:
    """16 hex digits over names, sizes and contents of the files, in order; where they lie does not matter."""
    total = hashlib.sha256()
    for file in source.files:
        content = hashlib.sha256()
        with open_source(file.path) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                content.update(chunk)
        total.update(f"{file.name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def open_source(path: str) -> IO[bytes]:
    """Opens a file for reading bytes; DataError if that is not possible."""
    try:
        return open(path, "rb")
    except OSError as e:
        raise DataError(f"cannot read {path}: {e.strerror}") from e


def is_gzip(path: str) -> bool:
    with open_source(path) as stream:
        return stream.read(2) == b"\x1f\x8b"


def chunks(path: str, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a file, decompressed if it is gzip, in pieces of at most `size` bytes.

    Raises:
      DataError: the gzip data is damaged or ends early.
    """
    if not is_gzip(path):
        with open_source(path) as stream:
            while chunk := stream.read(size):
                yield chunk
        return
    with open_source(path) as stream:
        inflate = zlib.decompressobj(31)
        try:
            while chunk := stream.read(CHUNK_BYTES // 4):
                while chunk:
                    if inflate.eof:
                        # Members may follow one another, and some tools pad the end with zeros.
                        chunk = chunk.lstrip(b"\0")
                        if not chunk:
                            break
                        inflate = zlib.decompressobj(31)
                    yield inflate.decompress(chunk, size)
                    while inflate.unconsumed_tail:
                        yield inflate.decompress(inflate.unconsumed_tail, size)
                    chunk = inflate.unused_data
        except zlib.error as e:
            raise DataError(f"{path}: damaged gzip data: {e}") from e
        if not inflate.eof:
            raise DataError(f"{path}: the gzip file ends early; it is incomplete or still being written")
