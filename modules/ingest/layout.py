"""Which columns of a file a dataset reads, and what each becomes."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass

from modules.dataset import Dataset
from modules.errors import ConfigError, DataError
from modules.features import Kind
from modules.ingest import scan
from modules.ingest.sources import SourceFile, chunks, is_gzip


@dataclass(frozen=True)
class Layout:
    """How one file is read.

    Attributes:
      names: all columns of the file, in its order.
      columns: the ones that are read.
      numbers: the columns that only feed numeric features, so that the CSV reader may parse them as numbers.
      ignored: columns that the dataset does not mention.
      skip: CSV: bytes before the first record (byte order mark, header).
      line: CSV: number of the line of the first record.
      compressed: CSV: gzip.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: frozenset[str]
    ignored: tuple[str, ...]
    skip: int = 0
    line: int = 1
    compressed: bool = False


def dialect(dataset: Dataset) -> scan.Dialect:
    for what, character in (("delimiter", dataset.csv.delimiter), ("quote", dataset.csv.quote)):
        if not character.isascii() or character in "\r\n":
            raise ConfigError(f"dataset {dataset.name!r}: csv.{what} must be one ASCII character, is {character!r}")
    if dataset.csv.delimiter == dataset.csv.quote:
        raise ConfigError(f"dataset {dataset.name!r}: csv.delimiter and csv.quote are both {dataset.csv.quote!r}")
    return scan.Dialect(dataset.csv.delimiter, dataset.csv.quote)


def read_layout(
    dataset: Dataset, file: SourceFile, with_label: bool = True, wanted: dict[str, str] | None = None
) -> Layout:
    """Reads the header of a file and finds the dataset's columns in it.

    Args:
      dataset: names the columns.
      file: CSV, gzip CSV or Parquet.
      with_label: whether label and split column are needed; leads to be scored have none.
      wanted: source column -> what it is for, when that is not what `wanted_columns` says.

    Raises:
      DataError: the file is empty, its header cannot be read, names a column twice or lacks a column.
    """
    names, skip, line = _read_header(dataset, file)
    compressed = dataset.format == "csv" and is_gzip(file.path)
    return make_layout(dataset, names, file.path, with_label, skip, line, compressed, wanted)


def column_names(dataset: Dataset, file: SourceFile) -> tuple[str, ...]:
    """All columns of a file, in its order; DataError if it has none."""
    return _read_header(dataset, file)[0]


def _read_header(dataset: Dataset, file: SourceFile) -> tuple[tuple[str, ...], int, int]:
    """Names of the columns, and for CSV the offset and line number of the first record."""
    if dataset.format == "parquet":
        from modules.ingest import parquet

        return parquet.column_names(file.path), 0, 1
    quoting = dialect(dataset)
    start, text, parsed = b"", b"", None
    for chunk in chunks(file.path):
        start += chunk
        text = start.removeprefix(b"\xef\xbb\xbf")
        parsed = scan.header(text, quoting, False)
        if parsed or not dataset.csv.header or len(start) > scan.MAX_RECORD:
            break
    if not start:
        raise DataError(f"{file.path} is empty")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{file.path} is encoded as UTF-16; expected UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)")
    names, skip, line = dataset.csv.columns, len(start) - len(text), 1
    if dataset.csv.header:
        parsed = parsed or scan.header(text, quoting, True)
        if parsed is None:
            raise DataError(f"{file.path}: the quoting of the first line, which names the columns, is broken")
        fields, end = parsed
        try:
            names = tuple(field.decode() for field in fields)
        except UnicodeDecodeError as e:
            raise DataError(f"{file.path}: the first line, which names the columns, is not UTF-8") from e
        names = tuple(name.strip() for name in names) if dataset.csv.trim else names
        skip, line = skip + end, 1 + scan.count_lines(text, 0, end)
    elif not names:
        raise ConfigError(f"dataset {dataset.name!r}: csv.header is false, so csv.columns must name the columns")
    return names, skip, line


