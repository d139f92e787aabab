"""BatchingParameters: what tensorflow_model_server takes with --batching_parameters_file.

Reference: tensorflow_serving/servables/tensorflow/session_bundle_config.proto, bundle_factory_util.h;
tensorflow/core/kernels/batching_util/shared_batch_scheduler.h.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from serving import textproto
from serving.errors import invalid


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are merged. The defaults are upstream's.

    max_batch_size: rows of the largest request, and of a batch unless large requests are split.
    batch_timeout_micros: how long, in microseconds, a batch that is not full waits for more although a thread is free;
      with 0 a free thread takes what is there.
    max_enqueued_batches: batches that may wait, per model and signature; more is UNAVAILABLE.
    num_batch_threads: batches that run at once, of all models; every processor by default.
    allowed_batch_sizes: if any, a batch is filled up to the next of these.
    pad_variable_length_inputs: inputs of one batch that differ in inner dimensions are filled up to the largest,
      with the tensor's own first value.
    enable_large_batch_splitting: a request may be larger than a batch and runs in parts.
    max_execution_batch_size: rows of a batch when large requests are split; `max_batch_size` if None.
    thread_pool_name: label of the metrics.

    Raises:
      ServingError: INVALID_ARGUMENT, a value is out of its range.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 0
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.num_batch_threads == 0:
            object.__setattr__(self, "num_batch_threads", _processors())
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise invalid(f"{name} must be positive; was {getattr(self, name)}")
        if self.batch_timeout_micros < 0:
            raise invalid(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if not 1 <= self.execution_batch_size <= self.max_batch_size:
            raise invalid(
                "max_execution_batch_size must be positive and not larger than max_batch_size; "
                f"was {self.execution_batch_size}, max_batch_size is {self.max_batch_size}"
            )
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[0] < 1 or any(later <= earlier for earlier, later in itertools.pairwise(sizes))):
            raise invalid(
                "allowed_batch_sizes entries must be positive and monotonically increasing; "
                f"were {', '.join(map(str, sizes))}"
            )
        if sizes and sizes[-1] != self.execution_batch_size:
            limit = "max_execution_batch_size" if self.enable_large_batch_splitting else "max_batch_size"
            raise invalid(
                f"Last entry in allowed_batch_sizes must match {limit}; last entry was {sizes[-1]}; "
                f"expected {self.execution_batch_size}"
            )

    @property
    def execution_batch_size(self) -> int:
        """The most rows of one batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size


def read(path: str | Path | None) -> BatchingParameters:
    """Parameters from a file in protocol buffer text format.

    Args:
      path: the file; empty for none, which gives the defaults.

    Raises:
      ServingError: NOT_FOUND, there is no such file; INVALID_ARGUMENT, it is no BatchingParameters or a value is out of
        its range.
    """
    if not path:
        return BatchingParameters(thread_pool_name="model_server_batch_threads")
    message = textproto.read(path, textproto.new("BatchingParameters"))
    given: dict = {field.name: value for field, value in message.ListFields() if field.name != "allowed_batch_sizes"}
    given = {name: getattr(value, "value", value) for name, value in given.items()}
    if given.get("num_batch_threads") == 0:
        raise invalid("num_batch_threads must be positive; was 0")
    return BatchingParameters(**given, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
