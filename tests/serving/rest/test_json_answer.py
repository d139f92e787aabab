from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modules.native.protos import classification_pb2, regression_pb2
from modules.native.tensor import DTYPES, STRING
from serving.errors import Code, ServingError
from serving.rest import json_answer

FLOAT, DOUBLE, INT32, INT64, BOOL, HALF = 1, 2, 3, 9, 10, 19


def out(alias: str, dtype: int, values: object) -> json_answer.Output:
    return alias, dtype, np.array(values, DTYPES[dtype])


def message(outputs: list[json_answer.Output], row_format: bool = True) -> str:
    with pytest.raises(ServingError) as caught:
        json_answer.predict(outputs, row_format)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_one_output_drops_its_name() -> None:
    values = [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 0], [1, 2]]]
    assert json_answer.predict([out("i", INT32, values)], True) == (
        b'{"predictions": [[[1,2],[3,4],[5,6]],[[7,8],[9,0],[1,2]]]}'
    )
    assert json_answer.predict([out("i", INT32, values)], False) == (
        b'{"outputs": [[[1,2],[3,4],[5,6]],[[7,8],[9,0],[1,2]]]}'
    )
    assert json_answer.predict([out("i", INT32, 5)], False) == b'{"outputs": 5}'
    assert json_answer.predict([out("s", STRING, b"a")], False) == b'{"outputs": "a"}'


def test_several_outputs_are_objects() -> None:
    strings = [[b"foo", b"bar"], [b"baz", b"bat"]]
    outputs = [
        out("double", DOUBLE, [8.0, 9.0]),
        out("float", FLOAT, [[1.0], [2.0]]),
        out("int", INT32, [[[1, 2], [3, 4]], [[7, 8], [9, 0]]]),
        out("str", STRING, strings),
        out("str_bytes", STRING, strings),
        out("truth", BOOL, [True, False]),
    ]
    rows = json.loads(json_answer.predict(outputs, True))
    assert rows == {
        "predictions": [
            {"double": 8.0, "float": [1.0], "int": [[1, 2], [3, 4]], "str": ["foo", "bar"],
             "str_bytes": [{"b64": "Zm9v"}, {"b64": "YmFy"}], "truth": True},
            {"double": 9.0, "float": [2.0], "int": [[7, 8], [9, 0]], "str": ["baz", "bat"],
             "str_bytes": [{"b64": "YmF6"}, {"b64": "YmF0"}], "truth": False},
        ]
    }  # fmt: skip
    columns = json.loads(json_answer.predict(outputs, False))["outputs"]
    assert list(columns) == ["double", "float", "int", "str", "str_bytes", "truth"]
    assert columns["str_bytes"] == [[{"b64": "Zm9v"}, {"b64": "YmFy"}], [{"b64": "YmF6"}, {"b64": "YmF0"}]]
    assert columns["int"] == [[[1, 2], [3, 4]], [[7, 8], [9, 0]]]


def test_the_text_of_several_outputs_in_rows() -> None:
    outputs = [out("a", FLOAT, [1.0, 0.1]), out("b", INT64, [[1, 2], [3, 4]])]
    assert json_answer.predict(outputs, True) == (b'{"predictions": [{"a": 1.0, "b": [1,2]}, {"a": 0.1, "b": [3,4]}]}')
    assert json_answer.predict(outputs, False) == b'{"outputs": {"a": [1.0,0.1], "b": [[1,2],[3,4]]}}'


def test_floats_are_shortest_and_always_show_a_point_or_an_exponent() -> None:
    values = [1.0, 0.1, 1e-7, 9000000.0, 1e22, 123456789.0, -0.0, 3.4028235e38]
    assert json_answer.predict([out("y", FLOAT, values)], True) == (
        b'{"predictions": [1.0,0.1,1e-7,9000000.0,1e+22,123456790.0,-0.0,3.4028235e+38]}'
    )
    assert json_answer.predict([out("y", DOUBLE, values)], True) == (
        b'{"predictions": [1.0,0.1,1e-7,9000000.0,1e+22,123456789.0,-0.0,3.4028235e+38]}'
    )
    assert json_answer.predict([out("y", HALF, [0.1, 2.0, math.inf])], True) == (
        b'{"predictions": [0.099975586,2.0,Infinity]}'
    )


def test_what_is_not_finite_is_a_bare_token() -> None:
    values = [[math.nan, math.inf], [3.0, -math.inf]]
    expected = b"[[NaN,Infinity],[3.0,-Infinity]]"
    assert json_answer.predict([out("y", FLOAT, values)], True) == b'{"predictions": ' + expected + b"}"
    assert json_answer.predict([out("y", FLOAT, math.nan)], False) == b'{"outputs": NaN}'
    two = [out("x", DOUBLE, values), out("y", FLOAT, [math.nan, 1.0])]
    assert json_answer.predict(two, True) == (
        b'{"predictions": [{"x": [NaN,Infinity], "y": NaN}, {"x": [3.0,-Infinity], "y": 1.0}]}'
    )


def test_arrays_need_not_be_contiguous() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert json_answer.predict([("y", FLOAT, values)], True) == b'{"predictions": [[0.0,3.0],[1.0,4.0],[2.0,5.0]]}'


