"""How long-running functions tell a listener how far they are; without a listener nothing happens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

Listener = Callable[[int, int, str], None]

_lock = threading.Lock()
_listener: Listener | None = None
_part = ""


def set_listener(listener: Listener | None) -> None:
    """Sets who hears of progress in this process; None for nobody."""
    global _listener
    with _lock:
        _listener = listener


def report(done: int, total: int, text: str = "") -> None:
    """Says that `done` of `total` steps are finished.

    Args:
      done: steps finished, 0 to total.
      total: steps in all; 0 when unknown.
      text: a few words for people, e.g. `validation logloss 0.3121`.
    """
    with _lock:
        listener, part = _listener, _part
    if listener is not None:
        listener(done, total, ", ".join(filter(None, (part, text))))


@contextlib.contextmanager
def within(part: str) -> Iterator[None]:
    """Names the part of the work that is done meanwhile, e.g. `network 2 of 3`: every text begins with it."""
    global _part
    with _lock:
        before, _part = _part, part
    try:
        yield
    finally:
        with _lock:
            _part = before
