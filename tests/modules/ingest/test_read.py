import csv
import gzip
import io
import json
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.errors import ConfigError, DataError
from modules.ingest import scan
from modules.ingest.quarantine import Reason
from modules.ingest.read import read_columns
from tests.modules.ingest.tables import FEATURES, make_dataset, many_rows, write_rows


def read_all(dataset, **options):
    """Columns as lists, and bad rows as (line, reason)."""
    columns: dict[str, list] = {}
    bad = []
    for block in read_columns(dataset, with_label=True, **options):
        for name, column in block.columns.items():
            columns.setdefault(name, []).extend(column.to_pylist())
        bad += [(b.line, b.reason) for b in block.bad]
    return columns, bad


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.one_of(
    st.just(""),
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.sampled_from(["999", "999.0", "nan", " 7 ", "+5", "1e3", "n/a"]),
    st.sampled_from(["x", "1,5", "inf", "1e39", "1_0", "0x10", "--"]),
)
ROW = st.tuples(TEXT, NUMBER, TEXT, st.sampled_from(["0", "1", "yes", "no", "maybe", ""]))


def reference(rows, first_lines):
    """The rule of the dataset below, row by row, with the csv module's fields."""
    columns = {"label": [], "age": [], "job": [], "id": []}
    bad = []
    for (identity, age, job, label), line in zip(rows, first_lines, strict=True):
        stripped = age.strip(" \t")
        wrong_number, value = False, None
        if age not in ("", "n/a") and stripped:
            plain = "_" not in stripped and not stripped.lower().startswith("0x")
            try:
                number = np.float32(float(stripped)) if plain else None
            except ValueError:
                number = None
            wrong_number = number is None or bool(np.isinf(number))
            if not wrong_number and not np.isnan(number) and float(stripped) != 999:
                value = float(number)
        if not identity:
            bad.append((line, Reason.ID))
        elif label not in ("1", "true", "True", "yes", "0", "false", "False", "no"):
            bad.append((line, Reason.LABEL))
        elif wrong_number:
            bad.append((line, Reason.NUMBER))
        else:
            columns["label"].append(int(label in ("1", "yes")))
            columns["age"].append(value)
            columns["job"].append(None if job in ("", "unknown") else job.encode())
            columns["id"].append(identity.encode())
    return columns, bad


@settings(max_examples=120, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=12), st.integers(1, 60), st.booleans(), st.sampled_from(["\n", "\r\n"]))
@np.errstate(over="ignore")
def test_every_table_reads_as_the_csv_module_reads_it(rows, block_bytes, compressed, line_end):
    text = io.StringIO(newline="")
    # Everything quoted: the csv module of Python 3.11 forgets to quote a lone CR.
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows([["id", "age", "job", "label"], *rows])
    parsed, lines, before = [], [], 0
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""))
    for row in reader:
        parsed.append(tuple(row))
        lines.append(before + 1)
        before = reader.line_num
    data = text.getvalue().encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(gzip.compress(data) if compressed else data)
        features = [
            {"name": "age", "kind": "numeric", "missing_values": ["999", "n/a"]},
            {"name": "job", "kind": "text", "missing_values": ["unknown"]},
        ]
        dataset = make_dataset(path, features=features)
        with mock.patch.object(scan, "WINDOW_BYTES", 16):
            columns, bad = read_all(dataset, block_bytes=block_bytes)
    expected, expected_bad = reference(parsed[1:], lines[1:])
    assert bad == expected_bad
    assert {name: columns.get(name, []) for name in expected} == expected


