"""BatchingRunner with real threads on a real event loop."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import weakref
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import uvloop

from serving.batching import BatchingRunner
from serving.batching.parameters import BatchingParameters
from serving.errors import Code, ServingError
from tests.serving.ops.doubling import Doubling, call_of


def _parameters(**changes) -> BatchingParameters:
    return BatchingParameters(**{"max_batch_size": 4, "num_batch_threads": 1, "max_enqueued_batches": 10, **changes})


def _on_loop(test: Callable[[], Awaitable]) -> None:
    """Runs an asynchronous test on the server's kind of loop, and not for ever."""

    async def limited() -> None:
        await asyncio.wait_for(test(), 30)

    uvloop.run(limited())


async def _entered(servable: Doubling) -> None:
    """Waits until a run has begun."""
    assert await asyncio.to_thread(servable.entered.acquire, True, 20)


async def _turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _error(awaitable: Awaitable) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        await awaitable
    return caught.value.code, caught.value.message


def _start(runner: BatchingRunner, servable, *values, deadline=None) -> list[asyncio.Task]:
    return [asyncio.create_task(runner.run(servable, call_of([value]), deadline)) for value in values]


def test_requests_of_one_turn_share_a_run_and_each_gets_its_own_rows() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        answers = await asyncio.gather(
            runner.run(servable, call_of([1])),
            runner.run(servable, call_of([2, 3])),
            runner.run(servable, call_of([4])),
        )
        assert [answer[0].tolist() for answer in answers] == [[2], [4, 6], [8]]
        assert servable.sizes == [4]
        await runner.close()

    _on_loop(test)


def test_a_batch_closes_at_the_largest_size_and_the_rest_follows() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        answers = await asyncio.gather(*_start(runner, servable, *range(10)))
        assert [answer[0].tolist() for answer in answers] == [[2.0 * i] for i in range(10)]
        assert servable.sizes == [4, 4, 2]
        await runner.close()

    _on_loop(test)


def test_what_arrives_while_the_thread_works_gathers() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        servable.gate.clear()
        tasks = _start(runner, servable, 1)
        await _entered(servable)
        for value in (2, 3, 4):
            tasks += _start(runner, servable, value)
            await _turns()
        assert runner.queue_depth() == 3
        servable.gate.set()
        assert [answer[0].tolist() for answer in await asyncio.gather(*tasks)] == [[2], [4], [6], [8]]
        assert servable.sizes == [1, 3]
        assert runner.queue_depth() == 0
        await runner.close()

    _on_loop(test)


def test_without_a_timeout_a_lone_request_waits_for_nobody() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(max_batch_size=1000))
        await runner.run(servable, call_of([1]))
        start = time.monotonic()
        for _ in range(20):
            await runner.run(servable, call_of([1]))
        assert time.monotonic() - start < 1
        assert servable.sizes == [1] * 21
        await runner.close()

    _on_loop(test)


def test_with_a_timeout_a_batch_waits_for_company_but_goes_at_once_when_full() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(batch_timeout_micros=200_000))
        start = time.monotonic()
        first = _start(runner, servable, 1)
        await asyncio.sleep(0.05)
        await asyncio.gather(*first, *_start(runner, servable, 2))
        assert 0.19 < time.monotonic() - start < 5
        assert servable.sizes == [2]
        start = time.monotonic()
        await asyncio.gather(*_start(runner, servable, 1, 2, 3, 4))
        assert time.monotonic() - start < 0.19
        assert servable.sizes == [2, 4]
        await runner.close()

    _on_loop(test)


def test_threads_run_batches_at_the_same_time() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(num_batch_threads=2))
        servable.gate.clear()
        tasks = _start(runner, servable, *range(8))
        await _entered(servable)
        await _entered(servable)
        assert servable.sizes == [4, 4]
        servable.gate.set()
        await asyncio.gather(*tasks)
        await runner.close()

    _on_loop(test)


def test_models_take_turns() -> None:
    async def test() -> None:
        busy, other, runner = Doubling(), Doubling(), BatchingRunner(_parameters(max_batch_size=1))
        order: list[str] = []
        for name, servable in (("busy", busy), ("other", other)):
            run = servable.run
            servable.run = lambda call, deadline=None, name=name, run=run: (order.append(name), run(call, deadline))[1]
        tasks = _start(runner, busy, 1, 2, 3, 4)
        tasks += _start(runner, other, 5)
        await asyncio.gather(*tasks)
        assert order == ["busy", "other", "busy", "busy", "busy"]
        await runner.close()

    _on_loop(test)


