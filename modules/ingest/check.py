"""What does not fit between a dataset file and its table, from a sample of rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.dataset import Dataset
from modules.errors import AiqleadsError
from modules.features import Kind
from modules.ingest import check_dates, convert, dates
from modules.ingest.hashing import personal_key
from modules.ingest.layout import check_names, read_layout
from modules.ingest.raw import RawBlock
from modules.ingest.sources import resolve
from modules.ingest.typed import MonthState, TypedBlock, type_block
from modules.ingest.units import pieces, plan_units
from modules.roc import area_under_roc

LEAK_AUC = 0.99
MOSTLY_MISSING = 0.95
PERSONAL_SHARE = 0.2
MIN_CATEGORY = 20
MIN_IN_PART = 30
"""Leads of the rarer class that a part needs before its figures say anything."""
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
PHONE = re.compile(r"(?=(?:\D*\d){7,15}\D*$)(?:\+|\(|0)[\d\s()/.-]+")
PERSONAL_NAME = re.compile(
    r"(?:^|_)(e?_?mail|phone|mobile|fax|first_?name|last_?name|surname|full_?name|street|address|ssn|iban|passport|"
    r"birth_?(?:date|day)|date_of_birth|dob|vorname|nachname|telefon|stra(?:ss|ß)e|adresse|geburts_?(?:datum|tag))(?:$|_)"
    r"|^(?:(?:customer|contact|client|person|lead|user)_?)?name$",
    re.IGNORECASE,
)
_SENTINEL_NUMBERS = (-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0)
SENTINEL_WORDS = frozenset(
    ["unknown", "unk", "n/a", "na", "#n/a", "null", "none", "nan", "nil", "missing", "?", "-", "--", "not available"]
)


@dataclass(frozen=True)
class Finding:
    """Something that does not fit.

    Attributes:
      severity: an error stops a run, a warning does not.
      column: source column; None if it is about the table.
      message: what was found.
      suggestion: what to do.
    """

    severity: Literal["error", "warning"]
    column: str | None
    message: str
    suggestion: str


def check_dataset(dataset: Dataset, sample_rows: int = 10_000) -> list[Finding]:
    """Reads the first rows of a dataset's files and says what does not fit, errors first.

    Args:
      dataset: the dataset file.
      sample_rows: how many rows to read at least, if there are so many.
    """
    try:
        check_names(dataset)
        if any(p.action == "hash" for p in dataset.personal_data):
            personal_key()
        source = resolve(dataset)
        layouts = [read_layout(dataset, file) for file in source.files]
    except AiqleadsError as e:
        return [Finding("error", None, str(e), "; ".join(e.details) or "correct the dataset file")]
    first = layouts[0]
    once = [name for name, count in Counter(first.names).items() if count == 1]
    wide = replace(first, columns=tuple(dict.fromkeys((*first.columns, *once))))
    raws, rows = [], 0
    try:
        for unit in plan_units(dataset, source.files[0], wide):
            for piece in pieces(dataset, unit, block_bytes=1 << 20):
                raw = piece()
                raws.append(raw)
                rows += raw.records
                if rows >= sample_rows:
                    break
            if rows >= sample_rows:
                break
    except AiqleadsError as e:
        return [Finding("error", None, str(e), "; ".join(e.details))]
    if not rows:
        return [Finding("error", None, f"{source.files[0].path} has no rows", "")]
    names = dict.fromkeys(name for layout in layouts for name in layout.ignored)
    findings = list(_check(dataset, raws, rows, tuple(names), sample_rows))
    return sorted(findings, key=lambda f: f.severity != "error")


def _check(
    dataset: Dataset, raws: list[RawBlock], rows: int, ignored: tuple[str, ...], sample_rows: int
) -> Iterator[Finding]:
    key = personal_key() if any(p.action == "hash" for p in dataset.personal_data) else None
    order = dataset.time.month_order if dataset.time else None
    state = MonthState(order.first_year if order else 0)
    typed = [type_block(dataset, raw, True, state, key) for raw in raws]
    yield from _bad_rows(dataset, typed, rows)
    columns = {name: pa.chunked_array([b.columns[name] for b in typed]) for name in typed[0].columns}
    texts = {
        name: pa.chunked_array([convert.words(raw.columns[name]) for raw in raws])
        for name in raws[0].columns
        if convert.is_text(raws[0].columns[name].type)
    }
    for name in ignored:
        yield Finding(
            "warning", name, "the dataset does not mention this column; it is ignored",
            "make it a feature, or list it under leave_out with the reason",
        )  # fmt: skip
    yield from _personal(dataset, texts, ignored)
    label = columns[dataset.label_feature].to_numpy()
    if len(label) and label.min() == label.max():
        only = "positive" if label[0] else "negative"
        yield Finding(
            "warning", dataset.label.column, f"all {len(label)} rows of the sample are {only}",
            "if the whole table is like that, there is nothing to learn",
        )  # fmt: skip
    elif rows < sample_rows:
        yield from _small_parts(dataset, label)
    if dataset.id is not None:
        identity = pa.chunked_array([b.identity for b in typed])
        repeated = len(identity) - pc.count_distinct(identity).as_py()
        if repeated:
            yield Finding(
                "warning", dataset.id, f"{repeated} of {len(identity)} ids are there already",
                "one row per lead is expected; the same lead could be in training and test",
            )  # fmt: skip
    for feature in dataset.table:
        column = columns[feature.name].combine_chunks()
        yield from _values(feature.source, feature.kind, column)
        if feature.kind is Kind.DATE:
            times = columns.get(dataset.time_feature or "")
            column = pa.array(dates.seconds_of(column), from_pandas=True)
            suspects = check_dates.suspects(column, times if times is None else times.combine_chunks())
            yield from (Finding("warning", feature.source, *suspect) for suspect in suspects)
        if len(label) and label.min() != label.max():
            auc = single_feature_auc(column, label)
            if auc > LEAK_AUC:
                yield Finding(
                    "warning", feature.source, f"alone it predicts the label almost perfectly (AUC {auc:.4f})",
                    "is it known before the lead converts? if not, list it under leave_out",
                )  # fmt: skip


def _small_parts(dataset: Dataset, label: np.ndarray) -> Iterator[Finding]:
    """The whole table was read, so the size of its parts is known."""
    if dataset.split.method == "column":
        return
    fewer = int(min(label.sum(), len(label) - label.sum()))
    for part, share in (("test", dataset.split.test), ("calibration", dataset.split.calibration)):
        if 0 < share * fewer < MIN_IN_PART:
            class_ = "positive" if label.sum() == fewer else "negative"
            yield Finding(
                "warning", None,
                f"{len(label):,} rows in all: about {share * len(label):.0f} of them in the {part} part, "
                f"{share * fewer:.0f} of these {class_}",
                f"figures on so few say little; more rows, a larger split.{part}, or cross-validation would help",
            )  # fmt: skip


def _bad_rows(dataset: Dataset, typed: list[TypedBlock], rows: int) -> Iterator[Finding]:
    bad = [b for block in typed for b in block.bad]
    stops = len(bad) > dataset.max_bad_rows * rows
    groups: dict[tuple[str, str | None], list[str]] = {}
    for b in bad:
        groups.setdefault((str(b.reason), b.column), []).append(f"line {b.line}: {b.message}")
    for (reason, column), examples in groups.items():
        yield Finding(
            "error" if stops else "warning",
            column,
            f"{len(examples)} of {rows} rows: {reason}; {'; '.join(examples[:3])}",
            {
                "not a number": "add the spelling to the feature's missing_values, or make it categorical",
                "not a date": "set format of time or of the date feature, e.g. '%d/%m/%Y'",
                "unknown label": "add the spelling to label.positive or label.negative",
                "unknown split value": "add the value to split.values",
                "not UTF-8": "convert the file: iconv -f LATIN1 -t UTF-8",
                "wrong number of fields": "check csv.delimiter and csv.quote, or correct the rows",
                "broken quoting": "correct the rows, or set csv.quote",
            }.get(reason, "correct the rows"),
        )


def _values(name: str, kind: Kind, column: pa.Array) -> Iterator[Finding]:
    n = len(column)
    if not n:
        return
    missing = column.null_count / n
    if missing > MOSTLY_MISSING:
        yield Finding("warning", name, f"{missing:.1%} of the values are missing", "is the column filled at all?")
    distinct = pc.value_counts(column.drop_null())
    if len(distinct) == 1 and not column.null_count:
        value = distinct[0]["values"].as_py()
        value = value.decode() if isinstance(value, bytes) else value
        yield Finding("warning", name, f"every row has the same value, {value!r}", "it cannot tell leads apart")
    if kind is Kind.NUMERIC:
        yield from _sentinel_number(name, column.drop_null().to_numpy(), n)
    else:
        for item in distinct:
            word = item["values"].as_py().decode()
            if word.strip().lower() in SENTINEL_WORDS:
                yield Finding(
                    "warning", name, f"{item['counts'].as_py()} rows say {word!r}",
                    f"if that means missing: missing_values: [{word!r}]",
                )  # fmt: skip


def _sentinel_number(name: str, values: np.ndarray, n: int) -> Iterator[Finding]:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 3:
        return
    for at, neighbour in ((0, 1), (-1, -2)):
        value, next_value = float(distinct[at]), float(distinct[neighbour])
        if value not in _SENTINEL_NUMBERS or counts[at] < max(0.01 * n, 3):
            continue
        far = value < 0 <= next_value if at == 0 else value >= 2 * next_value
        if far:
            spelling = f"{value:g}"
            yield Finding(
                "warning", name, f"{counts[at]} rows have {spelling}, far from the next value {next_value:g}",
                f"if that means missing: missing_values: ['{spelling}']",
            )  # fmt: skip


def words_of(name: str) -> str:
    """A column's name in lower case, its words separated by underscores: `E-Mail Address` -> `e_mail_address`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\W_]+", "_", name).strip("_").lower()


