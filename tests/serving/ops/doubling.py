"""A servable whose speed and failures the test decides; it answers y = 2 x for x of any shape."""

from __future__ import annotations

import threading

import numpy as np

from serving.errors import Code, ServingError
from serving.servable import Call, Feed, ServableId

FLOAT = 1


def call_of(*arrays, fetches=("y:0",)) -> Call:
    """A call that feeds float arrays as x0:0, x1:0, ..."""
    feeds = tuple(Feed(f"x{i}:0", FLOAT, np.asarray(array, np.float32)) for i, array in enumerate(arrays))
    return Call(feeds, tuple(fetches))


class Doubling:
    """Keeps the first input of every run in `seen`. A value of 666 fails the run it is part of."""

    def __init__(self) -> None:
        self.id = ServableId("doubling", 1)
        self.seen: list[np.ndarray] = []
        self.deadlines: list[float | None] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def run(self, call: Call, deadline: float | None = None) -> list[np.ndarray]:
        x = call.feeds[0].array
        self.seen.append(x)
        self.deadlines.append(deadline)
        self.entered.release()
        assert self.gate.wait(20)
        if (x == 666).any():
            raise ServingError(Code.INVALID_ARGUMENT, "Could not parse 666")
        return [{"y:0": 2 * x, "sum:0": x.sum(), "short:0": np.atleast_1d(x)[:1]}[name] for name in call.fetches]

    @property
    def sizes(self) -> list[int]:
        """Rows of every run."""
        return [len(x) for x in self.seen]