def test_a_request_larger_than_a_batch_is_refused() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        assert await _error(runner.run(servable, call_of([1, 2, 3, 4, 5]))) == (
            Code.INVALID_ARGUMENT,
            "Task size 5 is larger than maximum input batch size 4",
        )
        assert servable.seen == []
        await runner.close()

    _on_loop(test)


def test_a_large_request_is_split_where_that_is_allowed() -> None:
    async def test() -> None:
        parameters = _parameters(max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=3)
        servable, runner = Doubling(), BatchingRunner(parameters)
        (answer,) = await runner.run(servable, call_of(range(8)))
        assert answer.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
        assert servable.sizes == [3, 3, 2]
        code, message = await _error(runner.run(servable, call_of(range(11))))
        assert (code, message) == (Code.INVALID_ARGUMENT, "Task size 11 is larger than maximum input batch size 10")
        assert await _error(runner.run(servable, call_of([1, 2, 3, 4, 666]))) == (
            Code.INVALID_ARGUMENT,
            "Could not parse 666",
        )
        await runner.close()

    _on_loop(test)


def test_a_full_queue_is_unavailable_and_has_room_again_later() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(max_enqueued_batches=2))
        servable.gate.clear()
        running = _start(runner, servable, 0)
        await _entered(servable)
        waiting = _start(runner, servable, *range(8))
        await _turns()
        assert await _error(runner.run(servable, call_of([9]))) == (
            Code.UNAVAILABLE,
            "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and "
            "max_enqueued_batches is 2",
        )
        assert runner.queue_depth() == 8
        servable.gate.set()
        await asyncio.gather(*running, *waiting)
        assert (await runner.run(servable, call_of([9])))[0].tolist() == [18]
        await runner.close()

    _on_loop(test)


def test_those_who_left_make_room_in_a_full_queue() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(max_enqueued_batches=2))
        servable.gate.clear()
        running = _start(runner, servable, 0)
        await _entered(servable)
        waiting = _start(runner, servable, *range(1, 9))
        await _turns()
        for task in waiting[:4]:
            task.cancel()
        await _turns()
        late = _start(runner, servable, 10)
        await _turns()
        assert runner.queue_depth() == 5
        servable.gate.set()
        answers = await asyncio.gather(*running, *waiting[4:], *late)
        assert [answer[0].tolist() for answer in answers] == [[0], [10], [12], [14], [16], [20]]
        assert [x.tolist() for x in servable.seen] == [[0], [5, 6, 7, 8], [10]]
        await runner.close()

    _on_loop(test)


def test_a_request_whose_deadline_passed_in_the_queue_is_answered_in_time_and_never_runs() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        servable.gate.clear()
        running = _start(runner, servable, 1)
        await _entered(servable)
        start = time.monotonic()
        late = _start(runner, servable, 2, deadline=start + 0.05)
        kept = _start(runner, servable, 3, deadline=start + 60)
        code, _ = await _error(late[0])
        assert code == Code.DEADLINE_EXCEEDED
        assert 0.045 < time.monotonic() - start < 5
        servable.gate.set()
        await asyncio.gather(*running, *kept)
        assert [x.tolist() for x in servable.seen] == [[1], [3]]
        await runner.close()

    _on_loop(test)


def test_a_request_that_comes_too_late_never_runs() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        code, _ = await _error(runner.run(servable, call_of([1]), time.monotonic() - 1))
        assert code == Code.DEADLINE_EXCEEDED
        assert servable.seen == []
        await runner.close()

    _on_loop(test)


def test_a_run_that_takes_too_long_does_not_hold_its_caller() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        servable.gate.clear()
        start = time.monotonic()
        code, _ = await _error(runner.run(servable, call_of([1]), start + 0.05))
        assert code == Code.DEADLINE_EXCEEDED
        assert servable.sizes == [1]
        servable.gate.set()
        assert (await runner.run(servable, call_of([2])))[0].tolist() == [4]
        await runner.close()

    _on_loop(test)


def test_a_batch_has_the_latest_deadline_of_its_requests() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        now = time.monotonic()
        tasks = [asyncio.create_task(runner.run(servable, call_of([1]), now + seconds)) for seconds in (10, 30, 20)]
        await asyncio.gather(*tasks)
        await asyncio.gather(*_start(runner, servable, 1, deadline=now + 10), *_start(runner, servable, 1))
        assert servable.deadlines == [now + 30, None]
        await runner.close()

    _on_loop(test)


def test_a_caller_that_leaves_is_dropped_from_the_queue() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        servable.gate.clear()
        running = _start(runner, servable, 1)
        await _entered(servable)
        gone, kept = _start(runner, servable, 2, 3)
        await _turns()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        servable.gate.set()
        await asyncio.gather(*running, kept)
        assert [x.tolist() for x in servable.seen] == [[1], [3]]
        await runner.close()

    _on_loop(test)


