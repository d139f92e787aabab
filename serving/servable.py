"""One loaded version of a model: its signatures, and runs of its graph."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules.native.library import NativeError
from modules.native.loops import bounded
from modules.native.protos import MetaGraphDef, RunOptions, SignatureDef
from modules.native.session import Function, Session
from modules.native.tensor import STRING
from serving.errors import Code, ServingError

# Runs in the calling thread, without TensorFlow's thread pool, take half the time for one row. They cannot be stopped
# in the middle, so they are for graphs whose loops the fed values do not decide, and for runs that will be this fast:
# the inputs are at most so many times as large as those of a run that took a quarter of it.
INLINE_SECONDS = 0.02
_GROWTH = 4
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
        self._bounded = _bounded_fetches(graph)
        self._functions: dict[tuple, _Prepared] = {}
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
        prepared = self._prepare(call)
        size = sum(map(_size, call.feeds))
        start = time.monotonic()
        options = b""
        if size <= prepared.inline_bytes:
            options = _INLINE
        if deadline is not None:
            remaining = deadline - start
            if remaining <= 0:
                raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the run began")
            if options is not _INLINE:
                options = RunOptions(timeout_in_ms=max(1, int(remaining * 1000))).SerializeToString()
        try:
            return prepared.function([f.array for f in call.feeds], options)
        except NativeError as error:
            raise ServingError(_code(error.code), str(error)) from error
        except TypeError as error:
            raise ServingError(Code.UNIMPLEMENTED, str(error)) from error
        finally:
            prepared.learn(size, time.monotonic() - start)

    def close(self) -> None:
        """Waits for runs in flight and frees the memory."""
        self._session.close()

    def _prepare(self, call: Call) -> _Prepared:
        key = call.key
        found = self._functions.get(key)
        if found is None:
            try:
                function = self._session.function([(f.tensor, f.dtype) for f in call.feeds], call.fetches)
            except NativeError as error:
                raise ServingError(_code(error.code), str(error)) from error
            with self._lock:
                found = self._functions.setdefault(key, _Prepared(function, self._bounded.issuperset(call.fetches)))
        return found


class _Prepared:
    """A function of the session, and how large its inputs may be for a run in the calling thread."""

    __slots__ = ("bounded", "function", "inline_bytes")

    def __init__(self, function: Function, bounded: bool) -> None:
        self.function = function
        self.bounded = bounded
        # The first run builds the executor and says nothing about the next: it goes through the pool.
        self.inline_bytes = -1

    def learn(self, size: int, seconds: float) -> None:
        """Takes note of a run. size: bytes of its inputs."""
        if seconds > INLINE_SECONDS:
            self.inline_bytes = -1
        elif self.bounded and seconds < INLINE_SECONDS / 4:
            self.inline_bytes = max(self.inline_bytes, _GROWTH * size)


def _bounded_fetches(graph: MetaGraphDef) -> frozenset[str]:
    """Outputs of signatures whose time the fed values cannot stretch without end."""
    result: set[str] = set()
    for signature in graph.signature_def.values():
        outputs = [info.name for info in signature.outputs.values()]
        if bounded(graph, [info.name for info in signature.inputs.values()], outputs):
            result.update(outputs)
    return frozenset(result)


def _size(feed: Feed) -> int:
    """Bytes of a value; a string counts with its length."""
    if feed.dtype != STRING:
        return feed.array.nbytes
    return feed.array.nbytes + sum(map(len, feed.array.reshape(-1).tolist()))


def _code(number: int) -> Code:
    return Code(number) if number in Code._value2member_map_ else Code.UNKNOWN
