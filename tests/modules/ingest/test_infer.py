"""What is proposed for tables that nobody described."""

from __future__ import annotations

import gzip
import random

import pyarrow as pa
import pytest
import yaml

from modules.dataset import Dataset
from modules.errors import DataError
from modules.ingest.guess import guess_column
from modules.ingest.infer import propose_dataset


def guess(values: list[str], name: str = "column"):
    return guess_column(name, pa.array([v.encode() or None for v in values], pa.large_binary()))


def many(*values: str) -> list[str]:
    return [values[i % len(values)] for i in range(1000)]


@pytest.mark.parametrize(
    ("values", "looks", "missing"),
    [
        (many("1", "2.5", "-3e2"), "numeric", ()),
        (many("1", "2", "?", "N/A"), "numeric", ("?", "N/A")),
        (["oops", *many("1", "2", "3.5")], "numeric", ("oops",)),
        (many("1", "2", "x", "y"), "categorical", ()),
        (many("01234", "99999"), "categorical", ()),
        (many("a", "b", "?", "unknown"), "categorical", ("?",)),
        ([""] * 50, "empty", ()),
        (many("n/a", ""), "empty", ("n/a",)),
        (many("x"), "constant", ()),
        (many("x", ""), "categorical", ()),
        ([str(i) for i in range(100)], "row number", ()),
        ([f"key-{i}" for i in range(100)], "identifier", ()),
        ([f"some words about case {i}" for i in range(100)], "text", ()),
        ([f"p{i}@example.org" for i in range(100)], "personal", ()),
        ([f"+49 30 {i:07d}" for i in range(100)], "personal", ()),
        ([f"0.{i:08d}7" for i in range(100)], "numeric", ()),
    ],
)
def test_kinds(values: list[str], looks: str, missing: tuple[str, ...]) -> None:
    found = guess(values)
    assert (found.looks, found.missing) == (looks, missing)


@pytest.mark.parametrize(
    ("values", "format", "also"),
    [
        (many("2024-01-31", "2023-12-01"), None, None),
        (many("2024-01-31T10:00:00", "2023-12-01 11:00+02:00"), None, None),
        (many("31.01.2024", "01.02.2024"), "%d.%m.%Y", None),
        (many("31.01.2024 08:15", "01.02.2024 17:30"), "%d.%m.%Y %H:%M", None),
        (many("12/31/2024", "1/2/2024"), "%m/%d/%Y", None),
        (many("01/02/2024", "03/04/2024"), "%d/%m/%Y", "%m/%d/%Y"),
        (many("20240131", "20231201"), "%Y%m%d", None),
        (many("31 Jan 2024", "1 Feb 2024"), "%d %b %Y", None),
    ],
)
def test_formats_of_dates(values: list[str], format: str | None, also: str | None) -> None:
    found = guess([*values, ""])
    assert (found.looks, found.format) == ("date", format)
    assert found.also == also


@pytest.mark.parametrize("values", [many("20241341", "12345678"), many("2024", "1999"), many("1.5", "10.12")])
def test_numbers_are_no_dates(values: list[str]) -> None:
    assert guess(values).looks == "numeric"


@pytest.mark.parametrize("name", ["E-Mail", "Phone Number", "FirstName", "customer_name", "Straße", "date_of_birth"])
def test_names_of_personal_data(name: str) -> None:
    assert guess(many("a", "b"), name).looks == "personal"


@pytest.mark.parametrize("name", ["campaign_name", "named", "emails_opened", "phonetic"])
def test_names_that_only_sound_like_personal_data(name: str) -> None:
    assert guess(many("a", "b"), name).looks == "categorical"


def test_decimal_commas_and_groups_of_thousands() -> None:
    assert guess(many("1,5", "2,25")).comma and not guess(many("1,5", "2,25")).groups
    both = guess(many("1.234,50", "2,25"))
    assert (both.looks, both.comma, both.groups) == ("numeric", True, True)
    assert guess(many("1,234.5", "2,000,000")).groups


