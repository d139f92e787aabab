from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.native.protos import SignatureDef
from serving.errors import Code, ServingError
from serving.rest.json_document import parse
from serving.rest.json_tensor import predict_inputs

INT32, STRING, FLOAT, DOUBLE = 3, 7, 1, 2


class Version:
    """The part of a Servable that the conversion looks at."""

    def __init__(self, **inputs: int) -> None:
        definition = SignatureDef(method_name="tensorflow/serving/predict")
        for alias, dtype in inputs.items():
            definition.inputs[alias].name = f"{alias}:0"
            definition.inputs[alias].dtype = dtype
        self.signatures = {"serving_default": definition, "nothing": SignatureDef()}


def read(body: str | dict, **inputs: int) -> dict[str, list]:
    text = body if isinstance(body, str) else json.dumps(body)
    _, _, tensors = predict_inputs(parse(text.encode(), 64), Version(**inputs), "")  # type: ignore[arg-type]
    assert {alias: dtype for alias, (dtype, _) in tensors.items()} == inputs
    return {alias: array.tolist() for alias, (_, array) in tensors.items()}


def message(body: str | dict, **inputs: int) -> str:
    with pytest.raises(ServingError) as caught:
        read(body, **inputs)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_one_input_may_be_given_bare_in_rows_and_in_columns() -> None:
    for key in ("instances", "inputs"):
        assert read({key: [[1, 2], [3, 4], [5, 6]]}, default=INT32) == {"default": [[1, 2], [3, 4], [5, 6]]}
    assert read({"inputs": 5}, default=INT32) == {"default": 5}


def test_rows_and_columns_with_names() -> None:
    assert read({"instances": [{"x": 1.5}, {"x": 2}]}, x=FLOAT) == {"x": [1.5, 2.0]}
    assert read({"inputs": {"x": [1.5, 2]}}, x=FLOAT) == {"x": [1.5, 2.0]}
    body = """{"instances": [
        {"i": [[1, 2], [3, 4]], "s": ["foo", "bar"], "f": [1.0, NaN], "d": [NaN]},
        {"d": [2.0], "f": [2.0, Infinity], "s": ["baz", {"b64": "AA=="}], "i": [[7, 8], [9, 0]]}]}"""
    found = read(body, i=INT32, s=STRING, f=FLOAT, d=DOUBLE)
    assert found["i"] == [[[1, 2], [3, 4]], [[7, 8], [9, 0]]]
    assert found["s"] == [[b"foo", b"bar"], [b"baz", b"\0"]]
    assert str(found["f"]) == "[[1.0, nan], [2.0, inf]]"
    assert str(found["d"]) == "[[nan], [2.0]]"


def test_columns_may_differ_in_their_first_dimension_and_extra_ones_are_ignored() -> None:
    body = {"inputs": {"i": [[[1, 2]]], "s": ["foo", "bar"], "b": {"b64": "aGVsbG8="}, "unknown": 1}, "other": [None]}
    assert read(body, i=INT32, s=STRING, b=STRING) == {"i": [[[1, 2]]], "s": [b"foo", b"bar"], "b": b"hello"}


