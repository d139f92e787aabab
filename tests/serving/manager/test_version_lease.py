"""Reference counts."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from serving.manager.lease import Handle, Lease


def test_a_handle_is_idle_once_retired_and_given_back_by_all():
    idle: list[str] = []
    handle = Handle(SimpleNamespace(), lambda: idle.append("idle"))
    assert handle.acquire()
    assert handle.acquire()
    handle.release()
    handle.retire()
    assert not handle.acquire()
    assert idle == []
    handle.release()
    handle.retire()
    assert idle == ["idle"]


def test_a_handle_that_nobody_holds_is_idle_when_retired():
    idle: list[str] = []
    Handle(SimpleNamespace(), lambda: idle.append("idle")).retire()
    assert idle == ["idle"]


def test_a_lease_gives_back_also_when_the_request_fails():
    idle: list[str] = []
    handle = Handle(SimpleNamespace(), lambda: idle.append("idle"))
    assert handle.acquire()
    try:
        with Lease(handle) as servable:
            assert servable is handle.servable
            handle.retire()
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert idle == ["idle"]


def test_many_threads_leave_a_handle_idle_exactly_once():
    for _ in range(50):
        idle: list[str] = []
        handle = Handle(SimpleNamespace(), lambda idle=idle: idle.append("idle"))
        barrier = threading.Barrier(5)

        def hold(handle=handle, barrier=barrier) -> None:
            barrier.wait()
            while handle.acquire():
                handle.release()

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait()
        handle.retire()
        for thread in threads:
            thread.join()
        assert idle == ["idle"]
