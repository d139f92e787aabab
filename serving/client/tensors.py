"""Lists as TensorProtos and back, without NumPy: a client should start in a fraction of a second."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from modules.native.protos import DataType, TensorProto

FLOAT, DOUBLE, INT32, STRING, INT64, BOOL = 1, 2, 3, 7, 9, 10

FLOATS, INTEGERS = (FLOAT, DOUBLE), (INT32, INT64)

_CODES = {FLOAT: "f", DOUBLE: "d", INT32: "i", INT64: "q", BOOL: "B"}
_FIELDS = {
    FLOAT: "float_val",
    DOUBLE: "double_val",
    INT32: "int_val",
    STRING: "string_val",
    INT64: "int64_val",
    BOOL: "bool_val",
}


def dtype_name(dtype: int) -> str:
    """As TensorFlow writes it, e.g. "float"; the number if it has no name."""
    try:
        return DataType.Name(dtype).removeprefix("DT_").lower()
    except ValueError:
        return str(dtype)


def typecode(dtype: int) -> str | None:
    """Of the `array.array` that holds such values; None for strings."""
    return _CODES.get(dtype)


def numbers(dtype: int, values: Sequence[float]) -> array:
    """Values of a TF_DataType in memory; too large a float becomes infinite, too large an integer is OverflowError."""
    return array(_CODES[dtype], values)


def vector(dtype: int, values: array | Sequence[bytes]) -> TensorProto:
    """A tensor `[len(values)]` of strings, or of what `numbers` made."""
    proto = TensorProto(dtype=dtype)
    proto.tensor_shape.dim.add().size = len(values)
    if isinstance(values, array):
        proto.tensor_content = values.tobytes()
    else:
        proto.string_val.extend(values)
    return proto


def flat(proto: TensorProto) -> tuple[list[Any], tuple[int, ...]]:
    """Values in row-major order, and the shape.

    Raises:
      TypeError: a type that no answer of this project's models has.
    """
    if proto.dtype not in _FIELDS:
        raise TypeError(f"tensors of type {dtype_name(proto.dtype)} are not understood")
    shape = tuple(d.size for d in proto.tensor_shape.dim)
    size = math.prod(shape)
    if proto.tensor_content and proto.dtype in _CODES:
        return array(_CODES[proto.dtype], proto.tensor_content).tolist(), shape
    values = list(getattr(proto, _FIELDS[proto.dtype]))
    if values and len(values) < size:
        # The last value stands for all that follow (tensorflow/core/framework/tensor.proto).
        values += values[-1:] * (size - len(values))
    return values, shape
