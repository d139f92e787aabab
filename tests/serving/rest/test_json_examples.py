from __future__ import annotations

import math

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.native.protos import input_pb2
from serving.errors import Code, ServingError
from serving.rest.json_document import parse
from serving.rest.json_examples import fill_input


def read(body: str) -> input_pb2.Input:
    target = input_pb2.Input()
    fill_input(parse(body.encode(), 64), target)
    return target


def expected(text: str) -> input_pb2.Input:
    return text_format.Parse(text, input_pb2.Input())


def message(body: str) -> str:
    with pytest.raises(ServingError) as caught:
        read(body)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_the_form_of_a_number_decides_its_kind() -> None:
    body = '{"examples": [{"n": ["foo", "bar"], "ratings": [8.0, 9.0], "age": 20}, '
    body += '{"n": ["baz"], "ratings": 6.0}]}'
    assert read(body) == expected(
        """example_list {
          examples { features {
            feature { key: "n" value { bytes_list { value: "foo" value: "bar" } } }
            feature { key: "ratings" value { float_list { value: 8.0 value: 9.0 } } }
            feature { key: "age" value { int64_list { value: 20 } } } } }
          examples { features {
            feature { key: "n" value { bytes_list { value: "baz" } } }
            feature { key: "ratings" value { float_list { value: 6.0 } } } } } }"""
    )


def test_a_context_goes_beside_the_examples() -> None:
    body = """{"context": {"query": "pizza", "location": ["sfo"]}, "examples": [
        {"n": ["baz", {"b64": "aGVsbG8="}], "mix": [1, true, false], "ratings": -Infinity, "none": []}]}"""
    assert read(body) == expected(
        """example_list_with_context {
          context { features {
            feature { key: "query" value { bytes_list { value: "pizza" } } }
            feature { key: "location" value { bytes_list { value: "sfo" } } } } }
          examples { features {
            feature { key: "n" value { bytes_list { value: "baz" value: "hello" } } }
            feature { key: "mix" value { int64_list { value: 1 value: 1 value: 0 } } }
            feature { key: "ratings" value { float_list { value: -inf } } }
            feature { key: "none" value { } } } } }"""
    )
    empty = read('{"context": {}, "examples": [{}]}')
    assert empty.WhichOneof("kind") == "example_list_with_context"
    assert empty.example_list_with_context.HasField("context")


def test_extreme_numbers_keep_their_kind() -> None:
    feature = read(
        '{"examples": [{"i": [9223372036854775807, -9223372036854775808], "f": [18446744073709551616, NaN]}]}'
    )
    features = feature.example_list.examples[0].features.feature
    assert list(features["i"].int64_list.value) == [2**63 - 1, -(2**63)]
    assert features["f"].float_list.value[0] == 2.0**64
    assert math.isnan(features["f"].float_list.value[1])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"context": [1]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [[{"n": "foo"}]]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": {"a": 1}}', "Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": [{"n": [10, null]}]}', "Feature: n has element with unexpected JSON type: Null"),
        ('{"examples": [{"n": [10, {"test": 10}]}]}', "Feature: n has element with unexpected JSON type: Object"),
        ('{"examples": [{"n": [[10], 20]}]}', "Feature: n has element with unexpected JSON type: Array"),
        ('{"examples": [{"n": [10, 10.0]}]}', "Unexpected element type in feature: n expecting type: int64"),
        ('{"examples": [{"n": [10.0, 10]}]}', "Unexpected element type in feature: n expecting type: float"),
        ('{"examples": [{"n": [10.0, true]}]}', "Unexpected element type in feature: n expecting type: float"),
        ('{"examples": [{"n": ["a", 1e300]}]}', "Unexpected element type in feature: n expecting type: bytes"),
        ('{"examples": [{"n": [1, {"b64": "!"}]}]}', "Unexpected element type in feature: n expecting type: int64"),
        ('{"examples": [{"n": {"b64": "!"}}]}', "Unable to base64 decode"),
        ('{"examples": [{"n": [2, 18446744073709551603]}]}', "Feature: n has uint64 element. Only int64 is supported."),
        (
            '{"examples": [{"n": 1.7976931348623157e+308}]}',
            "Cannot convert JSON value: 1.7976931348623157e+308 to float without loss of precision.",
        ),
    ],
)  # fmt: skip
def test_what_is_no_example_is_refused_in_upstreams_words(body: str, text: str) -> None:
    found = message(body)
    assert found == text or (text.startswith("Expecting") and found.endswith(text))


VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.just({"b64": "AA"})


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), VALUES | st.lists(VALUES | st.lists(VALUES, max_size=1)), max_size=4))
def test_any_example_is_read_or_refused(example: dict) -> None:
    target = input_pb2.Input()
    try:
        fill_input({"examples": [example]}, target)
    except ServingError as error:
        assert error.code is Code.INVALID_ARGUMENT
    else:
        assert len(target.example_list.examples[0].features.feature) == len(example)