def test_all_kinds_of_bad_rows_are_found_with_their_line_numbers(tmp_path):
    data = (
        b"id,age,job,label\n"
        b'a,1,"two\nlines",1\n'  # lines 2 and 3
        b"b,2,x\n"  # 4: a field is missing
        b"c,three,x,0\n"  # 5: not a number
        b'd,4,"x,0\n'  # 6: the quote is not closed
        b"e,5,caf\xe9,0\n"  # 7: Latin 1
        b"f,6,x,perhaps\n"  # 8: label
        b"\n"
        b",7,x,1\n"  # 10: no id
        b"g,8,x,1,9\n"  # 11: a field too many
        b'h,9,"y",0\n'
    )
    (tmp_path / "t.csv").write_bytes(data)
    dataset = make_dataset(tmp_path / "t.csv")
    expected = [
        (4, Reason.FIELDS), (5, Reason.NUMBER), (6, Reason.QUOTING), (7, Reason.ENCODING), (8, Reason.LABEL),
        (10, Reason.ID), (11, Reason.FIELDS),
    ]  # fmt: skip
    for block_bytes in (1, 10, 30, 50, 1000):
        columns, bad = read_all(dataset, block_bytes=block_bytes)
        assert sorted(bad) == expected
        assert columns["id"] == [b"a", b"h"]
        assert columns["job"] == [b"two\nlines", b"y"]


def test_quarantined_rows_hide_personal_columns(tmp_path):
    rows = [
        ["id", "age", "job", "label", "mail"],
        ["a", "old", "x", "1", "ann@example.org"],
        ["b", "bob@example.org", "x", "1", "5"],
        ["c", "1", "x", "1"],
        ["d", "1", "x", "1", "d@example.org"],
    ]
    path = write_rows(tmp_path / "t.csv", rows)
    dataset = make_dataset(path, personal_data=[{"column": "mail", "action": "drop"}])
    blocks = list(read_columns(dataset, with_label=True))
    bad = [json.loads(b.to_json()) for block in blocks for b in block.bad]
    assert [b["line"] for b in bad] == [2, 3, 4]
    assert "example.org" not in json.dumps(bad)
    assert "text" not in bad[2] and "fields" not in bad[2]
    assert bad[0]["fields"]["age"] == "old"
    assert "mail" not in blocks[0].columns


def test_hashed_personal_columns_need_a_key_and_depend_on_it(tmp_path, monkeypatch):
    rows = [["id", "age", "job", "label", "mail"], ["a", "1", "x", "1", "ann@example.org"], ["b", "1", "x", "1", ""],
            ["c", "2", "y", "0", "ann@example.org"]]  # fmt: skip
    personal = [{"column": "mail", "action": "hash", "name": "mail_hash"}]
    dataset = make_dataset(write_rows(tmp_path / "t.csv", rows), personal_data=personal)
    monkeypatch.delenv("AIQLEADS_HASH_KEY", raising=False)
    monkeypatch.delenv("AIQLEADS_HASH_KEY_FILE", raising=False)
    with pytest.raises(ConfigError, match="needs a secret key"):
        read_all(dataset)
    monkeypatch.setenv("AIQLEADS_HASH_KEY", "0123456789abcdef")
    first = read_all(dataset)[0]["mail_hash"]
    assert first[0] == first[2] and first[1] is None
    assert len(first[0]) == 32 and b"@" not in first[0]
    (tmp_path / "key").write_text("fedcba9876543210\n")
    monkeypatch.delenv("AIQLEADS_HASH_KEY")
    monkeypatch.setenv("AIQLEADS_HASH_KEY_FILE", str(tmp_path / "key"))
    assert read_all(dataset)[0]["mail_hash"][0] != first[0]


def test_parquet_and_csv_of_the_same_table_read_the_same(tmp_path):
    rows = many_rows(1000)
    rows[5][1] = rows[9][2] = ""
    csv_path = write_rows(tmp_path / "t.csv", rows)
    header, *body = rows
    table = pa.table({
        "id": [r[0] for r in body],
        "age": pa.array([int(r[1]) if r[1] else None for r in body], pa.int16()),
        "job": pa.array([r[2] or None for r in body]).dictionary_encode(),
        "label": pa.array([r[3] == "1" for r in body]),
    })  # fmt: skip
    assert table.column_names == header
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=300)
    of_csv, _ = read_all(make_dataset(csv_path))
    of_parquet, bad = read_all(make_dataset(tmp_path / "t.parquet", format="parquet"))
    assert not bad and of_parquet == of_csv


