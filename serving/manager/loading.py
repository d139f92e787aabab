"""Loading in a few threads, unloading in one, so that neither holds up requests or each other."""

from __future__ import annotations

import contextlib
import ctypes
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError

from modules.native.protos import SavedModel
from serving.errors import Code, ServingError
from serving.manager.source import fingerprint
from serving.servable import Servable, ServableId
from serving.warmup import replay

Load = Callable[[ServableId, Path], Servable]
T = TypeVar("T")


def load_and_warm_up(servable_id: ServableId, path: Path) -> Servable:
    """A version that has answered its warm-up requests.

    Raises:
      ServingError: it cannot be loaded, or a warm-up request failed.
    """
    servable = Servable(servable_id, path)
    try:
        replay(servable)
    except BaseException:
        servable.close()
        raise
    return servable


def load_whole(load: Load, servable_id: ServableId, path: Path, before: str) -> Servable:
    """Loads a version and makes sure that all of it was there.

    TensorFlow's loader takes a graph whose variables are missing for one without variables
    (tensorflow/cc/saved_model/loader.cc, RunRestore), and half a vocabulary for a small one: a version that is being
    copied, or deleted, would replace one that works and then fail every request.

    Args:
      load: makes the servable.
      servable_id: of the version.
      path: its directory.
      before: fingerprint of the directory.

    Raises:
      ServingError: whatever `load` raises; NOT_FOUND, there are no variables though the graph restores some; ABORTED,
        files changed meanwhile.
    """
    _require_variables(path)
    servable = load(servable_id, path)
    if fingerprint(path) != before:
        servable.close()
        raise ServingError(Code.ABORTED, f"Files in {path} changed while they were loaded")
    return servable


def _require_variables(path: Path) -> None:
    index, graph = path / "variables" / "variables.index", path / "saved_model.pb"
    if index.is_file() or not graph.is_file():
        return
    try:
        model = SavedModel.FromString(graph.read_bytes())
    except DecodeError:
        # The loader has better words for it.
        return
    if any(meta_graph.saver_def.restore_op_name for meta_graph in model.meta_graphs):
        raise ServingError(Code.NOT_FOUND, f"Could not find {index}, from which the graph restores its variables")


def as_serving_error(error: Exception) -> ServingError:
    """A load's failure as a status."""
    if isinstance(error, ServingError):
        return error
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def give_memory_back() -> None:
    """Returns freed memory to the system.

    glibc keeps what a closed session freed in its arenas, scattered between allocations that live on. Other C
    libraries have no such function and are left alone.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class Workers(Generic[T]):
    """Threads that handle items in the order in which they came; none of them keeps the process alive."""

    def __init__(self, threads: int, name: str, work: Callable[[T], None]) -> None:
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._work = work
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, item: T) -> None:
        self._queue.put(item)

    def stop(self, timeout: float | None = None) -> None:
        """Ends the threads once what was put before is done; waits for each of them up to `timeout` seconds."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._work(item)
