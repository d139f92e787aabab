"""DirectRunner with real threads on a real event loop."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
import uvloop

from serving.batching import DirectRunner
from serving.errors import Code, ServingError
from tests.serving.ops.doubling import Doubling, call_of


def _on_loop(test) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), 30)

    uvloop.run(limited())


async def _entered(servable: Doubling) -> None:
    assert await asyncio.to_thread(servable.entered.acquire, True, 20)


async def _error(awaitable) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        await awaitable
    return caught.value.code, caught.value.message


def test_every_request_has_a_run_of_its_own() -> None:
    async def test() -> None:
        servable, runner = Doubling(), DirectRunner(2)
        answers = await asyncio.gather(*[runner.run(servable, call_of([i, i + 1])) for i in range(5)])
        assert [answer[0].tolist() for answer in answers] == [[2 * i, 2 * i + 2] for i in range(5)]
        assert servable.sizes == [2] * 5
        # Any shape goes: nothing is merged.
        assert (await runner.run(servable, call_of(4.0, fetches=("sum:0",))))[0] == np.float32(4)
        await runner.close()

    _on_loop(test)


def test_as_many_run_at_once_as_there_are_threads_and_the_rest_waits() -> None:
    async def test() -> None:
        servable, runner = Doubling(), DirectRunner(2, max_enqueued=3)
        servable.gate.clear()
        tasks = [asyncio.create_task(runner.run(servable, call_of([i]))) for i in range(5)]
        await _entered(servable)
        await _entered(servable)
        assert len(servable.seen) == 2
        assert runner.queue_depth() == 3
        assert await _error(runner.run(servable, call_of([9]))) == (
            Code.UNAVAILABLE,
            "The queue to which this task was submitted is full; currently 3 requests enqueued and the limit is 3",
        )
        servable.gate.set()
        assert [answer[0].tolist() for answer in await asyncio.gather(*tasks)] == [[0], [2], [4], [6], [8]]
        assert runner.queue_depth() == 0
        await runner.close()

    _on_loop(test)


def test_a_request_that_waited_too_long_or_whose_caller_left_never_runs() -> None:
    async def test() -> None:
        servable, runner = Doubling(), DirectRunner(1)
        servable.gate.clear()
        running = asyncio.create_task(runner.run(servable, call_of([1])))
        await _entered(servable)
        gone = asyncio.create_task(runner.run(servable, call_of([2])))
        start = time.monotonic()
        code, _ = await _error(runner.run(servable, call_of([3]), start + 0.05))
        assert code == Code.DEADLINE_EXCEEDED
        assert 0.045 < time.monotonic() - start < 5
        assert (await _error(runner.run(servable, call_of([4]), start - 1)))[0] == Code.DEADLINE_EXCEEDED
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        servable.gate.set()
        await running
        assert (await runner.run(servable, call_of([5])))[0].tolist() == [10]
        assert [x.tolist() for x in servable.seen] == [[1], [5]]
        await runner.close()

    _on_loop(test)


def test_errors_reach_their_caller_only() -> None:
    async def test() -> None:
        servable, runner = Doubling(), DirectRunner(1)
        good, bad = runner.run(servable, call_of([1])), runner.run(servable, call_of([666]))
        answers = await asyncio.gather(good, bad, return_exceptions=True)
        assert answers[0][0].tolist() == [2]
        assert (answers[1].code, answers[1].message) == (Code.INVALID_ARGUMENT, "Could not parse 666")
        await runner.close()

    _on_loop(test)


def test_close_waits_for_what_was_taken_and_ends_the_threads() -> None:
    async def test() -> None:
        before = threading.active_count()
        servable, runner = Doubling(), DirectRunner(3)
        tasks = [asyncio.create_task(runner.run(servable, call_of([i]))) for i in range(10)]
        await asyncio.sleep(0)
        await runner.close()
        assert [answer[0].tolist() for answer in await asyncio.gather(*tasks)] == [[2 * i] for i in range(10)]
        assert threading.active_count() == before
        assert await _error(runner.run(servable, call_of([7]))) == (Code.UNAVAILABLE, "The server is shutting down")

    _on_loop(test)


def test_a_runner_that_never_ran_closes() -> None:
    async def test() -> None:
        runner = DirectRunner(2)
        await runner.close()
        assert await _error(runner.run(Doubling(), call_of([7]))) == (Code.UNAVAILABLE, "The server is shutting down")

    _on_loop(test)