def test_rows_without_an_id_are_named_by_file_and_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'age,job,label\n1,"a\nb",1\n\n2,c,0\n')
    columns, _ = read_all(make_dataset(path, id=None))
    assert columns["row_id"] == [b"t.csv:2", b"t.csv:5"]


def test_months_in_order_recover_the_year_across_blocks_and_files(tmp_path):
    first = ["oct", "nov", "December", "mar", "3", "05"]
    second = ["may", "jan", "feb"]
    for name, months in (("1.csv", first), ("2.csv", second)):
        write_rows(tmp_path / name, [["id", "age", "job", "label", "month"],
                                     *([f"{name}{i}", "1", "x", "1", m] for i, m in enumerate(months))])  # fmt: skip
    order = {"month_order": {"column": "month", "first_year": 2008}}
    dataset = make_dataset(tmp_path / "1.csv", tmp_path / "2.csv", time=order)
    expected = ["2008-10", "2008-11", "2008-12", "2009-03", "2009-03", "2009-05", "2009-05", "2010-01", "2010-02"]
    for block_bytes in (1, 40, 1000):
        columns, _ = read_all(dataset, block_bytes=block_bytes)
        seconds = np.array(columns["row_time"])
        assert np.array_equal(seconds.astype("datetime64[s]"), np.array(expected, "datetime64[M]"))


def test_leads_to_be_scored_need_neither_label_nor_time(tmp_path):
    path = write_rows(tmp_path / "new.csv", [["job", "id", "age"], ["x", "a", "1"]])
    dataset = make_dataset(path, time={"column": "created"})
    (block,) = read_columns(dataset)
    assert block.batch().to_pylist() == [{"age": 1.0, "job": b"x", "id": b"a"}]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfid,age,job,label\r\na,1,x,1\r\nb,two,x,1\r\n")
    columns, bad = read_all(make_dataset(tmp_path / "t.csv"))
    assert columns["id"] == [b"a"] and bad == [(3, Reason.NUMBER)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"id,age,jobs,label\n", "feature 'job' is missing"),
        (b"id,age,job,result\n", "label column 'label' is missing"),
        (b"lead,age,job,label\n", "id column 'id' is missing"),
        (b"id,age,job,label,age\n", "column 'age' is there twice"),
        ("id,age,job,label\n".encode("utf-16"), "UTF-16"),
        (b'id,"age,job,label\n1,2,3,4\n', "the quoting of the first line"),
    ],
)
def test_a_header_that_does_not_fit_says_so(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_all(make_dataset(tmp_path / "t.csv"))


def test_the_nearest_column_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"id,age,jobs,label\n")
    with pytest.raises(DataError) as caught:
        read_all(make_dataset(tmp_path / "t.csv"))
    assert caught.value.details[0] == "feature 'job'; did you mean 'jobs'?"


def test_a_cut_off_gzip_file_is_an_error(tmp_path):
    data = gzip.compress(os.urandom(20_000).hex().encode())
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"id,age,job,label\n") + data[: len(data) // 2])
    with pytest.raises(DataError, match="ends early"):
        read_all(make_dataset(tmp_path / "t.csv"))


def test_gzip_members_that_follow_one_another_are_one_file(tmp_path):
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"id,age,job,label\na,1,x,1\nb,2") + gzip.compress(b",y,0\n"))
    columns, bad = read_all(make_dataset(tmp_path / "t.csv"))
    assert columns["age"] == [1.0, 2.0] and not bad


def test_a_column_may_feed_two_features(tmp_path):
    path = write_rows(tmp_path / "t.csv", [["id", "age", "job", "label"], ["a", "30", "x", "1"]])
    features = [*FEATURES, {"name": "age_group", "kind": "categorical", "column": "age"}]
    columns, _ = read_all(make_dataset(path, features=features))
    assert columns["age"] == [30.0] and columns["age_group"] == [b"30"]
