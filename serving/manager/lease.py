"""Reference counting: a version that answers a request is not freed before it has answered."""

from __future__ import annotations

import threading
from collections.abc import Callable

from serving.servable import Servable


class Handle:
    """A loaded version and how many requests hold it.

    Args:
      servable: the version.
      idle: called once, from any thread, when the handle is retired and nobody holds it; must return quickly.
    """

    __slots__ = ("_count", "_idle", "_lock", "_retired", "servable")

    def __init__(self, servable: Servable, idle: Callable[[], None]) -> None:
        self.servable = servable
        self._idle = idle
        self._lock = threading.Lock()
        self._count = 0
        self._retired = False

    def acquire(self) -> bool:
        """Holds the version; False if it is on its way out and another one must be asked for."""
        with self._lock:
            if self._retired:
                return False
            self._count += 1
            return True

    def release(self) -> None:
        """Gives one hold back."""
        with self._lock:
            self._count -= 1
            last = self._retired and not self._count
        if last:
            self._idle()

    def retire(self) -> None:
        """No new holds from here on."""
        with self._lock:
            if self._retired:
                return
            self._retired = True
            last = not self._count
        if last:
            self._idle()


class Lease:
    """`with lease as servable:`; the hold exists from construction, so a lease must be entered."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __enter__(self) -> Servable:
        return self._handle.servable

    def __exit__(self, *_: object) -> None:
        self._handle.release()
