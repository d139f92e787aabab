from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import Code, ServingError
from serving.rest.json_document import parse, quote, signature_name, type_name


def message(body: bytes, depth: int = 64) -> str:
    with pytest.raises(ServingError) as caught:
        parse(body, depth)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "The document is empty"),
        (b" \n\t", "The document is empty. at offset: 3"),
        (b"instances = [1, 2]", "Invalid value. at offset: 0"),
        (b'{"a": nul}', "Invalid value. at offset: 9"),
        (b'{"a": [1,]}', "Invalid value. at offset: 9"),
        (b'{"a": -}', "Invalid value. at offset: 7"),
        (b'{"a": Nan}', "Invalid value. at offset: 8"),
        (b"{", "Missing a name for object member. at offset: 1"),
        (b'{"a": 1,}', "Missing a name for object member. at offset: 8"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": 1 "b": 2}', "Missing a comma or } after an object member. at offset: 8"),
        (b'{"a": [1 2]}', "Missing a comma or ] after an array element. at offset: 9"),
        (b'{"a": {"b": [1, {}], "c": [[2], 3}}', "Missing a comma or ] after an array element. at offset: 33"),
        (b'{"a": [1], "[": 3]', "Missing a comma or } after an object member. at offset: 17"),
        (b'{"a": 1.}', "Miss fraction part in number. at offset: 8"),
        (b'{"a": 1e}', "Miss exponent in number. at offset: 8"),
        (b'{"a": 1.5e+}', "Miss exponent in number. at offset: 11"),
        (b'{"a": 1e400}', "Number too big to be stored in double. at offset: 6"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Number too big to be stored in double. at offset: 6"),
        (b'{"a": "b', "Missing a closing quotation mark in string. at offset: 8"),
        (b'{"a": "\x01"}', "Invalid encoding in string. at offset: 7"),
        (b'{"a": "\xff"}', "Invalid encoding in string. at offset: 7"),
        (b'{"a": "\\x"}', "Invalid escape character in string. at offset: 7"),
        (b'{"a": "\\u12g4"}', "Incorrect hex digit after \\u escape in string. at offset: 7"),
        (b'{"a": "\\ud800"}', "The surrogate pair in string is invalid. at offset: 7"),
        (b'{"a": "\\udc00"}', "The surrogate pair in string is invalid. at offset: 7"),
        (b'{"a": 1} 2', "The document root must not be followed by other values. at offset: 9"),
        ('{"é": x}'.encode(), "Invalid value. at offset: 7"),
        (b'\xef\xbb\xbf{"a": x}', "Invalid value. at offset: 9"),
    ],
)
def test_a_parse_error_comes_in_rapidjsons_words_with_the_byte_offset(body: bytes, expected: str) -> None:
    assert message(body) == f"JSON Parse error: {expected}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": [NaN, Infinity, -Infinity]}', [math.nan, math.inf, -math.inf]),
        (b'{"a": [-NaN, Inf, -Inf]}', [math.nan, math.inf, -math.inf]),
        (b'\xef\xbb\xbf{"a": [1, 2.0]}', [1, 2.0]),
        (b'{"a": [18446744073709551615, 18446744073709551616]}', [2**64 - 1, 2.0**64]),
        (b'{"a": [18446744073709551615, 18446744073709551616, NaN]}', [2**64 - 1, 2.0**64, math.nan]),
        (b'{"a": [-9223372036854775808, -9223372036854775809, NaN]}', [-(2**63), -(2.0**63), math.nan]),
        (b'{"a": ["Inf and -NaN", "\\"Inf", NaN]}', ["Inf and -NaN", '"Inf', math.nan]),
        (b'{"a": ["\\ud83d\\ude00", NaN]}', ["😀", math.nan]),
    ],
)
def test_values_that_json_does_not_have_are_read_as_rapidjson_reads_them(body: bytes, expected: list) -> None:
    read = parse(body, 64)["a"]
    assert [type(v) for v in read] == [type(v) for v in expected]
    assert str(read) == str(expected)


@pytest.mark.parametrize(("body", "shown"), [(b"[1]", "[\n    1\n]"), (b"1.0", "1.0"), (b'"x"', '"x"')])
def test_a_document_that_is_no_object_is_refused_with_its_text(body: bytes, shown: str) -> None:
    assert message(body) == f"JSON Value: {shown} Is not object"


def test_depth_is_counted_without_brackets_in_strings() -> None:
    deep = b'{"a": ' + b"[" * 9 + b"1" + b"]" * 9 + b"}"
    assert parse(deep, 10)["a"][0][0][0][0][0][0][0][0][0] == 1
    assert message(deep, 9) == "JSON Value: nested deeper than 9 levels"
    assert parse(b'{"a": "[[[[[[[[[[[[", "b": "\\"[[[[["}', 2) == {"a": "[[[[[[[[[[[[", "b": '"[[[[['}
    hidden = b'{"a": "]]]]]]]]]]", "b": ' + b"[" * 9 + b"]" * 9 + b"}"
    assert message(hidden, 9) == "JSON Value: nested deeper than 9 levels"


def test_a_million_brackets_are_refused_before_they_are_parsed() -> None:
    assert message(b'{"a": ' + b"[" * 1_000_000) == "JSON Value: nested deeper than 64 levels"


def test_an_error_quotes_a_large_value_only_in_part() -> None:
    text = quote({"instances": list(range(100_000))})
    assert text.startswith('{\n    "instances": [\n        0,\n')
    assert len(text) == 515
    assert text.endswith("...")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.0"), (0.1, "0.1"), (9000000.0, "9e+06"), (1.7976931348623157e308, "1.7976931348623157e+308"),
     (math.nan, "NaN"), (-math.inf, "-Infinity"), (True, "true"), (None, "null"), ("é", '"é"'),
     (123456789.0, "123456792.0")],
)  # fmt: skip
def test_a_quoted_number_has_six_digits_if_they_suffice(value: object, text: str) -> None:
    assert quote(value) == text


def test_types_have_rapidjsons_names() -> None:
    values = [None, True, False, {}, [], "", 1, 1.0]
    assert [type_name(v) for v in values] == ["Null", "True", "False", "Object", "Array", "String", "Number", "Number"]


def test_a_signature_name_is_a_string() -> None:
    assert signature_name({}) == ""
    assert signature_name({"signature_name": "s"}) == "s"
    with pytest.raises(ServingError, match="'signature_name' key must be a string value") as caught:
        signature_name({"signature_name": 5})
    assert caught.value.message.startswith('JSON Value: {\n    "signature_name": 5\n} not formatted correctly. ')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=3000, deadline=None)
@given(st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_what_json_writes_is_read_back(value: dict) -> None:
    try:
        body = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        body = json.dumps(value).encode()
    try:
        assert parse(body, 500) == value
    except ServingError as error:
        assert "surrogate" in error.message


@settings(max_examples=3000, deadline=None)
@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]":,\\nulltrefsaNI-0123456789.eE \x00', max_size=60).map(str.encode)
)
def test_any_bytes_are_an_object_or_an_invalid_argument(body: bytes) -> None:
    try:
        assert type(parse(body, 64)) is dict
    except ServingError as error:
        assert error.code is Code.INVALID_ARGUMENT
