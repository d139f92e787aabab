"""Loads a SavedModel through TensorFlow's C library and answers requests: the loader of the C++ server itself.

Runs in a process of its own that never imports the tensorflow package (`python -m modules.serving_check.c_session
requests.json answers.json`): the package's Python bindings and this library would register every op twice.
Reference: tensorflow/c/c_api.h, TF_LoadSessionFromSavedModel; tensorflow/c/tf_tstring.h.
"""

from __future__ import annotations

import base64
import ctypes
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

_STRING = 7
_NUMPY = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}
_TSTRING_BYTES = 24


class _Output(ctypes.Structure):
    """TF_Output: an operation and which of its outputs."""

    _fields_ = (("oper", ctypes.c_void_p), ("index", ctypes.c_int))


class CSession:
    """A SavedModel in a session of the C library.

    Raises:
      RuntimeError: whatever the library reports, e.g. a missing variable.
    """

    def __init__(self, model_dir: str) -> None:
        self._lib = _library()
        lib = self._lib
        self._status = ctypes.c_void_p(lib.TF_NewStatus())
        self._graph = ctypes.c_void_p(lib.TF_NewGraph())
        options = ctypes.c_void_p(lib.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = ctypes.c_void_p(
            lib.TF_LoadSessionFromSavedModel(
                options, None, model_dir.encode(), tags, 1, self._graph, None, self._status
            )
        )
        self._check()

    def run(self, inputs: dict[str, tuple[int, np.ndarray]], outputs: list[str]) -> list[np.ndarray]:
        """Runs the graph.

        Args:
          inputs: tensor name -> (TF_DataType, array; objects of bytes for strings).
          outputs: tensor names.
        """
        lib = self._lib
        keep: list[Any] = []
        feeds = (_Output * len(inputs))(*[self._output(name) for name in inputs])
        values = (ctypes.c_void_p * len(inputs))(*[self._tensor(t, a, keep) for t, a in inputs.values()])
        fetches = (_Output * len(outputs))(*[self._output(name) for name in outputs])
        results = (ctypes.c_void_p * len(outputs))()
        lib.TF_SessionRun(
            self._session, None, feeds, values, len(inputs), fetches, results, len(outputs), None, 0, None, self._status
        )
        self._check()
        return [self._array(ctypes.c_void_p(r)) for r in results]

    def _output(self, name: str) -> _Output:
        operation, _, index = name.partition(":")
        pointer = self._lib.TF_GraphOperationByName(self._graph, operation.encode())
        if not pointer:
            raise RuntimeError(f"the graph has no operation {operation!r}")
        return _Output(pointer, int(index or 0))

    def _tensor(self, dtype: int, array: np.ndarray, keep: list[Any]) -> int:
        lib = self._lib
        dims = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
        if dtype != _STRING:
            data: np.ndarray = np.ascontiguousarray(array, _NUMPY[dtype])
            tensor = lib.TF_AllocateTensor(dtype, dims, array.ndim, data.nbytes)
            ctypes.memmove(lib.TF_TensorData(ctypes.c_void_p(tensor)), data.ctypes.data, data.nbytes)
            return tensor
        tensor = lib.TF_AllocateTensor(dtype, dims, array.ndim, _TSTRING_BYTES * array.size)
        base = lib.TF_TensorData(ctypes.c_void_p(tensor)) if array.size else 0
        for i, value in enumerate(array.reshape(-1)):
            slot = ctypes.c_void_p(base + i * _TSTRING_BYTES)
            lib.TF_StringInit(slot)
            lib.TF_StringCopy(slot, value, len(value))
        keep.append(array)
        return tensor

    def _array(self, tensor: ctypes.c_void_p) -> np.ndarray:
        lib = self._lib
        dtype = lib.TF_TensorType(tensor)
        shape = [lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor))]
        count = int(np.prod(shape))
        data = lib.TF_TensorData(tensor)
        if dtype != _STRING:
            size = count * np.dtype(_NUMPY[dtype]).itemsize
            return np.frombuffer(ctypes.string_at(data, size), _NUMPY[dtype]).reshape(shape)
        result = np.empty(count, object)
        for i in range(count):
            slot = ctypes.c_void_p(data + i * _TSTRING_BYTES)
            result[i] = ctypes.string_at(lib.TF_StringGetDataPointer(slot), lib.TF_StringGetSize(slot))
        return result.reshape(shape)

    def _check(self) -> None:
        if self._lib.TF_GetCode(self._status):
            raise RuntimeError(self._lib.TF_Message(self._status).decode(errors="replace"))


def encode(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON; `dtype` is numpy's name, "object" for bytes."""
    if array.dtype == object:
        values = [base64.b64encode(v).decode() for v in array.reshape(-1)]
        return {"dtype": "object", "shape": list(array.shape), "strings": values}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def decode(value: dict[str, Any]) -> np.ndarray:
    """The inverse of `encode`."""
    if value["dtype"] == "object":
        result = np.empty(len(value["strings"]), object)
        result[:] = [base64.b64decode(v) for v in value["strings"]]
        return result.reshape(value["shape"])
    return np.frombuffer(base64.b64decode(value["data"]), value["dtype"]).reshape(value["shape"])


def _library() -> ctypes.CDLL:
    """TensorFlow's C library out of the installed wheel, with the types of the functions used."""
    if "tensorflow" in sys.modules:
        raise RuntimeError("tensorflow is already imported in this process")
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise RuntimeError("tensorflow is not installed")
    folder = Path(spec.origin).parent
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("TF_NewStatus", pointer, []),
        ("TF_NewGraph", pointer, []),
        ("TF_NewSessionOptions", pointer, []),
        ("TF_GetCode", number, [pointer]),
        ("TF_Message", text, [pointer]),
        ("TF_LoadSessionFromSavedModel", pointer, [pointer, pointer, text, pointer, number, pointer, pointer, pointer]),
        ("TF_GraphOperationByName", pointer, [pointer, text]),
        ("TF_AllocateTensor", pointer, [number, pointer, number, ctypes.c_size_t]),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_TensorType", number, [pointer]),
        ("TF_NumDims", number, [pointer]),
        ("TF_Dim", ctypes.c_int64, [pointer, number]),
        ("TF_StringInit", None, [pointer]),
        ("TF_StringCopy", None, [pointer, text, ctypes.c_size_t]),
        ("TF_StringGetDataPointer", pointer, [pointer]),
        ("TF_StringGetSize", ctypes.c_size_t, [pointer]),
        (
            "TF_SessionRun",
            None,
            [pointer, pointer, pointer, pointer, number, pointer, pointer, number, pointer, number, pointer, pointer],
        ),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def main(requests_file: str, answers_file: str) -> None:
    """Answers {"model": dir, "requests": [{"signature", "inputs", "outputs"}]} with {"answers": [...]} or {"error"}."""
    asked = json.loads(Path(requests_file).read_text())
    result: dict[str, Any]
    try:
        session = CSession(asked["model"])
        answers = []
        for request in asked["requests"]:
            inputs = {i["tensor"]: (i["type"], decode(i["value"])) for i in request["inputs"]}
            values = session.run(inputs, [o["tensor"] for o in request["outputs"]])
            keys = [o["key"] for o in request["outputs"]]
            answers.append({key: encode(value) for key, value in zip(keys, values, strict=True)})
        result = {"answers": answers}
    except RuntimeError as error:
        result = {"error": str(error)}
    Path(answers_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:3])
