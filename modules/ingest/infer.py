"""A first dataset file for a table nobody has described yet."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from modules.dataset import Dataset
from modules.errors import DataError
from modules.ingest import convert, scan
from modules.ingest.check import words_of
from modules.ingest.fields import trimmed
from modules.ingest.guess import Guess, guess_column
from modules.ingest.layout import column_names, read_layout
from modules.ingest.quarantine import BadRow
from modules.ingest.sources import SourceFile, chunks
from modules.ingest.units import pieces, plan_units

SAMPLE_BYTES = 1 << 20
BLANK_SHARE = 0.5
_LABEL_NAME = re.compile(
    r"^(label|target|y|class|outcome|is_|has_)|conver|won|sold|success|churn|surviv|subscri|respon|purchas|bought|"
    r"default|accept|attrition|fraud|approv",
    re.IGNORECASE,
)
_POSITIVE = frozenset(["1", "true", "yes", "y", "t", "won", "converted", "success", "sold", "ja", "oui", "si", "sì"])
_NEGATIVE = frozenset(["0", "false", "no", "n", "f", "lost", "open", "failure", "nein", "non"])
_ID_NAME = re.compile(r"(?:^|_)(?:id|uuid|guid)(?:$|_)")
_TIME_NAME = re.compile(r"creat|time|date|day|datum|enquir|request|sign_?up|receiv|open|start|regist|applied|seen")
_LATE_NAME = re.compile(r"birth|end|clos|last|updat|modif|due|expir|deliver|paid|next")
_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "æ": "ae"})
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass
class _Table:
    """The table's first rows, and what is known of them.

    columns: large_binary [n] each, null where empty. csv: how the text is laid out. notes: what a person should look
    at.
    """

    path: str
    format: str
    csv: dict[str, Any]
    columns: dict[str, pa.Array]
    rows: int
    notes: list[str] = field(default_factory=list)


def propose_dataset(path: str, label: str | None = None) -> str:
    """A YAML dataset file for one CSV, gzip CSV or Parquet table, to be corrected by a person.

    Everything is guessed from names and values of the first rows (about 1 MB): label, id and time, the kind of every
    column, how dates and missing values are written, which columns tell nothing or are about persons.

    Args:
      path: the table.
      label: its label column, when the caller knows; otherwise a column with two values.

    Raises:
      DataError: the file cannot be read, or no column has two values and could be the label.
    """
    table = _read(path)
    label = _label(table, label)
    guesses = {name: guess_column(name, column) for name, column in table.columns.items() if name != label}
    if any(g.comma for g in guesses.values()) and not _points(table, guesses):
        table.csv["decimal"] = ","
    if any(g.groups for g in guesses.values()):
        table.csv["thousands"] = "." if table.csv.get("decimal") == "," else ","
    identity = _identity(table, guesses)
    time = _time(guesses)
    name = re.sub(r"[^a-z0-9]+", "_", Path(path).name.split(".")[0].lower()).strip("_")
    proposal: dict[str, Any] = {"name": name if name[:1].isalpha() else f"table_{name}".rstrip("_")}
    proposal |= {"files": [path], "format": table.format}
    proposal |= {"csv": table.csv} if table.csv else {}
    proposal |= {"id": identity} if identity else {}
    proposal["label"] = _spellings(table, label)
    if time is not None:
        found = guesses[time]
        proposal["time"] = {"column": time, **({"format": found.format} if found.format else {})}
    proposal |= _columns(table, guesses, label, identity, time)
    Dataset.model_validate(proposal)
    return _head(table, label) + _yaml(proposal)


def _yaml(proposal: dict[str, Any]) -> str:
    """A line for each row of a list, as a person would write it."""
    lines = []
    for key, value in proposal.items():
        if isinstance(value, list) and isinstance(value[0], dict):
            lines += [f"{key}:", *(f"  - {_flow(row)}" for row in value)]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1_000_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _head(table: _Table, label: str) -> str:
    lines = [
        f"Proposed from the first {table.rows:,} rows of the table. Check the label ({label!r}), id and time, and",
        "leave out what is not known yet when a lead comes in. Then: aiqleads data check",
    ]
    return "".join(f"# {line}\n" for line in (*lines, *(f"- {note}" for note in table.notes)))


def _columns(
    table: _Table, guesses: dict[str, Guess], label: str, identity: str | None, time: str | None
) -> dict[str, Any]:
    """Features, personal data, and what is left out."""
    features: list[dict[str, Any]] = []
    personal: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    names = _names(table, [n for n in guesses if n not in (identity, time)], {label, identity, time})
    reference = None
    if time is not None:
        reference = _free(f"{_plain(time)}_date", {*names.values(), label, identity or "", time})
        # Its age would only say how new a lead is, and new leads are newer than any seen in training.
        parts = ["weekday", "month", "hour"] if guesses[time].clock else ["weekday", "month"]
        features.append({"name": reference, "kind": "date", "column": time, **_format(guesses[time]), "parts": parts})
    for column, guess in guesses.items():
        if column in (identity, time):
            continue
        if guess.looks == "personal":
            personal.append({"column": column, "action": "drop"})
            continue
        reason = _reason(column, guess)
        if reason is not None:
            left_out.append({"column": column, "reason": reason})
            continue
        row: dict[str, Any] = {"name": names[column], "kind": guess.looks}
        if names[column] != column:
            row["column"] = column
        if guess.missing:
            row["missing_values"] = list(guess.missing)
        if guess.looks == "date":
            row |= _format(guess)
            row |= {"reference": reference} if reference else {}
            row |= {"parts": ["age", "weekday", "month", "hour"]} if guess.clock else {}
            if guess.also:
                table.notes.append(f"{column}: all dates fit {guess.format or 'ISO 8601'}, but {guess.also} as well")
        if guess.looks == "numeric" and guess.comma and table.csv.get("decimal") != ",":
            table.notes.append(f"{column}: its numbers have a decimal comma, those of other columns a point")
            row["kind"] = "categorical"
        if guess.open:
            row["open_vocabulary"] = True
        features.append(row)
    if not features:
        raise DataError(f"{table.path}: beside the label {label!r} no column could be a feature")
    return {
        "features": features,
        **({"personal_data": personal} if personal else {}),
        **({"leave_out": left_out} if left_out else {}),
    }


def _reason(column: str, guess: Guess) -> str | None:
    """Why a column is left out."""
    return {
        "empty": "empty in the first rows",
        "constant": "the same value in all of the first rows",
        "row number": "numbers the rows",
        "identifier": "nearly every row has a value of its own",
    }.get(guess.looks) or ("identifies something, and tells nothing" if _ID_NAME.search(words_of(column)) else None)


def _format(guess: Guess) -> dict[str, str]:
    return {"format": guess.format} if guess.format else {}


def _label(table: _Table, wanted: str | None) -> str:
    """The label's column."""
    values = {n: pc.value_counts(c) for n, c in table.columns.items() if n}
    if wanted is not None:
        if wanted not in table.columns:
            raise DataError(f"{table.path} has no column {wanted!r}; there is: {', '.join(map(repr, table.columns))}")
        count = len(values[wanted]) if wanted else 0
        if count != 2 or table.columns[wanted].null_count:
            gaps = f", {table.columns[wanted].null_count:,} of {table.rows:,} rows none" if count else ""
            raise DataError(f"{table.path}: the label needs two values in every row; {wanted!r} has {count}{gaps}")
        return wanted
    two = [n for n, c in values.items() if len(c) == 2 and not table.columns[n].null_count]
    if not two:
        raise DataError(
            f"{table.path}: no column has exactly two values and none missing, so none could be the label",
            ["add one that says whether a lead converted, 1 or 0", *table.notes],
        )
    named = [n for n in two if _LABEL_NAME.search(words_of(n))]
    spelled = [n for n in two if all(w.strip().lower() in _POSITIVE | _NEGATIVE for w in _distinct(table.columns[n]))]
    found = next(iter(named), None) or next(reversed(spelled), None) or two[-1]
    if len(two) > 1:
        others = ", ".join(repr(n) for n in two if n != found)
        table.notes.append(f"label: two values have also {others}; --label NAME picks another")
    return found


