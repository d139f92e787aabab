"""A SavedModel in a session of the C library, loaded as TensorFlow Serving does: variables, tables and assets too."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.native.library import Buffer, NativeError, Output, Status, fast_library, library
from modules.native.tensor import to_array, to_tensor

NOT_FOUND, FAILED_PRECONDITION = 5, 9


class Session:
    """A loaded SavedModel; `run` may be called from any number of threads.

    Args:
      model_dir: SavedModel directory, of TensorFlow 1 or 2.
      config: serialized tensorflow.ConfigProto.
      tags: of the graph to load.

    Raises:
      NativeError: whatever the library reports, e.g. a missing variable, an unknown op, a damaged file.
    """

    def __init__(self, model_dir: str | Path, config: bytes = b"", tags: Sequence[str] = ("serve",)) -> None:
        lib = library()
        self._session: Any = None
        self._graph: Any = ctypes.c_void_p(lib.TF_NewGraph())
        self._running = 0
        self._closing = False
        self._lock = threading.Condition()
        options = ctypes.c_void_p(lib.TF_NewSessionOptions())
        meta_graph = ctypes.c_void_p(lib.TF_NewBuffer())
        try:
            with Status() as status:
                lib.TF_SetConfig(options, config, len(config), status.pointer)
                status.check()
                names = (ctypes.c_char_p * len(tags))(*[tag.encode() for tag in tags])
                session = lib.TF_LoadSessionFromSavedModel(
                    options, None, str(model_dir).encode(), names, len(tags), self._graph, meta_graph, status.pointer
                )
                status.check()
            self._session = ctypes.c_void_p(session)
            buffer = ctypes.cast(meta_graph, ctypes.POINTER(Buffer)).contents
            # Serialized tensorflow.MetaGraphDef of the loaded graph.
            self.meta_graph: bytes = ctypes.string_at(buffer.data, buffer.length)
        except BaseException:
            lib.TF_DeleteGraph(self._graph)
            raise
        finally:
            lib.TF_DeleteBuffer(meta_graph)
            lib.TF_DeleteSessionOptions(options)

    def function(self, inputs: Sequence[tuple[str, int]], outputs: Sequence[str]) -> Function:
        """A way through the graph, resolved once.

        Args:
          inputs: (tensor name, TF_DataType) to feed.
          outputs: tensor names to fetch.

        Raises:
          NativeError: NOT_FOUND, the graph has no such tensor; FAILED_PRECONDITION, the session has been closed.
        """
        with self._use():
            feeds = [self._output(name) for name, _ in inputs]
            fetches = [self._output(name) for name in outputs]
        return Function(self, feeds, [t for _, t in inputs], fetches)

    def _output(self, name: str) -> Output:
        operation, _, index = name.partition(":")
        number = int(index) if index.isdigit() else 0
        pointer = fast_library().TF_GraphOperationByName(self._graph, operation.encode())
        if not pointer or number >= fast_library().TF_OperationNumOutputs(pointer):
            raise NativeError(NOT_FOUND, f"Tensor {name}, specified in a signature, is not in the graph")
        return Output(pointer, number)

    @contextlib.contextmanager
    def _use(self):
        with self._lock:
            if self._closing:
                raise NativeError(FAILED_PRECONDITION, "Session has been closed.")
            self._running += 1
        try:
            yield self._session
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()

    def close(self) -> None:
        """Waits for runs in flight, then frees the graph, its variables and tables. May be called twice."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._lock.wait_for(lambda: not self._running)
        lib = library()
        with Status() as status:
            lib.TF_CloseSession(self._session, status.pointer)
        with Status() as status:
            lib.TF_DeleteSession(self._session, status.pointer)
        lib.TF_DeleteGraph(self._graph)


class Function:
    """Feeds and fetches of a session, ready to run."""

    def __init__(self, session: Session, feeds: Sequence[Output], dtypes: Sequence[int], fetches: Sequence[Output]):
        self._session = session
        self._feeds = (Output * len(feeds))(*feeds)
        self._dtypes = tuple(dtypes)
        self._fetches = (Output * len(fetches))(*fetches)
        self._values = ctypes.c_void_p * len(feeds)
        self._results = ctypes.c_void_p * len(fetches)

    def __call__(self, arrays: Sequence[np.ndarray], run_options: bytes = b"") -> list[np.ndarray]:
        """Runs the graph without the GIL.

        Args:
          arrays: one per input, in order, of the dtype that goes with its TF_DataType; shapes are the ops' concern.
          run_options: serialized tensorflow.RunOptions, e.g. with timeout_in_ms.

        Raises:
          NativeError: the run failed, e.g. DEADLINE_EXCEEDED.
        """
        fast = fast_library()
        values = self._values()
        results = self._results()
        options = fast.TF_NewBufferFromString(run_options, len(run_options)) if run_options else None
        try:
            for i, (dtype, array) in enumerate(zip(self._dtypes, arrays, strict=True)):
                values[i] = to_tensor(dtype, array)
            with self._session._use() as session, Status() as status:
                library().TF_SessionRun(
                    session,
                    options,
                    self._feeds,
                    values,
                    len(values),
                    self._fetches,
                    results,
                    len(results),
                    None,
                    0,
                    None,
                    status.pointer,
                )
                status.check()
            return [to_array(result) for result in results if result is not None]
        finally:
            for tensor in (*values, *results):
                if tensor:
                    fast.TF_DeleteTensor(tensor)
            if options:
                fast.TF_DeleteBuffer(options)