def test_rows_need_one_first_dimension() -> None:
    assert message([]) == "Cannot convert empty tensor map to JSON"
    assert message([out("y", INT32, 1)]) == "Tensor name: y has no shape information "
    assert message([out("a", INT32, [[1, 2]]), out("b", INT32, [1, 2])]) == (
        "Tensor name: b has inconsistent batch size: 2 expecting: 1"
    )
    assert json_answer.predict([out("a", INT32, [[1, 2]]), out("b", INT32, [1, 2])], False)


def test_no_rows_are_an_empty_list() -> None:
    nothing = [("a", INT32, np.zeros((0, 2), np.int32)), ("b", STRING, np.zeros((0, 1), object))]
    assert json_answer.predict(nothing, True) == b'{"predictions": []}'
    assert json_answer.predict(nothing[:1], True) == b'{"predictions": []}'
    assert message([nothing[0], out("b", STRING, [b"x"])]).endswith("has inconsistent batch size: 1 expecting: 0")


@pytest.mark.parametrize(("dtype", "name"), [(8, "complex64"), (14, "bfloat16"), (17, "uint16")])
def test_types_without_json_are_named(dtype: int, name: str) -> None:
    expected = f"Failed to write JSON value for tensor type: {name}"
    assert message([out("y", dtype, [1])]) == expected
    assert message([out("x", INT32, [1]), out("y", dtype, [1])], row_format=False) == expected


def test_strings_that_are_no_utf8_pass_as_they_are() -> None:
    text = json_answer.predict([out("s", STRING, [b'a"\xff', "é\n".encode()])], True)
    assert text == b'{"predictions": ["a\\"\xff","\xc3\xa9\\n"]}'


def nested(values: np.ndarray, as_bytes: bool) -> object:
    if isinstance(values, list):
        return [nested(value, as_bytes) for value in values]
    if isinstance(values, bytes):
        return {"b64": base64.b64encode(values).decode()} if as_bytes else values.decode()
    return values


SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([1, 2, 3, 4, 5, 6, 9, 10, 19, 22, 23]))
def test_any_array_reads_back_the_same(data: st.DataObject, dtype: int) -> None:
    values = data.draw(hnp.arrays(DTYPES[dtype], SHAPES))
    single = json.loads(json_answer.predict([("y", dtype, values)], True))["predictions"]
    np.testing.assert_array_equal(np.array(single, DTYPES[dtype]).reshape(values.shape), values)
    both = json.loads(json_answer.predict([("x", dtype, values), ("y", dtype, values)], True))["predictions"]
    for name in ("x", "y"):
        assert str([row[name] for row in both]) == str(single)
    columns = json.loads(json_answer.predict([("x", dtype, values), ("y", dtype, values)], False))["outputs"]
    assert str(columns["x"]) == str(columns["y"]) == str(single)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(object, SHAPES, elements=st.text(alphabet='a"],[\\\n{}é').map(str.encode)))
def test_any_text_reads_back_the_same(values: np.ndarray) -> None:
    outputs = [("s", STRING, values), ("s_bytes", STRING, values)]
    found = json.loads(json_answer.predict(outputs, True))["predictions"]
    assert [row["s"] for row in found] == nested(values.tolist(), False)
    assert [row["s_bytes"] for row in found] == nested(values.tolist(), True)
    whole = json.loads(json_answer.predict(outputs, False))["outputs"]
    assert whole["s"] == nested(values.tolist(), False)
    assert whole["s_bytes"] == nested(values.tolist(), True)


def test_classifications_are_lists_of_label_and_score() -> None:
    result = classification_pb2.ClassificationResult()
    for labels, scores in ((["car", "", 'b"'], [0.2, math.nan, 1.0]), ([], []), (["car"], [12.0])):
        example = result.classifications.add()
        for label, score in zip(labels, scores, strict=True):
            example.classes.add(label=label, score=score)
    assert json_answer.classifications(result) == (
        b'{"results": [[["car", 0.2], ["", NaN], ["b\\"", 1.0]], [], [["car", 12.0]]]}'
    )


def test_regressions_are_a_list_of_values() -> None:
    values = (0.2, math.inf, 1.0, -math.inf, math.nan)
    result = regression_pb2.RegressionResult(regressions=[regression_pb2.Regression(value=v) for v in values])
    assert json_answer.regressions(result) == b'{"results": [0.2,Infinity,1.0,-Infinity,NaN]}'


def test_empty_results_are_errors() -> None:
    with pytest.raises(ServingError, match=r"^Cannot convert empty ClassificationResults to JSON$"):
        json_answer.classifications(classification_pb2.ClassificationResult())
    with pytest.raises(ServingError, match=r"^Cannot convert empty RegressionResults to JSON$"):
        json_answer.regressions(regression_pb2.RegressionResult())


def test_an_error_is_an_object_with_one_key() -> None:
    assert json_answer.error('Bad key: "key"\n') == b'{"error": "Bad key: \\"key\\"\\n"}'
    assert json.loads(json_answer.error("\ud800")) == {"error": "\ud800"}