def test_base64_rows_are_values_not_named_inputs() -> None:
    assert read({"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}, s=STRING) == {"s": [b"hello", b"world"]}
    assert read({"instances": [[{"b64": "aGVsbG8="}]]}, s=STRING) == {"s": [[b"hello"]]}
    assert read({"instances": [{"s": [[{"b64": "aGVsbG8="}]]}]}, s=STRING) == {"s": [[[b"hello"]]]}
    assert read({"inputs": {"b64": "aGVsbG8="}}, s=STRING) == {"s": b"hello"}


def test_the_answer_has_the_format_of_the_request() -> None:
    version: Any = Version(x=FLOAT)
    assert predict_inputs({"instances": [1]}, version, "")[:2] == ("serving_default", True)
    assert predict_inputs({"inputs": [1]}, version, "serving_default")[:2] == ("serving_default", False)


def test_an_unknown_signature_is_named() -> None:
    version: Any = Version(x=FLOAT)
    with pytest.raises(ServingError, match=r'^Serving signature name: "S" not found in signature def$') as caught:
        predict_inputs({"instances": [1]}, version, "S")
    assert caught.value.http_status == 400
    with pytest.raises(ServingError, match=r"^Failed to get input map for signature: nothing$"):
        predict_inputs({"instances": [1]}, version, "nothing")


PLAIN_VALUE = (
    "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
)
PLAIN_LIST = (
    "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": 1}, "JSON Value: {\n    \"instances\": 1\n} Excepting 'instances' to be an list/array"),
        ({"instances": []}, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (
            {"instances": [1], "inputs": 2},
            'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": 2\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        ({"inputs": {"i": [1]}}, "Missing named input: s in 'inputs' object."),
        ({"inputs": {}}, "Missing named input: i in 'inputs' object."),
        ({"inputs": [1]}, PLAIN_VALUE),
        ({"inputs": {"b64": "AA=="}}, PLAIN_VALUE),
        ({"instances": [1]}, PLAIN_LIST),
        ({"instances": [{"i": 1, "s": "a"}, [1]]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [{"i": 1, "s": "a"}, {"i": 2}]},
            "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"i\": 2\n} keys must be "
            "equal to: i,s",
        ),
        (
            {"instances": [{"i": 1, "s": "a", "x": 2}]},
            "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not "
            "have named input: x",
        ),
        (
            {"instances": [{"i": 1, "s": "a"}, {"i": "b", "s": "a"}]},
            "Failed to process element: 1 key: i of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"b\" Type: "
            "String is not of expected type: int32",
        ),
        (
            {"instances": [{"i": [1, 2], "s": "a"}, {"i": [1], "s": "a"}]},
            "Failed to process element: 1 key: i of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: "
            "2 but got: 1",
        ),
        (
            {"instances": [{"i": [[1], [2]], "s": "a"}, {"i": [[1, 2]], "s": "a"}]},
            "Failed to process element: 1 key: i of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [2,1] "
            "but got: [1,2]",
        ),
    ],
)
def test_several_inputs_that_do_not_fit_are_refused_in_upstreams_words(body: dict, expected: str) -> None:
    assert message(body, i=INT32, s=STRING) == expected


ROW = "of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        ([[1, 2], [3, 4], [5, 6, 7]], f"Failed to process element: 2 {ROW}Expecting tensor size: 2 but got: 3"),
        ([[1, 2], [3, 4], [[5, 6]]], f"Failed to process element: 2 {ROW}Expecting shape [2] but got: [1,2]"),
        ([1, [1]], f"Failed to process element: 1 {ROW}Expecting shape [] but got: [1]"),
        ([[], [[]]], f"Failed to process element: 1 {ROW}Expecting shape [0] but got: [1,0]"),
        (
            [[1, 2], ["a", "b"]],
            f'Failed to process element: 1 {ROW}JSON Value: "a" Type: String is not of expected type: int32',
        ),
        ([1, {"x": 1}], "Expecting value/list but got object at item 1 of input list"),
        ([{"x": 1}, 1], "Expecting object but got list at item 1 of input list"),
    ],
)
def test_one_input_that_does_not_fit_is_refused_in_upstreams_words(instances: list, expected: str) -> None:
    assert message({"instances": instances}, x=INT32) == expected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "i": st.integers(-(2**31), 2**31 - 1),
                "s": st.text(),
                "f": st.tuples(st.floats(width=32), st.floats(width=32)),
            }
        ),
        min_size=1,
    )
)
def test_rows_and_columns_say_the_same(rows: list[dict]) -> None:
    columns = {name: [row[name] for row in rows] for name in ("i", "s", "f")}
    names = {"i": INT32, "s": STRING, "f": FLOAT}
    try:
        by_row = read(json.dumps({"instances": rows}), **names)
    except ServingError as error:
        assert "surrogate" in error.message
        return
    by_column = read(json.dumps({"inputs": columns}), **names)
    np.testing.assert_array_equal(by_row["f"], by_column["f"])
    assert (by_row["i"], by_row["s"]) == (by_column["i"], by_column["s"])
    assert by_row["i"] == columns["i"]
    assert by_row["s"] == [text.encode() for text in columns["s"]]
