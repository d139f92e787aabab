"""Merging calls and splitting answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batching.merge import inner_shapes, merge, padded_size, parts, split
from serving.errors import Code, ServingError
from serving.servable import Call, Feed
from tests.serving.ops.doubling import call_of


def test_rows_of_all_calls_follow_each_other() -> None:
    merged = merge([call_of([1, 2]), call_of([3]), call_of([4, 5, 6])], 6)
    assert merged.feeds[0].array.tolist() == [1, 2, 3, 4, 5, 6]
    assert merged.key == call_of([0]).key


def test_filled_up_rows_repeat_the_first_row_of_the_last_call() -> None:
    merged = merge([call_of([[1, 1]]), call_of([[2, 2], [3, 3]])], 5)
    assert merged.feeds[0].array.tolist() == [[1, 1], [2, 2], [3, 3], [2, 2], [2, 2]]


def test_a_lone_call_is_filled_up_too() -> None:
    assert merge([call_of([7, 8])], 4).feeds[0].array.tolist() == [7, 8, 7, 7]
    lone = call_of([7, 8])
    assert merge([lone], 2) is lone


def test_strings_stay_bytes() -> None:
    calls = [
        Call((Feed("s:0", 7, np.array(values, object)),), ("y:0",)) for values in ([b"a"], [b"bb", b""], [b"\x00\xff"])
    ]
    merged = merge(calls, 5).feeds[0].array
    assert merged.dtype == object
    assert merged.tolist() == [b"a", b"bb", b"", b"\x00\xff", b"\x00\xff"]


def test_variable_inputs_are_filled_up_with_their_own_first_value() -> None:
    merged = merge([call_of([[1, 2, 3]]), call_of([[4], [5]])], 3, pad=True)
    assert merged.feeds[0].array.tolist() == [[1, 2, 3], [4, 4, 4], [5, 4, 4]]


def test_calls_that_cannot_lie_on_top_of_each_other_differ_in_inner_shapes() -> None:
    narrow, wide, deep, empty = call_of([[1, 2]]), call_of([[1, 2, 3]]), call_of([[[1]]]), call_of(np.zeros((1, 0)))
    assert inner_shapes(narrow, False) != inner_shapes(wide, False)
    assert inner_shapes(narrow, True) == inner_shapes(wide, True) != inner_shapes(deep, True)
    assert inner_shapes(narrow, True) != inner_shapes(empty, True)


@pytest.mark.parametrize(("rows", "size"), [(1, 4), (4, 4), (5, 16), (16, 16)])
def test_a_batch_takes_the_next_allowed_size(rows: int, size: int) -> None:
    assert padded_size(rows, (4, 16)) == size
    assert padded_size(rows, ()) == rows


def test_an_answer_is_split_and_the_filling_dropped() -> None:
    answers = split([np.arange(6), np.arange(12).reshape(6, 2)], [1, 3], 6)
    assert [[array.tolist() for array in answer] for answer in answers] == [
        [[0], [[0, 1]]],
        [[1, 2, 3], [[2, 3], [4, 5], [6, 7]]],
    ]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.float32(1), "Batched output tensor has 0 dimensions"),
        (
            np.zeros(5),
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
            "input tensors",
        ),
    ],
)
def test_an_output_without_a_row_per_row_is_a_failed_precondition(output, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        split([np.zeros(4), np.asarray(output)], [2, 2], 4)
    assert (caught.value.code, caught.value.message) == (Code.FAILED_PRECONDITION, message)


def test_a_large_call_is_cut_into_parts() -> None:
    found = parts(call_of([1, 2, 3, 4, 5], [[1], [2], [3], [4], [5]]), 5, 2)
    assert [[feed.array.ravel().tolist() for feed in part.feeds] for part in found] == [
        [[1, 2], [1, 2]],
        [[3, 4], [3, 4]],
        [[5], [5]],
    ]


@settings(deadline=None)  # other tests may have the processor
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    allowed=st.sampled_from([(), (8, 40), (1, 2, 4, 40)]),
    inner=st.integers(1, 3),
)
def test_split_takes_apart_what_merge_put_together(sizes: list[int], allowed: tuple[int, ...], inner: int) -> None:
    rows = np.arange(sum(sizes) * inner, dtype=np.float32).reshape(-1, inner)
    arrays = np.split(rows, np.cumsum(sizes)[:-1])
    size = padded_size(sum(sizes), allowed)
    merged = merge([call_of(array) for array in arrays], size)
    assert merged.rows == size
    answers = split([merged.feeds[0].array], sizes, size)
    assert len(answers) == len(sizes)
    for (answer,), array in zip(answers, arrays, strict=True):
        np.testing.assert_array_equal(answer, array)
