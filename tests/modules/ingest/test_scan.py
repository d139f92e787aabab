import csv
import io
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.ingest import blocks, scan

DIALECT = scan.Dialect()


def lines_of(text: bytes, fields: int, block_bytes: int, chunk: int) -> tuple[list[int], list[tuple[int, bytes]]]:
    """Line numbers of the sound records, and the broken lines."""
    sound: list[int] = []
    broken: list[tuple[int, bytes]] = []
    pieces = (text[i : i + chunk] for i in range(0, len(text), chunk))
    for block, source in blocks.blocks(pieces, fields, DIALECT, 0, 1, block_bytes):
        assert source == text[block.offset : block.offset + block.size]
        kept = block.cut(source)
        starts = scan.record_starts(kept, fields, DIALECT)
        sound += blocks.line_numbers(kept, block, starts).tolist()
        broken += [(line.line, text[line.offset : line.offset + line.size]) for line in block.broken]
    return sound, broken


def test_line_numbers_count_the_lines_inside_quotes():
    text = b'1,"a\nb",2\n\n3,4,5\r\n6,"\r\n\r\n",7\n8,9,0'
    assert lines_of(text, 3, 1 << 20, 1 << 20) == ([1, 4, 5, 8], [])


def test_an_unclosed_quote_costs_its_own_line_only():
    text = b'1,"a,2\n3,b,4\n5,"c",6\n7,d,8\n'
    assert lines_of(text, 3, 1 << 20, 1 << 20) == ([2, 3, 4], [(1, b'1,"a,2\n')])


def test_an_unclosed_quote_in_a_file_without_other_quotes_costs_its_own_line_only():
    text = b'1,a,2\n3,"b,4\n' + b"5,c,6\n" * 3
    assert lines_of(text, 3, 1 << 20, 1 << 20) == ([1, 3, 4, 5], [(2, b'3,"b,4\n')])


def test_an_unclosed_quote_before_megabytes_without_quotes_costs_its_own_line_only():
    text = b'1,"a,2\n' + b"5,c,6\n" * 400_000
    sound, broken = lines_of(text, 3, 1 << 18, 1 << 16)
    assert len(sound) == 400_000 and sound[0] == 2 and sound[-1] == 400_001
    assert broken == [(1, b'1,"a,2\n')]


def test_a_quote_inside_a_bare_field_is_an_ordinary_character():
    assert lines_of(b'1,5" pipe,2\n3,b,4\n', 3, 1 << 20, 1 << 20) == ([1, 2], [])


def test_text_after_a_closing_quote_breaks_the_line():
    assert lines_of(b'1,"a"b,2\n3,b,4\n', 3, 1 << 20, 1 << 20) == ([2], [(1, b'1,"a"b,2\n')])


def test_a_record_over_several_lines_with_too_few_fields_is_not_believed():
    text = b'1,"a,2\n3,b,"\n4,c,5\n'
    sound, broken = lines_of(text, 3, 1 << 20, 1 << 20)
    # The first line is given up; the second has a bare quote opened and never closed; the third is sound.
    assert broken == [(1, b'1,"a,2\n'), (2, b'3,b,"\n')]
    assert sound == [3]


PARTS = ["a", "b,c", ",", '"', "\n", "\r\n", "\r", '"x"', ',"",', "1,2,3\n", '"a\nb",2,3\n', "\n\n", "é", '""']


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join), st.integers(1, 40), st.integers(1, 30))
def test_any_text_gives_the_same_records_for_every_size_of_block(text, block_bytes, chunk):
    data = text.encode()
    expected = lines_of(data, 3, 1 << 20, 1 << 20)
    with mock.patch.object(scan, "WINDOW_BYTES", 5):
        assert lines_of(data, 3, block_bytes, chunk) == expected
    lines = len(io.StringIO(text, newline=None).read().split("\n"))
    assert all(line <= lines for line in expected[0])


FIELD = st.text(st.sampled_from('ab,"\n\r é\U0001f600'), max_size=6)
ROWS = st.lists(st.lists(FIELD, min_size=3, max_size=3), max_size=12)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.integers(1, 40))
def test_records_are_those_of_the_csv_module(rows, line_end, block_bytes):
    text = io.StringIO(newline="")
    # The csv module of Python 3.11 forgets to quote a lone CR.
    quoting = csv.QUOTE_ALL if any("\r" in field for row in rows for field in row) else csv.QUOTE_MINIMAL
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(rows)
    data = text.getvalue().encode()
    expected = []
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""))
    before = 0
    for _ in reader:
        expected.append(before + 1)
        before = reader.line_num
    sound, broken = lines_of(data, 3, block_bytes, 7)
    assert not broken
    assert sound == expected


@pytest.mark.parametrize("bare", ["a", "a b", "", "5' 6"])
def test_the_header_is_read_with_its_quotes(bare):
    text = f'id,"a ""b"", c",{bare}\n1,2,3\n'.encode()
    fields, end = scan.header(text, DIALECT, False)
    assert fields == [b"id", b'a "b", c', bare.encode()]
    assert text[end:] == b"1,2,3\n"