def _personal(dataset: Dataset, texts: dict[str, pa.ChunkedArray], ignored: tuple[str, ...]) -> Iterator[Finding]:
    declared = {p.column for p in dataset.personal_data} | {c.column for c in dataset.leave_out} | set(ignored)
    # 01.02.2024 has the form of a phone number, too.
    moments = {f.source for f in dataset.table.of_kind(Kind.DATE)} | {dataset.time.column if dataset.time else None}
    for name in sorted({*texts, *(f.source for f in dataset.table)} - declared):
        what = "its name suggests personal data" if PERSONAL_NAME.search(words_of(name)) else None
        if name in texts and name not in moments:
            values = [v.decode("utf-8", "replace") for v in texts[name].drop_null()[:1000].to_pylist()]
            for pattern, kind in ((EMAIL, "e-mail addresses"), (PHONE, "phone numbers")):
                if values and sum(bool(pattern.fullmatch(v.strip())) for v in values) > PERSONAL_SHARE * len(values):
                    what = f"its values look like {kind}"
        if what:
            yield Finding(
                "warning", name, what, "list it under personal_data with action drop or hash instead of using it"
            )


def single_feature_auc(column: pa.Array, label: np.ndarray) -> float:
    """Area under the ROC curve, 0.5-1, of the label predicted from one feature alone.

    Numbers are taken as they are, or in reverse, with missing values first or last; categories by their rate of
    positives in the other half of the rows, rare ones together.
    """
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False).astype(np.float64)
        best = 0.5
        for fill in (-np.inf, np.inf):
            auc = roc_auc(np.where(np.isnan(values), fill, values), label)
            best = max(best, auc, 1 - auc)
        return best
    codes = pc.dictionary_encode(column, null_encoding="encode").indices.to_numpy()
    codes = np.where(np.bincount(codes)[codes] >= MIN_CATEGORY, codes, codes.max() + 1)
    half = np.arange(len(label)) % 2 == 0
    rate = np.zeros(len(label))
    for side in (half, ~half):
        size = codes.max() + 1
        counts = np.bincount(codes[side], minlength=size)
        positives = np.bincount(codes[side], label[side], minlength=size)
        rate[~side] = ((positives + label.mean()) / (counts + 1))[codes[~side]]
    return max(0.5, roc_auc(rate, label))


def roc_auc(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve; 0.5, which tells nothing, when a class is missing."""
    area = area_under_roc(score, label)
    return 0.5 if np.isnan(area) else area
