"""TensorProto to NumPy and back, by the rules of TensorFlow's Tensor::FromProto and Tensor::AsProtoField.

Reference: tensorflow/core/framework/tensor.cc, tensorflow/core/framework/tensor.proto.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import EncodeError

from modules.native.protos import TensorProto
from modules.native.tensor import DTYPES, STRING
from serving.errors import Code, ServingError, invalid

# A typed field with fewer values than its shape asks for is filled up with the last one. A request of a few bytes may
# take no more memory than this that way: 16 million floats. TensorFlow itself would allocate whatever is declared.
MAX_FILL_BYTES = 1 << 26
# What one more string costs in TensorFlow's memory, its characters aside.
_STRING_BYTES = 24
_MAX_ELEMENTS = (1 << 63) - 1
# From here on one copy of the wire format is faster than a list of Python numbers.
_PACKED_VALUES = 64
_MAX_FIELDS = 32
_BOOL = 10


@dataclass(frozen=True, slots=True)
class _Field:
    """Where a type's values are in a TensorProto.

    Args:
      name: of the repeated field.
      number: of the repeated field.
      wire: NumPy dtype of its values.
      view: NumPy dtype that `wire` is cut to, bits kept, before it is seen as the type itself.
      width: values in the field for one element.
      fixed: one value takes `wire.itemsize` bytes in the wire format, as they are in memory.
    """

    name: str
    number: int
    wire: np.dtype
    view: np.dtype
    width: int = 1
    fixed: bool = False


def _field(name: str, number: int, wire: str, view: str | None = None, width: int = 1, fixed: bool = False) -> _Field:
    return _Field(name, number, np.dtype(wire), np.dtype(view or wire), width, fixed)


_FIELDS: dict[int, _Field] = {
    1: _field("float_val", 5, "<f4", fixed=True),
    2: _field("double_val", 6, "<f8", fixed=True),
    3: _field("int_val", 7, "<i4"),
    4: _field("int_val", 7, "<i4", "u1"),
    5: _field("int_val", 7, "<i4", "<i2"),
    6: _field("int_val", 7, "<i4", "i1"),
    8: _field("scomplex_val", 9, "<f4", width=2, fixed=True),
    9: _field("int64_val", 10, "<i8"),
    _BOOL: _field("bool_val", 11, "?", fixed=True),
    14: _field("half_val", 13, "<i4", "<u2"),
    17: _field("int_val", 7, "<i4", "<u2"),
    18: _field("dcomplex_val", 12, "<f8", width=2, fixed=True),
    19: _field("half_val", 13, "<i4", "<u2"),
    22: _field("uint32_val", 16, "<u4"),
    23: _field("uint64_val", 17, "<u8"),
}
TYPES: dict[np.dtype, int] = {numpy_dtype: dtype for dtype, numpy_dtype in DTYPES.items()}


def decode(proto: TensorProto, alias: str = "") -> tuple[int, np.ndarray]:
    """What TensorFlow reads out of a TensorProto.

    `tensor_content` goes before the typed field. A typed field with more values than the shape holds is cut, one with
    fewer is filled up with its last value, an empty one means zeros or empty strings. A shape of unknown rank without
    dimensions is a scalar.

    Args:
      proto: a tensor of one of the types in `modules.native.tensor.DTYPES`.
      alias: what the error calls it.

    Returns:
      TF_DataType and a NumPy array of the type's dtype; strings are objects that hold bytes. It may be
      read-only.

    Raises:
      ServingError: INVALID_ARGUMENT `tensor parsing error: ALIAS`: another type, a negative or overflowing dimension,
        more than 64 dimensions, content of the wrong length, bools besides 0 and 1, or values that would
        have to be repeated over more than MAX_FILL_BYTES bytes. Memory is never allocated for what a shape declares
        alone.
    """
    dtype = proto.dtype
    shape = tuple([dim.size for dim in proto.tensor_shape.dim])
    count = _elements(shape)
    if count < 0 or dtype not in DTYPES:
        raise _unreadable(alias)
    if not count:
        flat = np.empty(0, DTYPES[dtype])
    else:
        content = proto.tensor_content
        if dtype == STRING:
            flat = _strings_in(content, count, alias) if content else _string_values(proto.string_val, count, alias)
        else:
            flat = _content(content, dtype, count, alias) if content else _values(proto, dtype, count, alias)
    try:
        return dtype, flat.reshape(shape)
    except ValueError as error:
        # NumPy holds no more than 64 dimensions, and no zero-sized array beside dimensions whose product overflows.
        raise _unreadable(alias) from error


def encode(array: np.ndarray, dtype: int) -> TensorProto:
    """A TensorProto with the values in its typed field, as TensorFlow Serving answers.

    Args:
      array: values, converted to the type where they have another one.
      dtype: TF_DataType.

    Raises:
      ServingError: UNIMPLEMENTED, `dtype` is not one of `modules.native.tensor.DTYPES`.
    """
    if dtype not in DTYPES:
        raise ServingError(Code.UNIMPLEMENTED, f"Tensors of type {type_name(dtype)} cannot be encoded")
    proto = TensorProto()
    fill(proto, np.asarray(array, DTYPES[dtype]))
    return proto


def fill(proto: TensorProto, array: np.ndarray) -> None:
    """Writes an array into an empty TensorProto, as `encode`, under the type that its dtype stands for.

    Args:
      proto: empty.
      array: of a dtype in `modules.native.tensor.DTYPES`.
    """
    dtype = TYPES[array.dtype]
    header = _header(dtype, array.shape)
    if dtype == STRING:
        proto.MergeFromString(header)
        if array.size:
            proto.string_val.extend(array.reshape(-1).tolist())
        return
    field = _FIELDS[dtype]
    if not field.fixed:
        proto.MergeFromString(header)
        values = array.reshape(-1)
        if field.view != field.wire:
            values = values.view(field.view)
        if array.size:
            getattr(proto, field.name).extend(values.tolist())
        return
    data = (array.view(np.uint8) != 0).tobytes() if dtype == _BOOL and array.ndim else array.tobytes()
    if data:
        header += _tag(field.number) + varint(len(data))
    proto.MergeFromString(header + data)


def type_name(dtype: int) -> str:
    """TensorFlow's short name of a type, as in its messages: `float`, `int64`, `string`."""
    return _TYPE_NAMES.get(dtype) or f"unknown dtype enum ({dtype})"