def make_layout(
    dataset: Dataset,
    names: tuple[str, ...],
    where: str,
    with_label: bool = True,
    skip: int = 0,
    line: int = 1,
    compressed: bool = False,
    wanted: dict[str, str] | None = None,
) -> Layout:
    """Finds the dataset's columns among `names`; errors name `where` and the nearest column there is."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    wanted = wanted_columns(dataset, with_label) if wanted is None else wanted
    known = {*wanted, *(p.column for p in dataset.personal_data), *(c.column for c in dataset.leave_out)}
    known |= set(wanted_columns(dataset)) | ({dataset.split.column} if dataset.split.column else set())
    left_out = {c.column for c in dataset.leave_out}
    if twice := [name for name in twice if name in known - left_out]:
        raise DataError(f"{where}: column {twice[0]!r} is there twice; which of them is meant?")
    if not with_label:
        # Only what a model reads is asked for; a new lead may lack the rest.
        read = {dataset.id, *(f.source for f in dataset.table)}
        wanted = {column: what for column, what in wanted.items() if column in read or column in names}
    missing = [(column, what) for column, what in wanted.items() if column not in names]
    if missing:
        details = []
        for column, what in missing[:20]:
            near = difflib.get_close_matches(column, names, 1, 0.5)
            details.append(f"{what} {column!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if len(names) == 1 and len(wanted) > 1:
            details.append(f"there is a single column, {names[0][:80]!r}: is csv.delimiter {dataset.csv.delimiter!r}?")
        elif len(names) <= 60:
            details.append(f"columns there are: {', '.join(names)}")
        raise DataError(f"{where}: {missing[0][1]} {missing[0][0]!r} is missing" + _more(len(missing) - 1), details)
    texts = {column for column, what in wanted.items() if what != "feature"}
    texts |= {f.source for f in dataset.table if f.kind is not Kind.NUMERIC}
    return Layout(
        names=names,
        columns=tuple(wanted),
        numbers=frozenset(wanted) - texts,
        ignored=tuple(name for name in names if name not in known),
        skip=skip,
        line=line,
        compressed=compressed,
    )


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""


def wanted_columns(dataset: Dataset, with_label: bool = True) -> dict[str, str]:
    """Source column -> what it is for, in the order of the feature table."""
    wanted: dict[str, str] = {}
    for other, what in (
        (dataset.label.column if with_label else None, "label column"),
        (dataset.id, "id column"),
        (dataset.time.column if dataset.time else None, "time column"),
        (dataset.time.month_order.column if dataset.time and dataset.time.month_order else None, "month column"),
        (dataset.split.column if with_label and dataset.split.method == "column" else None, "split column"),
    ):
        if other is not None:
            wanted.setdefault(other, what)
    for person in dataset.personal_data:
        if person.action == "hash":
            wanted.setdefault(person.column, "personal column to be hashed")
    for feature in dataset.table:
        wanted.setdefault(feature.source, "feature")
    return wanted


def check_names(dataset: Dataset) -> None:
    """ConfigError if two things would carry the same name in tf.Examples, or personal data would stay in the clear."""
    names = [*dataset.table.names, dataset.id_feature, dataset.label_feature]
    names += [dataset.time_feature] if dataset.time_feature else []
    names += [p.name or p.column for p in dataset.personal_data if p.action == "hash" and p.column != dataset.id]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(
            f"dataset {dataset.name!r}: {twice[0]!r} names two things in tf.Examples",
            ["features, id, time, label and hashed columns need different names; a feature's `name` may differ from "
             "its `column`"],
        )  # fmt: skip
    personal = {p.column: p.action for p in dataset.personal_data}
    roles = {"label": dataset.label.column, "time": dataset.time.column if dataset.time else None}
    roles |= {"split": dataset.split.column}
    for role, column in roles.items():
        if column in personal:
            raise ConfigError(f"dataset {dataset.name!r}: the {role} column {column!r} is listed as personal data")
    if dataset.id is not None and personal.get(dataset.id) == "drop":
        raise ConfigError(
            f"dataset {dataset.name!r}: the id {dataset.id!r} is personal data to be dropped",
            ["use `action: hash`, another id, or none: row numbers stand in"],
        )