def test_batches_are_filled_up_to_an_allowed_size_and_answers_cut() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(max_batch_size=8, allowed_batch_sizes=(2, 8)))
        assert (await runner.run(servable, call_of([5])))[0].tolist() == [10]
        answers = await asyncio.gather(*_start(runner, servable, 1, 2, 3))
        assert [answer[0].tolist() for answer in answers] == [[2], [4], [6]]
        assert [x.tolist() for x in servable.seen] == [[5, 5], [1, 2, 3, 3, 3, 3, 3, 3]]
        await runner.close()

    _on_loop(test)


def test_outputs_that_are_not_one_row_per_row_are_a_failed_precondition_for_all() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        for name, words in (("sum:0", "has 0 dimensions"), ("short:0", "0th dimension does not equal the sum")):
            calls = [runner.run(servable, call_of([1, 2], fetches=("y:0", name))) for _ in range(2)]
            for code, message in await asyncio.gather(*map(_error, calls)):
                assert code == Code.FAILED_PRECONDITION
                assert words in message
        assert servable.sizes == [4, 4]
        await runner.close()

    _on_loop(test)


def test_calls_without_common_rows_run_by_themselves() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        answers = await asyncio.gather(
            runner.run(servable, call_of(3.0)),
            runner.run(servable, call_of(4.0)),
            runner.run(servable, call_of([1, 2, 3, 4, 5], [1])),
            runner.run(servable, call_of(np.zeros((0,)))),
            runner.run(servable, call_of(5.0, fetches=("sum:0",))),
        )
        assert [answer[0].tolist() for answer in answers] == [6, 8, [2, 4, 6, 8, 10], [], 5]
        assert len(servable.seen) == 5
        await runner.close()

    _on_loop(test)


def test_calls_of_other_inner_shapes_names_or_outputs_do_not_mix() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        await asyncio.gather(
            runner.run(servable, call_of([[1, 2]])),
            runner.run(servable, call_of([[1, 2, 3]])),
            runner.run(servable, call_of([[3, 4]])),
            runner.run(servable, call_of([[1, 2]], [[1]])),
            runner.run(servable, call_of([[1, 2]], fetches=("y:0", "y:0"))),
        )
        assert sorted(x.shape for x in servable.seen) == [(1, 2), (1, 2), (1, 3), (2, 2)]
        await runner.close()

    _on_loop(test)


def test_variable_inputs_share_a_batch_when_they_may_be_filled_up() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(pad_variable_length_inputs=True))
        answers = await asyncio.gather(
            runner.run(servable, call_of([[1, 2, 3]])),
            runner.run(servable, call_of([[4]])),
            runner.run(servable, call_of(np.zeros((1, 0)))),
        )
        assert [answer[0].tolist() for answer in answers] == [[[2, 4, 6]], [[8, 8, 8]], [[]]]
        assert servable.sizes == [2, 1]
        await runner.close()

    _on_loop(test)


@pytest.mark.parametrize("bad", [{0}, {5}, {0, 7}, {2, 3, 4}, set(range(8))])
def test_nobody_suffers_from_anothers_data(bad: set[int]) -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(max_batch_size=8))
        tasks = _start(runner, servable, *(666 if i in bad else i for i in range(8)))
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for i, answer in enumerate(answers):
            if i in bad:
                assert isinstance(answer, ServingError)
                assert (answer.code, answer.message) == (Code.INVALID_ARGUMENT, "Could not parse 666")
            else:
                assert answer[0].tolist() == [2 * i]
        assert len({id(answer) for answer in answers}) == 8
        assert servable.sizes[0] == 8
        # A bad one costs both halves at each of log2(8) levels; in no case more than 2n - 1 runs.
        assert len(servable.sizes) <= min(2 * 8 - 1, 1 + len(bad) * 2 * math.log2(8))
        await runner.close()

    _on_loop(test)


def test_a_run_that_is_out_of_time_is_not_repeated() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())

        def run(call, deadline=None):
            servable.seen.append(call.feeds[0].array)
            raise ServingError(Code.DEADLINE_EXCEEDED, "too slow")

        servable.run = run
        errors = await asyncio.gather(*map(_error, _start(runner, servable, 1, 2)))
        assert errors == [(Code.DEADLINE_EXCEEDED, "too slow")] * 2
        assert servable.sizes == [2]
        await runner.close()

    _on_loop(test)


