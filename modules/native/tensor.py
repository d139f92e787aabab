"""NumPy arrays as TF_Tensors and back. Strings are arrays of objects that hold bytes."""

from __future__ import annotations

import ctypes

import ml_dtypes
import numpy as np

from modules.native.library import fast_library, library

STRING = 7
_TSTRING_BYTES = 24
_LARGE = 1 << 16

# TF_DataType (tensorflow/c/tf_datatype.h, types.proto) -> NumPy.
DTYPES: dict[int, np.dtype] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    STRING: np.dtype(object),
    8: np.dtype(np.complex64),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}


def to_tensor(dtype: int, array: np.ndarray) -> int:
    """A new TF_Tensor with a copy of the array; the caller deletes it.

    Args:
      dtype: TF_DataType, a key of DTYPES.
      array: of the dtype DTYPES names; objects are bytes.
    """
    lib = fast_library()
    dims = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
    if dtype != STRING:
        data = np.ascontiguousarray(array)
        tensor = lib.TF_AllocateTensor(dtype, dims, array.ndim, data.nbytes)
        if data.nbytes:
            ctypes.memmove(lib.TF_TensorData(tensor), data.ctypes.data, data.nbytes)
        return tensor
    tensor = lib.TF_AllocateTensor(dtype, dims, array.ndim, _TSTRING_BYTES * array.size)
    if array.size:
        slot = lib.TF_TensorData(tensor)
        # An empty small string is all zeros (tensorflow/core/platform/ctstring_internal.h).
        ctypes.memset(slot, 0, _TSTRING_BYTES * array.size)
        copy = lib.TF_StringCopy
        for value in array.reshape(-1).tolist():
            copy(slot, value, len(value))
            slot += _TSTRING_BYTES
    return tensor


def to_array(tensor: int) -> np.ndarray:
    """A copy of a TF_Tensor's values; the tensor stays the caller's to delete.

    Raises:
      TypeError: a type without values, such as a resource.
    """
    lib = fast_library()
    dtype = lib.TF_TensorType(tensor)
    numpy_dtype = DTYPES.get(dtype)
    if numpy_dtype is None:
        raise TypeError(f"tensors of TensorFlow's type {dtype} hold no values that can be answered")
    shape = tuple(lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor)))
    if dtype != STRING:
        size = lib.TF_TensorByteSize(tensor)
        result = np.empty(shape, numpy_dtype)
        if size:
            # A large copy lets others run meanwhile.
            move = library().TF_TensorData if size > _LARGE else lib.TF_TensorData
            ctypes.memmove(result.ctypes.data, move(tensor), size)
        return result
    result = np.empty(int(np.prod(shape)), object)
    if len(result):
        slot = lib.TF_TensorData(tensor)
        for i in range(len(result)):
            result[i] = ctypes.string_at(lib.TF_StringGetDataPointer(slot), lib.TF_StringGetSize(slot))
            slot += _TSTRING_BYTES
    return result.reshape(shape)
