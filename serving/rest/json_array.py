"""JSON values and nested lists as arrays.

Large lists are flattened level by level and converted as a whole; types are checked exactly (true is no number, 1.0 no
integer). What the fast way refuses is walked value by value for the message that upstream gives.

Reference: tensorflow_serving/util/json_tensor.cc (FillTensorProto, AddValueToTensor).
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from modules.native.tensor import DTYPES, STRING
from serving.errors import Code, ServingError, invalid
from serving.rest.json_document import quote, type_name

# TF_DataType -> DataTypeString (tensorflow/core/framework/types.cc).
TYPE_NAMES: dict[int, str] = {
    1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", STRING: "string", 8: "complex64",
    9: "int64", 10: "bool", 14: "bfloat16", 17: "uint16", 18: "complex128", 19: "half", 22: "uint32", 23: "uint64",
}  # fmt: skip

FLOAT_MAX = float(np.finfo(np.float32).max)
FLOAT_MAX_INT = (1 << 24) - 1  # the largest integer that a float takes (IsLosslessDecimal)
_FEW = 16  # up to so many values a loop is faster than NumPy
_MAX_RANK = 64  # NumPy's


def to_array(value: Any, dtype: int) -> np.ndarray:
    """A JSON value or nested list as an array of the shape that its first elements show.

    Args:
      value: of orjson's types.
      dtype: TF_DataType.

    Raises:
      ServingError: the message names the first value that does not fit.
    """
    array = fast_array(value, dtype)
    if array is None:
        walk(value, 0, first_shape(value), dtype)
        raise invalid(f"JSON Value: {quote(value)} cannot be converted to type: {TYPE_NAMES.get(dtype, dtype)}")
    return array


def is_base64(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


# The fast way: None means that something does not fit.


def fast_array(value: Any, dtype: int) -> np.ndarray | None:
    convert = _CONVERT.get(dtype)
    if convert is None:
        return None
    if type(value) is not list:
        array = convert([value])
        return None if array is None else array.reshape(())
    shape, level = [len(value)], value
    while level and type(level[0]) is list:
        width = len(level[0])
        if set(map(type, level)) != {list} or set(map(len, level)) != {width}:
            return None
        shape.append(width)
        level = list(chain.from_iterable(level))
    if len(shape) > _MAX_RANK:
        raise invalid(f"JSON Value: a tensor of rank {len(shape)}; {_MAX_RANK} is the highest")
    if not level:
        return np.empty(shape, DTYPES[dtype])
    array = convert(level)
    return array if array is None or len(shape) == 1 else array.reshape(shape)


def _floats(values: list, dtype: np.dtype, largest: float, largest_int: int) -> np.ndarray | None:
    if len(values) <= _FEW:
        for value in values:
            if type(value) is float:
                if abs(value) > largest and not math.isinf(value):
                    return None
            elif type(value) is not int or not -largest_int <= value <= largest_int:
                return None
        return np.array(values, dtype)
    types = set(map(type, values))
    if not types <= {float, int}:
        return None
    array = np.array(values, np.float64)
    size = np.abs(array)
    if float in types and bool(((size > largest) & (size != np.inf)).any()):
        return None
    # Only integers are held to the exactly representable range, so look closer if a large number may be one.
    if int in types and bool((size > largest_int).any()):
        integers = [value for value in values if type(value) is int]
        if max(integers) > largest_int or min(integers) < -largest_int:
            return None
    return array.astype(dtype, copy=False)


def _integers(values: list, dtype: np.dtype, lowest: int, highest: int) -> np.ndarray | None:
    if set(map(type, values)) != {int} or min(values) < lowest or max(values) > highest:
        return None
    return np.array(values, dtype)


def _booleans(values: list) -> np.ndarray | None:
    return np.array(values, np.bool_) if set(map(type, values)) == {bool} else None


def _strings(values: list) -> np.ndarray | None:
    types = set(map(type, values))
    array = np.empty(len(values), object)
    if types == {str}:
        array[:] = list(map(str.encode, values))
    elif types == {dict} and set(map(len, values)) == {1}:
        try:
            array[:] = list(map(_strict_base64, map(itemgetter("b64"), values)))
        except (KeyError, TypeError, ValueError):
            return _mixed_strings(values, array)
    elif types <= {str, dict}:
        return _mixed_strings(values, array)
    else:
        return None
    return array


def _mixed_strings(values: list, array: np.ndarray) -> np.ndarray | None:
    if not all(type(value) is str or is_base64(value) for value in values):
        return None
    try:
        array[:] = [value.encode() if type(value) is str else decode_base64(value["b64"]) for value in values]
    except ServingError:
        return None
    return array


_base64 = partial(binascii.a2b_base64, strict_mode=True)


def _strict_base64(text: str) -> bytes:
    if type(text) is not str:
        raise TypeError
    return _base64(text)


def decode_base64(text: str) -> bytes:
    """Base64 as absl::Base64Unescape takes it: white space anywhere, padding whole or absent.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    try:
        return _base64(text)
    except ValueError:
        text = "".join(text.split())
        try:
            return _base64(text if text.endswith("=") else text + "=" * (-len(text) % 4))
        except ValueError:
            raise invalid("Unable to base64 decode") from None


def _integer_type(dtype: int) -> Callable[[list], np.ndarray | None]:
    info = np.iinfo(DTYPES[dtype])
    return partial(_integers, dtype=DTYPES[dtype], lowest=int(info.min), highest=int(info.max))


_CONVERT: dict[int, Callable[[list], np.ndarray | None]] = {
    1: partial(_floats, dtype=DTYPES[1], largest=FLOAT_MAX, largest_int=FLOAT_MAX_INT),
    2: partial(_floats, dtype=DTYPES[2], largest=float(np.finfo(np.float64).max), largest_int=(1 << 53) - 1),
    STRING: _strings,
    10: _booleans,
    **{dtype: _integer_type(dtype) for dtype in (3, 4, 5, 6, 9, 22, 23)},
}


# The slow way, for messages.


def first_shape(value: Any) -> list[int]:
    shape = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def walk(value: Any, level: int, shape: list[int], dtype: int) -> int:
    """Counts the values; raises for the first that is at a wrong place or of a wrong type (FillTensorProto)."""
    if type(value) is not list:
        if level != len(shape):
            raise invalid(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                f"level: {len(shape)}"
            )
        _check(value, dtype)
        return 1
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    return sum(walk(item, level + 1, shape, dtype) for item in value)


def _check(value: Any, dtype: int) -> None:
    """Raises if a value does not fit the type (AddValueToTensor)."""
    convert, name = _CONVERT.get(dtype), TYPE_NAMES.get(dtype, str(dtype))
    if convert is not None and convert([value]) is not None:
        return
    if type(value) is dict and dtype == STRING:
        if not is_base64(value):
            raise invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
        decode_base64(value["b64"])
    if convert is None and type(value) is not dict:
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {quote(value)} to type: {name}")
    if dtype in (1, 2) and type(value) in (int, float):
        raise invalid(f"Cannot convert JSON value: {quote(value)} to {name} without loss of precision.")
    raise invalid(f"JSON Value: {quote(value)} Type: {type_name(value)} is not of expected type: {name}")
