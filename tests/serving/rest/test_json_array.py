from __future__ import annotations

import base64
import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modules.native.tensor import DTYPES, STRING
from serving.errors import Code, ServingError
from serving.rest.json_array import to_array
from serving.rest.json_document import parse

FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, INT64, BOOL, UINT32, UINT64 = 1, 2, 3, 4, 5, 6, 9, 10, 22, 23


def array(text: str, dtype: int) -> np.ndarray:
    return to_array(parse(f'{{"v": {text}}}'.encode(), 100)["v"], dtype)


def message(text: str, dtype: int, code: Code = Code.INVALID_ARGUMENT) -> str:
    with pytest.raises(ServingError) as caught:
        array(text, dtype)
    assert caught.value.code is code
    return caught.value.message


def test_nesting_gives_the_shape() -> None:
    found = array("[[[1, 2], [3, 4], [5, 6]]]", INT32)
    assert found.dtype == np.int32
    assert found.tolist() == [[[1, 2], [3, 4], [5, 6]]]
    assert array("7", INT64).shape == ()
    assert array("[]", FLOAT).shape == (0,)
    assert array("[[], []]", STRING).shape == (2, 0)


def test_integers_serve_for_floats() -> None:
    assert array("[1, 2.0, 5.003, 0.0, NaN, Infinity]", FLOAT).tolist()[:2] == [1.0, 2.0]
    assert array("[1, 2.5]", FLOAT).dtype == np.float32
    assert array("[" + "1, 2.5, " * 50 + "NaN]", FLOAT).dtype == np.float32
    assert array("[-0]", DOUBLE).tolist() == [0.0]


@pytest.mark.parametrize("n", [1, 100])
@pytest.mark.parametrize("dtype", [INT32, UINT8, INT16, INT8, INT64, UINT32, UINT64])
def test_a_decimal_point_is_refused_for_integers(dtype: int, n: int) -> None:
    name = DTYPES[dtype].name
    text = "[" + "1, " * (n - 1) + "1.0]"
    assert message(text, dtype) == f"JSON Value: 1.0 Type: Number is not of expected type: {name}"


@pytest.mark.parametrize("n", [1, 100])
@pytest.mark.parametrize(
    ("dtype", "lowest", "highest"),
    [(d, int(np.iinfo(DTYPES[d]).min), int(np.iinfo(DTYPES[d]).max))
     for d in (INT32, UINT8, INT16, INT8, INT64, UINT32, UINT64)],
)  # fmt: skip
def test_integers_keep_to_their_range(dtype: int, lowest: int, highest: int, n: int) -> None:
    assert array(str([1] * n + [lowest, highest]), dtype).tolist()[n:] == [lowest, highest]
    for beyond in (lowest - 1, highest + 1):
        assert f"is not of expected type: {DTYPES[dtype].name}" in message(str([1] * n + [beyond]), dtype)


@pytest.mark.parametrize("n", [0, 100])
@pytest.mark.parametrize("value", ["true", "null", '"1"', "{}"])
@pytest.mark.parametrize(
    ("dtype", "name"), [(FLOAT, "float"), (DOUBLE, "double"), (INT32, "int32"), (UINT64, "uint64")]
)
def test_only_numbers_are_numbers(value: str, dtype: int, name: str, n: int) -> None:
    kind = {"t": "True", "n": "Null", '"': "String", "{": "Object"}[value[0]]
    expected = f"JSON Value: {value} Type: {kind} is not of expected type: {name}"
    assert message("[" + "1, " * n + value + "]", dtype) == expected


@pytest.mark.parametrize("value", ["1", "0", "1.0", '"true"', "null"])
def test_only_true_and_false_are_booleans(value: str) -> None:
    assert array("[true, false]", BOOL).tolist() == [True, False]
    assert message(f"[true, {value}]", BOOL).endswith("is not of expected type: bool")


@pytest.mark.parametrize("n", [0, 100])
@pytest.mark.parametrize(
    ("dtype", "value", "name"),
    [(FLOAT, "16777216", "float"), (FLOAT, "-16777216", "float"), (FLOAT, "1.7976931348623157e+308", "float"),
     (DOUBLE, "9007199254740992", "double"), (DOUBLE, "18446744073709551615", "double")],
)  # fmt: skip
def test_numbers_that_a_float_cannot_hold_are_refused(dtype: int, value: str, name: str, n: int) -> None:
    expected = f"Cannot convert JSON value: {value} to {name} without loss of precision."
    assert message("[" + "0.5, " * n + value + "]", dtype) == expected
    assert message("[" + "3, " * n + value + "]", dtype) == expected