def write(path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_the_label_is_found_by_name_then_by_its_words_and_the_rarer_value_is_positive(tmp_path) -> None:
    rows = [f"{'MF'[i % 2]},{i % 7},{'good' if i % 3 else 'bad'},{'yes' if i % 4 else 'no'}" for i in range(400)]
    table = write(tmp_path / "t.csv", "\n".join(["sex,n,rating,active", *rows]))
    assert yaml.safe_load(propose_dataset(table))["label"] == {
        "column": "active", "positive": ["yes"], "negative": ["no"],
    }  # fmt: skip
    assert "two values have also 'sex', 'rating'" in propose_dataset(table)
    chosen = propose_dataset(table, label="rating")
    assert yaml.safe_load(chosen)["label"] == {"column": "rating", "positive": ["bad"], "negative": ["good"]}
    assert "which of 'bad' and 'good' is 'converted' is a guess" in chosen
    churn = write(tmp_path / "u.csv", "\n".join(["sex,n,Churned,active", *rows]))
    assert yaml.safe_load(propose_dataset(churn))["label"]["column"] == "Churned"


def test_a_label_that_cannot_be_one_is_refused(tmp_path) -> None:
    table = write(tmp_path / "t.csv", "a,b\n" + "\n".join(f"{i % 3},{i % 2}" for i in range(50)))
    with pytest.raises(DataError, match="'a' has 3"):
        propose_dataset(table, label="a")
    with pytest.raises(DataError, match="no column 'c'"):
        propose_dataset(table, label="c")
    with pytest.raises(DataError, match="exactly two values"):
        propose_dataset(write(tmp_path / "u.csv", "a\n1\n2\n3\n"))
    with pytest.raises(DataError, match="is there twice"):
        propose_dataset(write(tmp_path / "w.csv", "a,a,b\n1,2,0\n1,2,1\n"))


def test_names_for_requests_are_plain_and_differ(tmp_path) -> None:
    header = "Umsatz (€),umsatz,Größe %,1st call,won"
    rows = [f"{i % 9}.5,{i % 8}.5,{i % 7},{i % 6},{i % 2}" for i in range(100)]
    proposal = yaml.safe_load(propose_dataset(write(tmp_path / "t.csv", "\n".join([header, *rows]))))
    assert [(f["name"], f.get("column")) for f in proposal["features"]] == [
        ("umsatz_2", "Umsatz (€)"), ("umsatz", None), ("groesse", "Größe %"), ("column_1st_call", "1st call"),
    ]  # fmt: skip


def test_dates_are_measured_against_the_time_of_the_lead(tmp_path) -> None:
    r = random.Random(0)
    rows = [
        f"{i % 5},2024-0{1 + i % 9}-11,2023-1{i % 3}-0{1 + i % 9} 10:{i % 60:02d},{r.randrange(2)}" for i in range(200)
    ]
    text = "\n".join(["n,created,last seen,won", *rows])
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    proposal = yaml.safe_load(propose_dataset(str(path)))
    assert proposal["time"] == {"column": "created"}
    assert proposal["features"] == [
        {"name": "created_date", "kind": "date", "column": "created", "parts": ["weekday", "month"]},
        {"name": "n", "kind": "numeric"},
        {
            "name": "last_seen", "kind": "date", "column": "last seen", "reference": "created_date",
            "parts": ["age", "weekday", "month", "hour"],
        },
    ]  # fmt: skip
    Dataset.model_validate(proposal)


def test_blanks_around_fields_are_seen(tmp_path) -> None:
    text = "a, b, won\n" + "\n".join(f"{i}, {'xyz'[i % 3]}, {'yes' if i % 2 else 'no'}" for i in range(90))
    proposal = yaml.safe_load(propose_dataset(write(tmp_path / "t.csv", text)))
    assert proposal["csv"] == {"trim": True}
    assert proposal["label"] == {"column": "won", "positive": ["yes"], "negative": ["no"]}
    assert proposal["leave_out"] == [{"column": "a", "reason": "numbers the rows"}]


def test_rows_that_cannot_be_read_are_mentioned(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"name of town,won\n" + b"M\xfcnchen,1\nK\xf6ln,1\n" + b"Bonn,0\nRom,1\nOslo,0\n" * 9)
    assert "# - 2 rows cannot be read, the first at" in propose_dataset(str(path))
    path.write_bytes(b"town,won\n" + b"M\xfcnchen,1\n" * 5 + b"Bonn,0\n" * 5)
    with pytest.raises(DataError) as caught:
        propose_dataset(str(path))
    assert "byte 0xfc is not UTF-8" in caught.value.details[1]
