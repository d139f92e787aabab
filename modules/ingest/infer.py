"""A first dataset file for a table nobody has described yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from modules.dataset import Dataset
from modules.errors import DataError
from modules.ingest import convert, scan
from modules.ingest.check import EMAIL, PERSONAL_NAME, PERSONAL_SHARE, PHONE
from modules.ingest.layout import column_names, read_layout
from modules.ingest.sources import SourceFile, chunks
from modules.ingest.units import pieces, plan_units

SAMPLE_BYTES = 1 << 20
_LABEL_NAME = re.compile(r"^(label|target|y|class|outcome|is_|has_)|convert|won|sold|success", re.IGNORECASE)
_POSITIVE = ("1", "true", "True", "yes", "Yes", "y", "Y", "won", "converted", "t")
MAX_CATEGORY_LENGTH = 40


def propose_dataset(path: str) -> str:
    """A YAML dataset file for one CSV, gzip CSV or Parquet table, to be corrected by a person.

    Label, id and time are guessed from names and values of the first rows; a column is numeric if it holds nothing
    but numbers, text if its values are long and mostly different.

    Raises:
      DataError: the file cannot be read, or no column has two values and could be the label.
    """
    parquet = Path(path).suffix in (".parquet", ".pq")
    delimiter = "," if parquet else _delimiter(path)
    file = SourceFile(path, Path(path).name)
    base: dict[str, Any] = {"files": [path], "format": "parquet" if parquet else "csv"}
    if delimiter != ",":
        base["csv"] = {"delimiter": delimiter}
    columns = _sample(base, file)
    kinds = {name: _kind(column) for name, column in columns.items()}
    two = [n for n, c in columns.items() if pc.count_distinct(c.drop_null()).as_py() == 2 and not c.null_count]
    label = next((n for n in two if _LABEL_NAME.search(n)), two[-1] if two else None)
    if label is None:
        raise DataError(f"{path}: no column has exactly two values and could be the label")
    names = [n for n in columns if n != label]
    personal = [n for n in names if _is_personal(n, columns[n])]
    unique = [n for n in names if n not in personal and not columns[n].null_count and _all_differ(columns[n])]
    identity = next((n for n in unique if re.search(r"(^|_)id$|^id", n, re.IGNORECASE)), None)
    moments = [n for n in names if kinds[n] == "time"]
    values = [v.decode() for v in pc.unique(columns[label]).to_pylist()]
    positive = [v for v in values if v in _POSITIVE] or [sorted(values)[-1]]
    name = re.sub(r"[^a-z0-9]+", "_", Path(path).name.split(".")[0].lower()).strip("_")
    proposal: dict[str, Any] = {"name": name if name[:1].isalpha() else f"table_{name}", **base}
    if identity:
        proposal["id"] = identity
    proposal["label"] = {
        "column": label, "positive": positive, "negative": [v for v in values if v not in positive],
    }  # fmt: skip
    if moments:
        proposal["time"] = {"column": moments[0]}
    taken = {label, identity, *moments, *personal}
    proposal["features"] = [{"name": n, "kind": kinds[n], "group": "other"} for n in names if n not in taken]
    if personal:
        proposal["personal_data"] = [{"column": n, "action": "drop"} for n in personal]
    if len(moments) > 1:
        proposal["leave_out"] = [{"column": n, "reason": "a second time"} for n in moments[1:]]
    Dataset.model_validate(proposal)
    head = "# Proposed from the first rows of the table: check label, id, time and kinds, then `aiqleads data check`.\n"
    return head + yaml.safe_dump(proposal, sort_keys=False, allow_unicode=True, width=120)


def _delimiter(path: str) -> str:
    start = b""
    for chunk in chunks(path):
        start += chunk
        if len(start) >= SAMPLE_BYTES or b"\n" in start:
            break
    if not start:
        raise DataError(f"{path} is empty")
    counts = {}
    for candidate in (",", ";", "\t", "|"):
        header = scan.header(start.removeprefix(b"\xef\xbb\xbf"), scan.Dialect(candidate), True)
        counts[candidate] = len(header[0]) if header else 0
    return max(counts, key=lambda c: counts[c])


def _sample(base: dict[str, Any], file: SourceFile) -> dict[str, pa.ChunkedArray]:
    """Every column of the first rows as bytes, null where empty."""
    probe = {"name": "probe", "label": {"column": "\1"}, "features": [{"name": "\2", "kind": "categorical"}], **base}
    names = _names(Dataset.model_validate(probe), file)
    first, *rest = names
    probe["label"] = {"column": first}
    probe["features"] = [{"name": n, "kind": "categorical"} for n in rest] or probe["features"]
    dataset = Dataset.model_validate(probe)
    layout = read_layout(dataset, file)
    for unit in plan_units(dataset, file, layout):
        for piece in pieces(dataset, unit, SAMPLE_BYTES):
            raw = piece()
            if not raw.rows:
                break
            return {n: pa.chunked_array([convert.words(raw.columns[n])]) for n in names}
    raise DataError(f"{file.path} has no rows")


def _names(dataset: Dataset, file: SourceFile) -> tuple[str, ...]:
    """The names of all columns, which differ from each other."""
    return tuple(dict.fromkeys(column_names(dataset, file)))


def _kind(column: pa.ChunkedArray) -> str:
    values = column.combine_chunks().drop_null()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks)
    if not len(values):
        return "categorical"
    if convert.numbers(values)[1] is None:
        return "numeric"
    if convert.times(values, None)[1] is None:
        return "time"
    mean = pc.mean(pc.binary_length(values)).as_py()
    distinct = pc.count_distinct(values).as_py()
    return "text" if mean > MAX_CATEGORY_LENGTH and distinct > len(values) / 2 else "categorical"


def _all_differ(column: pa.ChunkedArray) -> bool:
    return pc.count_distinct(column).as_py() == len(column)


def _is_personal(name: str, column: pa.ChunkedArray) -> bool:
    if PERSONAL_NAME.search(name):
        return True
    values = [v.decode("utf-8", "replace").strip() for v in column.drop_null()[:1000].to_pylist()]
    return any(
        sum(bool(p.fullmatch(v)) for v in values) > PERSONAL_SHARE * len(values) for p in (EMAIL, PHONE) if values
    )