def _spellings(table: _Table, label: str) -> dict[str, Any]:
    """The label, with the rarer value as the positive one unless the words say which it is."""
    counts = {item["values"].as_py().decode(): item["counts"].as_py() for item in pc.value_counts(table.columns[label])}
    rare, frequent = sorted(counts, key=lambda value: (counts[value], value))
    positive = [v for v in counts if v.strip().lower() in _POSITIVE]
    negative = [v for v in counts if v.strip().lower() in _NEGATIVE]
    if len(positive) != 1 and len(negative) != 1:
        positive = [rare]
        table.notes.append(f"label: which of {rare!r} and {frequent!r} is 'converted' is a guess, the rarer one")
    elif len(positive) != 1:
        positive = [v for v in counts if v not in negative]
    return {"column": label, "positive": positive, "negative": [v for v in counts if v not in positive]}


def _identity(table: _Table, guesses: dict[str, Guess]) -> str | None:
    """A column that is named like an id, is never missing and differs in every row."""
    for name in guesses:
        unique = pc.count_distinct(table.columns[name], mode="all").as_py() == table.rows
        if _ID_NAME.search(words_of(name)) and not guesses[name].gaps and unique:
            return name
    return None


def _time(guesses: dict[str, Guess]) -> str | None:
    """A date that every row has, by its name rather when the lead came in than something later."""
    dates = [n for n, g in guesses.items() if g.looks == "date" and not g.gaps]
    early = [n for n in dates if not _LATE_NAME.search(words_of(n))]
    return next((n for n in early if _TIME_NAME.search(words_of(n))), None) or next(iter(early), None)