def varint(value: int) -> bytes:
    """A non-negative number in the wire format."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)


# tensorflow/core/framework/types.cc, DataTypeStringInternal.
_TYPE_NAMES = {
    0: "INVALID",
    1: "float",
    2: "double",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    19: "half",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
}


def _unreadable(alias: str) -> ServingError:
    return invalid(f"tensor parsing error: {alias}")


def _elements(shape: Sequence[int]) -> int:
    """Number of elements; -1 for a negative dimension or one that overflows 64 bits on the way."""
    count = 1
    for size in shape:
        count *= size
        if size < 0 or count > _MAX_ELEMENTS:
            return -1
    return count


def _content(content: bytes, dtype: int, count: int, alias: str) -> np.ndarray:
    numpy_dtype = DTYPES[dtype]
    if len(content) != count * numpy_dtype.itemsize:
        raise _unreadable(alias)
    if dtype == _BOOL:
        flags = np.frombuffer(content, np.uint8)
        if flags.max() > 1:
            raise _unreadable(alias)
        return flags.view(np.bool_)
    return np.frombuffer(content, numpy_dtype)


def _values(proto: TensorProto, dtype: int, count: int, alias: str) -> np.ndarray:
    field = _FIELDS[dtype]
    values = getattr(proto, field.name)
    given = min(len(values) // field.width, count)
    number = given * field.width
    packed = _packed(proto, field, len(values)) if field.fixed and number >= _PACKED_VALUES else None
    raw = packed[:number] if packed is not None else np.fromiter(values, field.wire, number)
    flat = raw.astype(field.view, copy=False).view(DTYPES[dtype])
    return flat if given == count else _filled(flat, count, alias)


def _packed(proto: TensorProto, field: _Field, number: int) -> np.ndarray | None:
    """The values of a field of fixed width, read from the wire format; None where that is not plainly there."""
    try:
        data = proto.SerializeToString()
    except EncodeError:
        return None
    position = 0
    for _ in range(_MAX_FIELDS):
        if position >= len(data):
            return None
        tag, position = _read_varint(data, position)
        wire_type = tag & 7
        if wire_type == 2:
            length, position = _read_varint(data, position)
            if tag >> 3 == field.number:
                if length != number * field.wire.itemsize:
                    return None
                return np.frombuffer(data, field.wire, number, position)
            position += length
        elif wire_type == 0:
            _, position = _read_varint(data, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            return None
    return None


def _read_varint(data: bytes, position: int, most: int = 10) -> tuple[int, int]:
    """A number of at most `most` bytes and the position behind it.

    Raises:
      IndexError: the data ends within it, or it is longer.
    """
    value = 0
    for i in range(most):
        byte = data[position + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, position + i + 1
    raise IndexError(position)


def _filled(flat: np.ndarray, count: int, alias: str) -> np.ndarray:
    if count * flat.itemsize > MAX_FILL_BYTES:
        raise _unreadable(alias)
    if not len(flat):
        return np.zeros(count, flat.dtype)
    result = np.empty(count, flat.dtype)
    result[: len(flat)] = flat
    result[len(flat) :] = flat[-1]
    return result


def _string_values(values: Sequence[bytes], count: int, alias: str) -> np.ndarray:
    given = min(len(values), count)
    if given == 1 == count:
        result = np.empty(1, object)
        result[0] = values[0]
        return result
    flat = np.fromiter(values, object, given)
    if given == count:
        return flat
    last = flat[-1] if given else b""
    if (count - given) * (_STRING_BYTES + len(last)) > MAX_FILL_BYTES:
        raise _unreadable(alias)
    result = np.empty(count, object)
    result[:given] = flat
    result[given:] = last
    return result


def _strings_in(content: bytes, count: int, alias: str) -> np.ndarray:
    """Strings as tensorflow::port::EncodeStringList writes them: all lengths, then all characters."""
    if count > len(content):
        raise _unreadable(alias)
    position, lengths = 0, []
    try:
        for _ in range(count):
            length, position = _read_varint(content, position, 5)
            lengths.append(length & 0xFFFFFFFF)
    except IndexError as error:
        raise _unreadable(alias) from error
    if sum(lengths) != len(content) - position:
        raise _unreadable(alias)
    result = np.empty(count, object)
    for i, length in enumerate(lengths):
        result[i] = content[position : position + length]
        position += length
    return result


@functools.lru_cache(4096)
def _header(dtype: int, shape: tuple[int, ...]) -> bytes:
    """The fields dtype and tensor_shape in the wire format."""
    dims = b""
    for size in shape:
        # A dimension of zero is a message without fields, as protobuf writes defaults.
        dim = _tag(1, 0) + varint(size) if size else b""
        dims += _tag(2) + varint(len(dim)) + dim
    return _tag(1, 0) + varint(dtype) + _tag(2) + varint(len(dims)) + dims


@functools.cache
def _tag(number: int, wire_type: int = 2) -> bytes:
    return varint(number << 3 | wire_type)