def test_the_largest_numbers_that_a_float_holds_are_taken() -> None:
    text = "16777215, -16777215, 3.4028234663852886e38, -3.4028234663852886e38, 20000000000000000000"
    for n in (0, 100):
        found = array("[" + "1, " * n + text + "]", FLOAT)[n:].astype(float).tolist()
        assert found == [16777215, -16777215, 3.4028234663852886e38, -3.4028234663852886e38, float(np.float32(2e19))]
    assert "without loss" in message("[3.4028234663852889e38]", FLOAT)


@pytest.mark.parametrize("dtype", [8, 14, 17, 18, 19])
def test_types_that_json_cannot_express_are_not_implemented(dtype: int) -> None:
    found = message("[1]", dtype, Code.UNIMPLEMENTED)
    assert found.startswith("Conversion of JSON Value: 1 to type: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, [1]]", "Encountered list at unexpected level: 1 expected < 1"),
        ("[[1], 2]", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ("[[1, 2], [3]]", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ("[[], [1]]", "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
        ("[[[1], [2]], [[3], []]]", "Encountered list at unexpected size: 0 at level: 2 expected size: 1"),
    ],
)
def test_ragged_lists_are_refused_in_upstreams_words(text: str, expected: str) -> None:
    assert message(text, INT64) == expected


def test_a_rank_beyond_numpys_is_refused() -> None:
    assert message("[" * 70 + "1" + "]" * 70, INT64) == "JSON Value: a tensor of rank 70; 64 is the highest"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["foo", "bär", ""]', [b"foo", "bär".encode(), b""]),
        ('[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]', [b"hello", b"world"]),
        ('[{"b64": "aGVsbG8"}, {"b64": " aGV\\nsbG8 = "}, {"b64": ""}]', [b"hello", b"hello", b""]),
        ('["plain", {"b64": "AP8="}]', [b"plain", b"\x00\xff"]),
        ('["a\\u0000b"]', [b"a\x00b"]),
    ],
)
def test_strings_are_utf8_or_base64(text: str, expected: list[bytes]) -> None:
    found = array(text, STRING)
    assert found.dtype == object
    assert found.tolist() == expected


def test_a_base64_scalar_has_no_shape() -> None:
    found = array('{"b64": "aGVsbG8="}', STRING)
    assert (found.shape, found[()]) == ((), b"hello")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"b64": "!"}]', "Unable to base64 decode"),
        ('[{"b64": "QQ="}]', "Unable to base64 decode"),
        ('[{"b64": "Q"}]', "Unable to base64 decode"),
        ('[{"b64": "é"}]', "Unable to base64 decode"),
        ('["a", {"b64": "!"}]', "Unable to base64 decode"),
        ('[{"b64": 1}]', 'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data'),
        ('["a", {"x": "QQ=="}]', 'JSON Value: {\n    "x": "QQ=="\n} not formatted correctly for base64 data'),
        ('["a", 1]', "JSON Value: 1 Type: Number is not of expected type: string"),
        ("[null]", "JSON Value: null Type: Null is not of expected type: string"),
    ],
)
def test_what_is_neither_text_nor_base64_is_refused(text: str, expected: str) -> None:
    assert message(text, STRING) == expected


def test_base64_is_no_number() -> None:
    assert message('[{"b64": "QQ=="}]', INT32).endswith("Type: Object is not of expected type: int32")


NUMBERS = [FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, INT64, BOOL, UINT32, UINT64]


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(NUMBERS))
def test_any_array_is_read_back_from_its_json(data: st.DataObject, dtype: int) -> None:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    values = data.draw(hnp.arrays(DTYPES[dtype], shapes))
    nested = values.tolist()
    if values.size == 0 and 0 in values.shape[:-1]:
        # A list without elements says nothing about the dimensions below.
        values = values.reshape(values.shape[: values.shape.index(0) + 1])
    found = array(json.dumps(nested), dtype)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(object, hnp.array_shapes(max_dims=3, max_side=4), elements=st.binary(max_size=8)))
def test_any_bytes_are_read_back_from_base64(values: np.ndarray) -> None:
    def encoded(value: object) -> object:
        if isinstance(value, bytes):
            return {"b64": base64.b64encode(value).decode()}
        return [encoded(v) for v in value]  # type: ignore[attr-defined]

    found = array(json.dumps(encoded(values.tolist())), STRING)
    assert found.tolist() == values.tolist()


def test_large_lists_are_converted_as_a_whole() -> None:
    rows = np.random.default_rng(0).normal(size=(100_000, 10)).tolist()
    start = time.thread_time()
    converted = to_array(rows, FLOAT)
    taken = time.thread_time() - start
    start = time.thread_time()
    expected = np.array(rows, np.float32)
    reference = time.thread_time() - start
    np.testing.assert_array_equal(converted, expected)
    assert taken < 10 * reference
    assert not math.isnan(converted.sum())
