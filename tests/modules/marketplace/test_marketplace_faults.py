"""Faults damage exactly the lines and cells they report, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from marketplace_files import rows

from modules.errors import ConfigError
from modules.marketplace import generate
from modules.marketplace.columns import COLUMNS
from modules.marketplace.faults import BAD_DATE, UNSEEN, WORD, Damage, Fault, parse_faults
from modules.marketplace.settings import MarketplaceSettings
from modules.marketplace.write import MarketplaceReport, write_marketplace

ROWS = 900
NAMES = [column.name for column in COLUMNS]


def _lines(folder: Path) -> list[bytes]:
    return (folder / "leads.csv").read_bytes().split(b"\n")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clean")
    write_marketplace(out, MarketplaceSettings(rows=ROWS, seed=8))
    return out


def _damaged(out: Path, faults: str) -> MarketplaceReport:
    return write_marketplace(out, MarketplaceSettings.parse(rows=ROWS, seed=8, faults=faults))


def test_grammar() -> None:
    assert parse_faults("ragged=5,text_in_number=visits:4, missing=age:0.6@2") == (
        Fault("ragged", "", 5),
        Fault("text_in_number", "visits", 4),
        Fault("missing", "age", 0.6, 2),
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("raged=5", "did you mean 'ragged'"),
        ("ragged", "expected fault=N or fault=column:amount"),
        ("ragged=0", "whole number of rows, 1 or more"),
        ("ragged=1.5", "whole number of rows, 1 or more"),
        ("ragged=age:5", "expected ragged=N without a column"),
        ("missing=0.5", "expected missing=column:amount"),
        ("missing=agge:0.5", "did you mean 'age'"),
        ("missing=age:1.5", "share above 0 and up to 1"),
        ("text_in_number=state:3", "unknown 'state'"),
        ("new_category=age:0.1", "unknown 'age'"),
        ("ragged=1.2.3", "expected a number, received '1.2.3'"),
        ("utf8=3@0", "span of 1 or more"),
    ],
)
def test_what_cannot_be_read_is_explained(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_faults(spec)
    assert message in str(caught.value)


def test_damaged_lines_are_those_reported_and_all_others_are_untouched(clean: Path, tmp_path: Path) -> None:
    report = _damaged(tmp_path, "ragged=6,utf8=3,quote=2,text_in_number=visits:4,bad_date=3")
    before, after = _lines(clean), _lines(tmp_path)
    assert [(d.kind, d.rows) for d in report.damage] == [
        ("ragged", 6), ("utf8", 3), ("quote", 2), ("text_in_number", 4), ("bad_date", 3)
    ]  # fmt: skip
    reported = sorted(line for damage in report.damage for line in damage.lines)
    assert len(set(reported)) == 18
    assert [i + 1 for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == reported

    def damaged(kind: str) -> list[tuple[bytes, bytes]]:
        lines = next(damage.lines for damage in report.damage if damage.kind == kind)
        return [(before[line - 1], after[line - 1]) for line in lines]

    shorter = [old.rsplit(b",", 1)[0] == new for old, new in damaged("ragged")]
    longer = [old + b",0" == new for old, new in damaged("ragged")]
    assert (sum(shorter), sum(longer)) == (3, 3)
    for old, new in damaged("utf8"):
        old.decode()
        with pytest.raises(UnicodeDecodeError):
            new.decode()
    for old, new in damaged("quote"):
        assert (old.count(b'"') % 2, new.count(b'"') % 2) == (0, 1)
    for old, new in damaged("bad_date"):
        assert new == old.replace(old.split(b",")[1], BAD_DATE.encode(), 1)
    for old, new in damaged("text_in_number"):
        at = NAMES.index("visits")
        assert new.split(b",")[at] == WORD.encode() != old.split(b",")[at]


@pytest.mark.parametrize(
    ("spec", "column", "expected", "hit"),
    [
        ("new_category=state:0.05", "state", 45, UNSEEN),
        ("out_of_range=age:0.01", "age", 9, "1000"),
        ("out_of_range=mortgage_rate:0.02", "mortgage_rate", 18, "150"),
    ],
)
def test_cells_hit_are_exactly_the_share(
    clean: Path, tmp_path: Path, spec: str, column: str, expected: int, hit: str
) -> None:
    report = _damaged(tmp_path, spec)
    assert report.damage == (Damage(1, spec.split("=")[0], column, expected),)
    before, after = rows(clean / "leads.csv"), rows(tmp_path / "leads.csv")
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == expected
    assert {row[column] for row in changed} == {hit}


@pytest.mark.parametrize("column", ["visits", "source", "enquiry"])
def test_missing_empties_cells(clean: Path, tmp_path: Path, column: str) -> None:
    report = _damaged(tmp_path, f"missing={column}:0.6")
    assert report.damage[0].rows == 540
    before, after = rows(clean / "leads.csv"), rows(tmp_path / "leads.csv")
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert all(new == {**old, column: ""} for old, new in changed)
    already = sum(row[column] == "" for row in before)
    assert 540 - already <= len(changed) <= 540


def test_truth_and_events_are_those_of_the_undamaged_rows(clean: Path, tmp_path: Path) -> None:
    _damaged(tmp_path, "missing=age:0.6,ragged=5")
    for name in ("events", "truth", "truth_events"):
        assert (tmp_path / f"{name}.csv").read_bytes() == (clean / f"{name}.csv").read_bytes()


def test_faults_start_at_their_span_and_are_counted_per_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "CHUNK_ROWS", 100)  # so that a file is made of several pieces
    settings = MarketplaceSettings.parse(rows=ROWS, seed=8, spans=3, faults="ragged=4@2,new_category=state:0.1@3")
    report = write_marketplace(tmp_path, settings)
    ragged = [damage for damage in report.damage if damage.kind == "ragged"]
    assert [(damage.span, damage.rows) for damage in ragged] == [(2, 4), (3, 4)]
    for damage in ragged:
        lines = _lines(tmp_path / f"span-{damage.span}")
        wrong = [i + 1 for i, line in enumerate(lines) if line and _fields(line) != len(NAMES)]
        assert wrong == list(damage.lines)
    third = report.spans[2].leads
    unseen = sum(b"," + UNSEEN.encode() + b"," in line for line in _lines(tmp_path / "span-3"))
    assert unseen == round(0.1 * third) == report.damage[-1].rows
    assert not any(UNSEEN.encode() in line for line in _lines(tmp_path / "span-2"))


def _fields(line: bytes) -> int:
    """Fields of a line, quotes respected."""
    return 1 + sum(part.count(b",") for part in line.split(b'"')[::2])


def test_more_damage_than_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="901 damaged lines asked for, but span 1 has 900 rows"):
        _damaged(tmp_path, "ragged=900,utf8=1")
    assert list(tmp_path.iterdir()) == []
