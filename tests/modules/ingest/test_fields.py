"""Numbers and blanks as other countries and programs write them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.ingest.fields import plain_numbers, trimmed
from modules.ingest.read import read_columns
from modules.numerals import plain_number
from tests.modules.ingest.tables import make_dataset

SEPARATORS = [(",", "."), (",", None), (".", ","), (".", "'"), (",", " "), (".", None)]


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "plain"),
    [
        ("1,5", ",", None, "1.5"),
        (",5", ",", ".", ".5"),
        ("-1.234.567,89", ",", ".", "-1234567.89"),
        ("1.234", ",", ".", "1234"),
        ("1.234", ",", None, "1\u00b7234"),
        ("12.34", ",", ".", "12\u00b734"),
        ("1,234.5", ".", ",", "1234.5"),
        ("12,34", ".", ",", "12,34"),
        ("1'000", ".", "'", "1000"),
        ("2,5e3", ",", None, "2.5e3"),
        ("a,b", ",", None, "a,b"),
        ("", ",", ".", ""),
    ],
)
def test_numbers_are_read_by_their_separators(text: str, decimal: str, thousands: str | None, plain: str) -> None:
    assert plain_number(text, decimal, thousands) == plain


@given(st.lists(st.text("0123456789.,' +-e\t", max_size=12)), st.sampled_from(SEPARATORS))
def test_columns_and_single_values_agree(values: list[str], separators: tuple[str, str | None]) -> None:
    column = pa.array([v.encode() for v in values], pa.binary())
    expected = [plain_number(value, *separators).encode() for value in values]
    assert plain_numbers(column, *separators).to_pylist() == expected


def test_blanks_around_values_go() -> None:
    assert trimmed(pa.array([b" a b ", b"\tx", b"", None])).to_pylist() == [b"a b", b"x", b"", None]


@pytest.mark.parametrize("thousands", [None, "."])
def test_a_file_with_decimal_commas_and_blanks(tmp_path, thousands: str | None) -> None:
    (tmp_path / "t.csv").write_text("id; age; job;label\na; 1,5; cook;1\nb;;nurse ;0\nc;1.5;x;0\nd; 7;x; 1\n")
    csv = {"delimiter": ";", "decimal": ",", "trim": True, "thousands": thousands}
    (block,) = read_columns(make_dataset(tmp_path / "t.csv", csv=csv), with_label=True)
    assert block.columns["age"].to_pylist() == [1.5, None, 7.0]
    assert block.columns["job"].to_pylist() == [b"cook", b"nurse", b"x"]
    assert block.columns["label"].to_pylist() == [1, 0, 1]
    assert [(bad.line, bad.column) for bad in block.bad] == [(4, "age")]
