"""How long-running functions tell a listener how far they are; without a listener nothing happens."""

from __future__ import annotations

import threading
from collections.abc import Callable

Listener = Callable[[int, int, str], None]

_lock = threading.Lock()
_listener: Listener | None = None


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
        listener = _listener
    if listener is not None:
        listener(done, total, text)
