"""TensorFlow's C library out of the installed wheel, with the types of the functions used here.

Reference: tensorflow/c/c_api.h, tensorflow/c/tf_tensor.h, tensorflow/c/tf_tstring.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.machinery
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_pointer, _int, _text, _size = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t

_FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    ("TF_Version", _text, []),
    ("TF_NewStatus", _pointer, []),
    ("TF_DeleteStatus", None, [_pointer]),
    ("TF_GetCode", _int, [_pointer]),
    ("TF_Message", _text, [_pointer]),
    ("TF_NewBuffer", _pointer, []),
    ("TF_NewBufferFromString", _pointer, [_text, _size]),
    ("TF_DeleteBuffer", None, [_pointer]),
    ("TF_NewGraph", _pointer, []),
    ("TF_DeleteGraph", None, [_pointer]),
    ("TF_NewSessionOptions", _pointer, []),
    ("TF_SetConfig", None, [_pointer, _text, _size, _pointer]),
    ("TF_DeleteSessionOptions", None, [_pointer]),
    (
        "TF_LoadSessionFromSavedModel",
        _pointer,
        [_pointer, _pointer, _text, _pointer, _int, _pointer, _pointer, _pointer],
    ),
    ("TF_NewSession", _pointer, [_pointer, _pointer, _pointer]),
    ("TF_CloseSession", None, [_pointer, _pointer]),
    ("TF_DeleteSession", None, [_pointer, _pointer]),
    ("TF_GraphOperationByName", _pointer, [_pointer, _text]),
    ("TF_OperationNumOutputs", _int, [_pointer]),
    ("TF_AllocateTensor", _pointer, [_int, _pointer, _int, _size]),
    ("TF_DeleteTensor", None, [_pointer]),
    ("TF_TensorData", _pointer, [_pointer]),
    ("TF_TensorByteSize", _size, [_pointer]),
    ("TF_TensorType", _int, [_pointer]),
    ("TF_NumDims", _int, [_pointer]),
    ("TF_Dim", ctypes.c_int64, [_pointer, _int]),
    ("TF_StringInit", None, [_pointer]),
    ("TF_StringCopy", None, [_pointer, _text, _size]),
    ("TF_StringDealloc", None, [_pointer]),
    ("TF_StringGetDataPointer", _pointer, [_pointer]),
    ("TF_StringGetSize", _size, [_pointer]),
    (
        "TF_SessionRun",
        None,
        [_pointer, _pointer, _pointer, _pointer, _int, _pointer, _pointer, _int, _pointer, _int, _pointer, _pointer],
    ),
)


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes and the function that frees them."""

    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p))


class Output(ctypes.Structure):
    """TF_Output: an operation and which of its outputs."""

    _fields_ = (("oper", ctypes.c_void_p), ("index", ctypes.c_int))


class NativeError(RuntimeError):
    """What the library reports: `code` is a canonical status code (tensorflow/c/tf_status.h, the same as gRPC's)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def wheel() -> Path:
    """Folder of the installed TensorFlow, found without importing it.

    Raises:
      RuntimeError: TensorFlow is not installed.
    """
    spec = importlib.machinery.PathFinder.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise RuntimeError("tensorflow is not installed; expected it in this environment, run `make install`")
    return Path(spec.origin).parent


_loading = threading.Lock()


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library; the one that `import tensorflow` uses if that came first. Calls release the GIL.

    While it loads, what other threads write to standard error is lost, too; a server calls this before it has any.

    Raises:
      RuntimeError: TensorFlow is not installed.
    """
    # The cache alone lets two threads load at once, and the second would restore a silent standard error.
    with _loading:
        return _load_library()


@functools.cache
def _load_library() -> ctypes.CDLL:
    folder = wheel()
    with _native_chatter_hidden():
        # Not RTLD_GLOBAL: a later `import tensorflow` would crash.
        ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"))
        lib = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
        declare(lib)
        _find_devices(lib)
    return lib


def _find_devices(lib: ctypes.CDLL) -> None:
    """Opens and closes an empty session: the search for devices is done, and has said what it says."""
    status, graph = ctypes.c_void_p(lib.TF_NewStatus()), ctypes.c_void_p(lib.TF_NewGraph())
    options = ctypes.c_void_p(lib.TF_NewSessionOptions())
    session = ctypes.c_void_p(lib.TF_NewSession(graph, options, status))
    if session:
        lib.TF_CloseSession(session, status)
        lib.TF_DeleteSession(session, status)
    lib.TF_DeleteSessionOptions(options)
    lib.TF_DeleteGraph(graph)
    lib.TF_DeleteStatus(status)


@contextlib.contextmanager
def _native_chatter_hidden() -> Iterator[None]:
    """Keeps off standard error what TensorFlow says about missing GPUs before its logging knows TF_CPP_MIN_LOG_LEVEL.

    A value of 0 or 1 there shows it. It can go once TensorFlow initialises absl's log before its first message.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@functools.cache
def fast_library() -> ctypes.PyDLL:
    """The same library for calls of well under a microsecond, which hold the GIL: giving it up would cost more."""
    library()
    lib = ctypes.PyDLL(str(wheel() / "libtensorflow_cc.so.2"))
    declare(lib)
    return lib


def declare(lib: ctypes.CDLL) -> None:
    """Sets result and argument types."""
    for name, result, arguments in _FUNCTIONS:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments


class Status:
    """A TF_Status for one call; `check` raises what it holds."""

    def __init__(self) -> None:
        self._lib = fast_library()
        self.pointer = ctypes.c_void_p(self._lib.TF_NewStatus())

    def __enter__(self) -> Status:
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.TF_DeleteStatus(self.pointer)

    def check(self) -> None:
        """
        Raises:
          NativeError: the call failed.
        """
        code = self._lib.TF_GetCode(self.pointer)
        if code:
            raise NativeError(code, self._lib.TF_Message(self.pointer).decode(errors="replace"))
