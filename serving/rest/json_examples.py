"""The examples of classify and regress requests.

Reference: tensorflow_serving/util/json_tensor.cc (FillClassifyRegressRequestFromJson, MakeExampleFromJsonObject,
AddValueToFeature).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from modules.native.protos import Example, input_pb2
from serving.errors import invalid
from serving.rest.json_array import FLOAT_MAX, decode_base64, is_base64
from serving.rest.json_document import quote, type_name

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def fill_input(document: Mapping[str, Any], target: input_pb2.Input) -> None:
    """Writes a body's `examples`, and its `context`, into an Input.

    A number with a decimal point becomes a float, another an int64, true and false 1 and 0, text and {"b64": ...}
    bytes; one feature holds one kind.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if "context" in document:
        context = target.example_list_with_context.context
        context.SetInParent()
        _fill_example(document["context"], context)
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {quote(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if type(examples) is not list:
        raise invalid(f"JSON Value: {quote(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {quote(document)} 'examples' value is an empty array")
    into = target.example_list_with_context if "context" in document else target.example_list
    for example in examples:
        _fill_example(example, into.examples.add())


def _fill_example(value: Any, example: Example) -> None:
    if type(value) is not dict:
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    features = example.features.feature
    for name, content in value.items():
        feature = features[name]
        values = content if type(content) is list else [content]
        if not values:
            continue
        kind, numbers = _convert(name, values)
        getattr(feature, kind).value.extend(numbers)


def _convert(name: str, values: list) -> tuple[str, list]:
    types = set(map(type, values))
    if types == {float} and all(abs(v) <= FLOAT_MAX or math.isinf(v) or v != v for v in values):
        return "float_list", values
    if types <= {int, bool} and min(values) >= -(1 << 63) and max(values) < 1 << 63:
        return "int64_list", values
    if types == {str}:
        return "bytes_list", list(map(str.encode, values))
    return _convert_slowly(name, values)


def _convert_slowly(name: str, values: list) -> tuple[str, list]:
    """Value by value, in the order in which upstream finds faults."""
    kind, converted = "", []
    for value in values:
        found, number = _convert_one(name, value, kind)
        kind = kind or found
        if found != kind:
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {_KINDS[kind]}")
        converted.append(number)
    return kind, converted


def _convert_one(name: str, value: Any, kind: str) -> tuple[str, Any]:
    if type(value) is str:
        return "bytes_list", value.encode()
    if type(value) is float:
        if kind in ("", "float_list") and abs(value) > FLOAT_MAX and not math.isinf(value):
            raise invalid(f"Cannot convert JSON value: {quote(value)} to float without loss of precision.")
        return "float_list", value
    if type(value) in (int, bool):
        if kind in ("", "int64_list") and value >= 1 << 63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", value
    if not is_base64(value):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    return "bytes_list", decode_base64(value["b64"]) if kind in ("", "bytes_list") else b""