def test_a_defect_in_a_run_is_internal_and_the_thread_lives_on() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters())
        run, servable.run = servable.run, lambda call, deadline=None: 1 // 0
        code, message = await _error(runner.run(servable, call_of([1])))
        assert (code, message) == (
            Code.INTERNAL,
            "ZeroDivisionError while the model ran; the server's log has more",
        )
        servable.run = run
        assert (await runner.run(servable, call_of([1])))[0].tolist() == [2]
        await runner.close()

    _on_loop(test)


def test_close_answers_what_was_taken_and_takes_no_more() -> None:
    async def test() -> None:
        servable, runner = Doubling(), BatchingRunner(_parameters(batch_timeout_micros=60_000_000))
        before = threading.active_count()
        full = _start(runner, servable, 1, 2, 3, 4)
        await _entered(servable)
        waiting = _start(runner, servable, 5, 6)
        await _turns()
        closing = asyncio.create_task(runner.close())
        answers = await asyncio.gather(*full, *waiting)
        assert [answer[0].tolist() for answer in answers] == [[2], [4], [6], [8], [10], [12]]
        await closing
        assert await _error(runner.run(servable, call_of([7]))) == (Code.UNAVAILABLE, "The server is shutting down")
        assert threading.active_count() <= before + 1  # asyncio.to_thread's own stays

    _on_loop(test)


def test_nothing_is_left_of_a_hundred_versions_that_came_and_went() -> None:
    async def test() -> None:
        runner = BatchingRunner(_parameters(num_batch_threads=2))
        gone = []
        for _ in range(100):
            servable = Doubling()
            gone.append(weakref.ref(servable))
            await asyncio.gather(*_start(runner, servable, 1, 2, 3, 4, 5))
            cancelled = asyncio.create_task(runner.run(servable, call_of([6])))
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            del servable, cancelled
        await _turns()
        # The threads let go of their last batch when they take the next.
        await asyncio.gather(*_start(runner, Doubling(), 1))
        assert runner._queues == {}
        assert runner.queue_depth() == 0
        await runner.close()
        gc.collect()
        assert [reference for reference in gone if reference() is not None] == []

    _on_loop(test)


def test_every_request_of_a_crowd_gets_its_own_answer() -> None:
    class Totals:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.rows = self.requests = self.runs = 0

        def batch(self, pool, rows, padding, requests, waited, runs) -> None:
            assert pool == "batch_threads"
            assert rows == sum(requests) + padding
            assert all(seconds >= 0 for seconds in waited)
            self.rows += sum(requests)
            self.requests += len(requests)
            self.runs += runs

    async def test() -> None:
        totals, servables = Totals(), [Doubling(), Doubling()]
        parameters = _parameters(
            max_batch_size=16, num_batch_threads=3, max_enqueued_batches=1000, allowed_batch_sizes=(4, 16)
        )
        runner = BatchingRunner(parameters, metrics=totals)
        generator = np.random.default_rng(0)

        async def client(number: int) -> int:
            rows = 0
            for i in range(40):
                x = np.full(generator.integers(1, 5), number * 1000 + i, np.float32)
                (answer,) = await runner.run(servables[number % 2], call_of(x), time.monotonic() + 60)
                np.testing.assert_array_equal(answer, 2 * x)
                rows += len(x)
            return rows

        rows = await asyncio.gather(*map(client, range(50)))
        assert (totals.requests, totals.rows) == (2000, sum(rows))
        assert totals.runs == len(servables[0].seen) + len(servables[1].seen) < 1000
        await runner.close()

    _on_loop(test)


class _Slow(Doubling):
    """Each run takes 4 ms."""

    def run(self, call, deadline=None):
        time.sleep(0.004)
        return super().run(call, deadline)


def test_a_batch_waits_a_moment_for_those_who_were_just_answered() -> None:
    """Eight callers who come back one turn of the loop after the other share runs; a lone caller does not wait."""

    async def test() -> None:
        servable, runner = _Slow(), BatchingRunner(_parameters(max_batch_size=16))

        async def caller(number: int) -> None:
            for _ in range(20):
                await runner.run(servable, call_of([float(number)]))
                await _turns(number)

        await asyncio.gather(*(caller(n) for n in range(8)))
        assert sum(servable.sizes) == 160
        # The first turn's company of eight comes in two batches otherwise, again and again: 40 runs.
        assert len(servable.sizes) <= 30, servable.sizes
        for _ in range(20):  # until it expects one again
            await runner.run(servable, call_of([1.0]))
        start = time.perf_counter()
        for _ in range(20):
            await runner.run(servable, call_of([1.0]))
        assert (time.perf_counter() - start) / 20 < 0.0055
        await runner.close()

    _on_loop(test)
