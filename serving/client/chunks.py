"""Leads in chunks, and the answers to chunks in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from serving.client import tensors
from serving.client.errors import ClientError
from serving.client.journeys import flattened
from serving.client.leads import Columns, Features, Lead
from serving.client.rows import LeadRows

PARALLEL = 2
"""Requests on the way at the same time when there are several: one is encoded here while another is computed there."""

T = TypeVar("T")
C = TypeVar("C")


def input_for_examples(signatures: dict, name: str) -> str | None:
    """The input of a signature that takes tf.Examples and nothing else."""
    inputs = dict(signatures[name].inputs) if name in signatures else {}
    found, info = next(iter(inputs.items()), (None, None))
    return found if len(inputs) == 1 and info is not None and info.dtype == tensors.STRING else None


def columns_of(leads: Sequence[Lead], first: int, ignore: Collection[str] | bool, features: Features) -> Columns:
    return features.columns(flattened(leads, features, first, ignore), first, ignore)


def column_chunks(chunks: Iterable[Columns]) -> Iterator[LeadRows]:
    """Columns as rows of requests, counted over all chunks."""
    first = 0
    for columns in chunks:
        lengths = sorted({len(column) for column in columns.values()})
        if len(lengths) > 1:
            raise ClientError(f"expected columns of the same length, received lengths {lengths}")
        count = lengths[0] if lengths else 0
        yield LeadRows(partial(_same, columns), first, 0, count)
        first += count


def _same(columns: Columns, _: Features) -> Columns:
    return columns


def in_order(chunks: Iterator[C], answer: Callable[[C], list[T]]) -> Iterator[list[T]]:
    """Answers of chunks, several computed at a time; the first to fail ends it."""
    first = next(chunks, None)
    if first is None:
        return
    second = next(chunks, None)
    if second is None:
        yield answer(first)
        return
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="client") as pool:
        pending: deque[Future[list[T]]] = deque()
        try:
            for chunk in itertools.chain((first, second), chunks):
                pending.append(pool.submit(answer, chunk))
                if len(pending) > PARALLEL:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
