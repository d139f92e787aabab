"""Several calls as one, and one answer as several. Arrays only: no queues, no threads.

Reference: tensorflow_serving/batching/batching_session.cc, batching_util.cc.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

from serving.errors import Code, ServingError
from serving.servable import Call, Feed


def inner_shapes(call: Call, pad: bool) -> tuple:
    """Equal for calls whose inputs can be put on top of each other.

    Args:
      call: its feeds share their first dimension.
      pad: inner dimensions may be filled up, so only the number of dimensions counts; a tensor without elements has
        nothing to be filled up with and stays with its like.
    """
    if pad and all(feed.array.size for feed in call.feeds):
        return tuple(feed.array.ndim for feed in call.feeds)
    return tuple([feed.array.shape[1:] for feed in call.feeds])


def padded_size(rows: int, allowed: Sequence[int]) -> int:
    """The smallest allowed batch size that holds `rows`; `rows` itself if none is given or large enough."""
    position = bisect.bisect_left(allowed, rows)
    return allowed[position] if position < len(allowed) else rows


def merge(calls: Sequence[Call], size: int, pad: bool = False) -> Call:
    """One call with the rows of all.

    Args:
      calls: equal in `key` and in `inner_shapes`, each with at least one row.
      size: rows of the result; those beyond the calls' own repeat the first row of the last call.
      pad: fills inner dimensions up to the largest, with the first value of the tensor.
    """
    missing = size - sum(call.feeds[0].array.shape[0] for call in calls)
    if len(calls) == 1 and not missing:
        return calls[0]
    feeds = []
    for position, feed in enumerate(calls[0].feeds):
        arrays = [call.feeds[position].array for call in calls]
        if pad:
            arrays = _same_inner_shape(arrays)
        if missing:
            arrays.append(np.repeat(arrays[-1][:1], missing, axis=0))
        feeds.append(Feed(feed.tensor, feed.dtype, np.concatenate(arrays)))
    return Call(tuple(feeds), calls[0].fetches)


def split(arrays: Sequence[np.ndarray], sizes: Sequence[int], total: int) -> list[list[np.ndarray]]:
    """The answer of a merged call, by call; rows that were only filled up are dropped.

    Args:
      arrays: one per fetch, each with `total` rows.
      sizes: rows of each call.
      total: rows of the merged call.

    Returns:
      For each call one array (a view) per fetch.

    Raises:
      ServingError: FAILED_PRECONDITION, an output does not have a row for each row of the input.
    """
    for array in arrays:
        if not array.ndim:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if array.shape[0] != total:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    if len(sizes) == 1 and sizes[0] == total:
        return [list(arrays)]
    result, start = [], 0
    for size in sizes:
        end = start + size
        result.append([array[start:end] for array in arrays])
        start = end
    return result


def parts(call: Call, rows: int, size: int) -> list[Call]:
    """A call cut into calls of at most `size` rows."""
    return [
        Call(tuple(Feed(f.tensor, f.dtype, f.array[start : start + size]) for f in call.feeds), call.fetches)
        for start in range(0, rows, size)
    ]


def _same_inner_shape(arrays: list[np.ndarray]) -> list[np.ndarray]:
    if len({array.shape[1:] for array in arrays}) == 1:
        return arrays
    largest = tuple(max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True))
    return [_filled(array, largest) for array in arrays]


def _filled(array: np.ndarray, inner: tuple[int, ...]) -> np.ndarray:
    if array.shape[1:] == inner:
        return array
    result = np.full((array.shape[0], *inner), array.flat[0], array.dtype)
    result[tuple(slice(size) for size in array.shape)] = array
    return result
