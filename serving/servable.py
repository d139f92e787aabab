"""One loaded version of a model: its signatures, and runs of its graph."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules.native.library import NativeError
from modules.native.protos import MetaGraphDef, RunOptions, SignatureDef
from modules.native.session import Function, Session
from serving.errors import Code, ServingError

# A run that was this fast last time takes place in the calling thread, without TensorFlow's thread pool: half the
# latency of one row. It cannot be stopped in the middle, so slower ones go through the pool with a timeout.
INLINE_SECONDS = 0.02
_INLINE = RunOptions(inter_op_thread_pool=-1).SerializeToString()


@dataclass(frozen=True, slots=True)
class ServableId:
    """A model's name and version number."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Feed:
    """A value for a tensor of the graph. dtype: TF_DataType; array: of `modules.native.tensor.DTYPES[dtype]`."""

    tensor: str
    dtype: int
    array: np.ndarray


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a graph: values to feed (sorted by tensor name) and tensors to fetch, in the order of the answer."""

    feeds: tuple[Feed, ...]
    fetches: tuple[str, ...]

    @property
    def key(self) -> tuple:
        """Equal for calls that differ in values only; such calls can be merged into one run."""
        return tuple((f.tensor, f.dtype) for f in self.feeds), self.fetches

    @property
    def rows(self) -> int | None:
        """The first dimension that all feeds share; None if there is none."""
        sizes = {f.array.shape[0] if f.array.ndim else None for f in self.feeds}
        return sizes.pop() if len(sizes) == 1 else None


class Servable:
    """A SavedModel version that answers; safe to use from any number of threads.

    Args:
      servable_id: the name and version it serves as.
      path: the version's directory.
      config: serialized tensorflow.ConfigProto.
      tags: of the graph to load.

    Raises:
      ServingError: the version cannot be loaded, with the loader's own code and message.
    """

    def __init__(
        self, servable_id: ServableId, path: str | Path, config: bytes = b"", tags: Sequence[str] = ("serve",)
    ) -> None:
        self.id = servable_id
        self.path = Path(path)
        try:
            self._session = Session(path, config, tags)
        except NativeError as error:
            raise ServingError(_code(error.code), str(error)) from error
        graph = MetaGraphDef.FromString(self._session.meta_graph)
        self._session.meta_graph = b""
        self.signatures: Mapping[str, SignatureDef] = dict(graph.signature_def)
        self._functions: dict[tuple, tuple[Function, list[float]]] = {}
        self._lock = threading.Lock()

    def run(self, call: Call, deadline: float | None = None) -> list[np.ndarray]:
        """Runs the graph, without the GIL.

        Args:
          call: what to feed and fetch.
          deadline: `time.monotonic()` by which the answer is worth something.

        Returns:
          One array per fetch.

        Raises:
          ServingError: the graph's own error, or DEADLINE_EXCEEDED.
        """
        function, last = self._function(call)
        options = _INLINE
        start = time.monotonic()
        if deadline is not None:
            remaining = deadline - start
            if remaining <= 0:
                raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the run began")
            if last[0] > INLINE_SECONDS:
                options = RunOptions(timeout_in_ms=max(1, int(remaining * 1000))).SerializeToString()
        elif last[0] > INLINE_SECONDS:
            options = b""
        try:
            return function([f.array for f in call.feeds], options)
        except NativeError as error:
            raise ServingError(_code(error.code), str(error)) from error
        except TypeError as error:
            raise ServingError(Code.UNIMPLEMENTED, str(error)) from error
        finally:
            last[0] = time.monotonic() - start

    def close(self) -> None:
        """Waits for runs in flight and frees the memory."""
        self._session.close()

    def _function(self, call: Call) -> tuple[Function, list[float]]:
        key = call.key
        found = self._functions.get(key)
        if found is None:
            try:
                function = self._session.function([(f.tensor, f.dtype) for f in call.feeds], call.fetches)
            except NativeError as error:
                raise ServingError(_code(error.code), str(error)) from error
            with self._lock:
                # The first run of a function builds its executor and may be slow for other reasons: start in the pool.
                found = self._functions.setdefault(key, (function, [float("inf")]))
        return found


def _code(number: int) -> Code:
    return Code(number) if number in Code._value2member_map_ else Code.UNKNOWN