def _points(table: _Table, guesses: dict[str, Guess]) -> bool:
    """Whether more columns have a decimal point than a decimal comma."""
    marks: Counter[str] = Counter()
    for name, guess in guesses.items():
        if guess.looks == "numeric":
            text = table.columns[name].drop_null().cast(pa.large_string())
            if guess.comma:
                marks[","] += 1
            elif pc.any(pc.match_substring(text, ".")).as_py():
                marks["."] += 1
    return marks["."] > marks[","]


def _names(table: _Table, columns: list[str], taken: set[str | None]) -> dict[str, str]:
    """Names for tf.Examples and requests: the column's own if it is plain, one made of its words otherwise."""
    found = {column: column for column in columns if _PLAIN_NAME.fullmatch(column)}
    used = {*found, *(name for name in taken if name)}
    for column in columns:
        if column not in found:
            found[column] = _free(_plain(column), used)
            used.add(found[column])
    return found


def _plain(column: str) -> str:
    letters = unicodedata.normalize("NFKD", words_of(column).translate(_LETTERS))
    letters = "".join(c for c in letters if not unicodedata.combining(c))
    name = re.sub(r"[^A-Za-z0-9]+", "_", letters).strip("_")
    return name if name[:1].isalpha() else f"column_{name}".rstrip("_")


def _free(name: str, used: set[str]) -> str:
    number, found = 2, name
    while found in used:
        found, number = f"{name}_{number}", number + 1
    return found


def _distinct(column: pa.Array) -> list[str]:
    return [v.decode("utf-8", "replace") for v in pc.unique(column.drop_null()).to_pylist()]


def _read(path: str) -> _Table:
    """The first rows."""
    parquet = Path(path).suffix in (".parquet", ".pq")
    csv: dict[str, Any] = {}
    if not parquet and (delimiter := _delimiter(path)) != ",":
        csv["delimiter"] = delimiter
    kind = "parquet" if parquet else "csv"
    base = {"files": [path], "format": kind, **({"csv": csv} if csv else {})}
    columns, bad = _sample(base, SourceFile(path, Path(path).name))
    rows = len(next(iter(columns.values())))
    if not parquet and _has_blanks(columns):
        csv["trim"] = True
        columns = {name.strip(): convert.words(trimmed(column)) for name, column in columns.items()}
    notes = [f"{len(bad):,} rows cannot be read, the first at {bad[0]}"] if bad else []
    return _Table(path, kind, csv, columns, rows, notes)


def _has_blanks(columns: dict[str, pa.Array]) -> bool:
    """Whether some column has blanks before or behind most of its values."""
    for column in columns.values():
        blank = pc.match_substring_regex(column.drop_null().cast(pa.large_string()), r"^[ \t]|[ \t]$")
        if len(blank) and pc.mean(blank.cast(pa.int8())).as_py() > BLANK_SHARE:
            return True
    return False


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


def _sample(base: dict[str, Any], file: SourceFile) -> tuple[dict[str, pa.Array], list[BadRow]]:
    """Every column of the first rows as bytes, null where empty; and the rows that have no columns."""
    probe = {"name": "probe", "label": {"column": "\1"}, "features": [{"name": "\2", "kind": "categorical"}], **base}
    names = column_names(Dataset.model_validate(probe), file)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file.path}: column {twice[0]!r} is there twice; give its columns different names")
    rows = [{"name": f"column {i}", "column": name, "kind": "categorical"} for i, name in enumerate(names) if name]
    dataset = Dataset.model_validate({**probe, "features": rows or probe["features"]})
    wanted = dict.fromkeys(names, "column")
    layout = read_layout(dataset, file, wanted=wanted)
    for unit in plan_units(dataset, file, layout):
        for piece in pieces(dataset, unit, SAMPLE_BYTES):
            raw = piece()
            if not raw.rows:
                break
            return {n: convert.words(raw.columns[n]) for n in names}, raw.bad
    raise DataError(f"{file.path} has no rows")
