"""Counters and histograms in Prometheus' text format, under TensorFlow Serving's names.

prometheus_client would append `_total` to the names of counters, so the page is written here; the process's own figures
come from prometheus_client. Recording costs about a microsecond: a child is looked up once by its labels and kept.
Reference: tensorflow_serving/util/prometheus_exporter.cc, tensorflow_serving/servables/tensorflow/util.cc,
tensorflow_serving/batching/batching_session.cc.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from modules.native.protos import get_model_status_pb2
from serving.errors import Code
from serving.servable import ServableId

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Names in requests come from callers: beyond so many label values, the rest is counted as one.
MAX_CHILDREN = 2000
OTHER = "(other)"

RUNTIME = "TF1"  # The session-based runtime, as upstream labels it.

_MICROSECONDS = 1e6


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Bucket limits scale, scale * growth, ..., as tensorflow/core/lib/monitoring/sampler.h computes them."""
    limits, bound = [], scale
    for _ in range(count):
        limits.append(bound)
        bound *= growth
    return tuple(limits)


LATENCY_BUCKETS = exponential(10, 1.8, 33)
QUEUING_BUCKETS = exponential(100, 1.2, 52)
SIZE_BUCKETS = exponential(1, 2, 15)
LOAD_SECONDS_BUCKETS = exponential(0.1, 2, 12)


class Value:
    """A number that goes up, or up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def lines(self, name: str, labels: str) -> list[str]:
        return [f"{name}{{{labels}}} {_number(self.value)}"]


class Histogram:
    """Counts of observations at or below each limit, their number and their sum."""

    __slots__ = ("counts", "limits", "sum")

    def __init__(self, limits: Sequence[float]) -> None:
        self.limits = limits
        self.counts = [0] * (len(limits) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts a value; one equal to a limit is at or below it."""
        self.counts[bisect.bisect_left(self.limits, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: str) -> list[str]:
        comma = "," if labels else ""
        result, total = [], 0
        for limit, count in zip((*self.limits, math.inf), self.counts, strict=True):
            total += count
            # Upstream writes limits with six significant digits; scrapers match them as text.
            text = "+Inf" if limit == math.inf else f"{limit:g}"
            result.append(f'{name}_bucket{{{labels}{comma}le="{text}"}} {total}')
        result.append(f"{name}_sum{{{labels}}} {_number(self.sum)}")
        result.append(f"{name}_count{{{labels}}} {total}")
        return result


Child = TypeVar("Child", Value, Histogram)


class Family(Generic[Child]):
    """One metric with its children by label values.

    Args:
      name: as it is written.
      kind: counter, gauge or histogram.
      help_text: what it is.
      labels: names of the labels, in upstream's order.
      child: makes a child.
    """

    def __init__(self, name: str, kind: str, help_text: str, labels: Sequence[str], child: Callable[[], Child]) -> None:
        self.name, self.kind, self.help_text, self.labels = name, kind, help_text, tuple(labels)
        self._child: Callable[[], Child] = child
        self._children: dict[tuple[str, ...], Child] = {}

    def get(self, *values: str) -> Child:
        """The child of these label values, made if need be."""
        found = self._children.get(values)
        if found is None:
            if len(self._children) >= MAX_CHILDREN:
                values = (OTHER, *values[1:])
            found = self._children.setdefault(values, self._child())
        return found

    def remove(self, *values: str) -> None:
        """Drops a child."""
        self._children.pop(values, None)

    def lines(self) -> list[str]:
        result = [f"# HELP {self.name} {self.help_text}", f"# TYPE {self.name} {self.kind}"]
        for values, child in list(self._children.items()):
            labels = ",".join(f'{n}="{_escape(v)}"' for n, v in zip(self.labels, values, strict=True))
            result += child.lines(self.name, labels)
        return result


class Metrics:
    """Everything the server measures; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: list[Family] = []
        self._requests: dict[tuple, tuple[Value, Histogram | None]] = {}
        self._runtimes: dict[tuple[str, str], Histogram] = {}
        self._queue_depth: Callable[[], int] | None = None
        self._available: dict[str, set[int]] = {}

        serving, batching, own = (":tensorflow:serving:", ":tensorflow:serving:batching_session:", "aiqleads_serving_")
        self._request_count = self._counter(
            f"{serving}request_count", "The total number of requests.", "model_name", "status"
        )
        self._request_latency = self._histogram(
            f"{serving}request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            LATENCY_BUCKETS, "model_name", "API", "entrypoint",
        )  # fmt: skip
        self._runtime_latency = self._histogram(
            f"{serving}runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            LATENCY_BUCKETS, "model_name", "API", "runtime",
        )  # fmt: skip
        self._example_counts = self._histogram(
            f"{serving}request_example_counts", "The number of tensorflow.Examples per request.", SIZE_BUCKETS, "model"
        )
        self._example_total = self._counter(
            f"{serving}request_example_count_total", "The total number of tensorflow.Examples.", "model"
        )
        self._warmup_latency = self._histogram(
            f"{serving}model_warmup_latency",
            "Distribution of wall time (in microseconds) for warming up the model.",
            LATENCY_BUCKETS, "model_path", "status",
        )  # fmt: skip
        self._queuing_latency = self._histogram(
            f"{batching}queuing_latency",
            "Distribution of wall time spent (in microseconds) in queuing",
            QUEUING_BUCKETS, "thread_pool_name",
        )  # fmt: skip
        self._run_count = self._counter(
            f"{batching}wrapped_run_count", "Total count of run calls on the wrapped session"
        )
        self._input_size = self._histogram(f"{batching}input_batch_size", "Rows of each request.", SIZE_BUCKETS)
        self._processed_size = self._histogram(
            f"{batching}processed_batch_size", "Rows of each batch, padding included.", SIZE_BUCKETS
        )
        self._padding_size = self._histogram(
            f"{batching}padding_size", "Rows of each batch that were only filled up.", (0.0, *SIZE_BUCKETS)
        )
        self._depth = self._gauge(f"{own}queue_depth", "Requests that wait for a thread.")
        self._versions = self._gauge(f"{own}available_versions", "Versions of a model that answer.", "model_name")
        self._version = self._gauge(
            f"{own}version_available", "1 while a version of a model answers.", "model_name", "version"
        )
        self._events = self._counter(
            f"{own}version_events_total", "Changes of state of versions.", "model_name", "state"
        )
        self._load_seconds = self._histogram(
            f"{own}load_seconds", "Time from the start of loading a version until it answers.",
            LOAD_SECONDS_BUCKETS, "model_name",
        )  # fmt: skip
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def request(self, model: str, api: str, entrypoint: str, code: Code, seconds: float) -> None:
        """A request was answered; the latency of failed ones is not recorded, as upstream does.

        Args:
          model: name in the request.
          api: Predict, Classify, ...
          entrypoint: GRPC or REST.
          code: canonical status.
          seconds: wall time.
        """
        key = (model, api, entrypoint, code)
        found = self._requests.get(key)
        if found is None:
            found = self._request_children(model, api, entrypoint, code)
            if len(self._requests) < MAX_CHILDREN:
                self._requests[key] = found
        count, latency = found
        with self._lock:
            count.value += 1
            if latency is not None:
                latency.observe(seconds * _MICROSECONDS)

    def runtime(self, model: str, api: str, seconds: float) -> None:
        """A model ran for a request. seconds: with the time in the queue, as upstream measures it."""
        latency = self._runtimes.get((model, api))
        if latency is None:
            with self._lock:
                latency = self._runtimes[model, api] = self._runtime_latency.get(model, api, RUNTIME)
        with self._lock:
            latency.observe(seconds * _MICROSECONDS)

    def examples(self, model: str, count: int) -> None:
        """A Classify, Regress or MultiInference request held `count` examples."""
        with self._lock:
            self._example_counts.get(model).observe(count)
            self._example_total.get(model).value += count

    def warmup(self, path: str, code: Code, seconds: float) -> None:
        """A version was warmed up."""
        with self._lock:
            self._warmup_latency.get(path, code.name).observe(seconds * _MICROSECONDS)

    def batch(
        self, pool: str, rows: int, padding: int, requests: Sequence[int], waited: Sequence[float], runs: int = 1
    ) -> None:
        """A batch was run; see serving.batching.workers.Observer."""
        with self._lock:
            queuing, sizes = self._queuing_latency.get(pool), self._input_size.get()
            for size, seconds in zip(requests, waited, strict=True):
                queuing.observe(seconds * _MICROSECONDS)
                sizes.observe(size)
            self._processed_size.get().observe(rows)
            self._padding_size.get().observe(padding)
            self._run_count.get().value += runs

    def event(self, servable_id: ServableId, state: str | int, seconds: float | None = None) -> None:
        """A version changed its state.

        Args:
          servable_id: the version.
          state: LOADING, AVAILABLE, FAILED, UNLOADING or END, or a number of get_model_status.proto.
          seconds: what the change took; for AVAILABLE, the load.
        """
        name = state if isinstance(state, str) else get_model_status_pb2.ModelVersionStatus.State.Name(state)
        model, version = servable_id.name, servable_id.version
        with self._lock:
            self._events.get(model, name).value += 1
            available = self._available.setdefault(model, set())
            if name == "AVAILABLE":
                available.add(version)
                self._version.get(model, str(version)).value = 1
                if seconds is not None:
                    self._load_seconds.get(model).observe(seconds)
            else:
                available.discard(version)
                self._version.remove(model, str(version))
            self._versions.get(model).value = len(available)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Asks `depth` for the number of waiting requests whenever the page is written."""
        self._queue_depth = depth

    def exposition(self) -> tuple[bytes, str]:
        """The page for Prometheus and its content type."""
        with self._lock:
            if self._queue_depth is not None:
                self._depth.get().value = self._queue_depth()
            lines = [line for family in sorted(self._families, key=lambda f: f.name) for line in family.lines()]
        return "\n".join([*lines, ""]).encode() + generate_latest(self._process), CONTENT_TYPE

    def _request_children(self, model: str, api: str, entrypoint: str, code: Code) -> tuple[Value, Histogram | None]:
        with self._lock:
            count = self._request_count.get(model, code.name)
            latency = self._request_latency.get(model, api, entrypoint) if code == Code.OK else None
        return count, latency

    def _counter(self, name: str, help_text: str, *labels: str) -> Family[Value]:
        return self._add(Family(name, "counter", help_text, labels, Value))

    def _gauge(self, name: str, help_text: str, *labels: str) -> Family[Value]:
        return self._add(Family(name, "gauge", help_text, labels, Value))

    def _histogram(self, name: str, help_text: str, limits: Sequence[float], *labels: str) -> Family[Histogram]:
        return self._add(Family(name, "histogram", help_text, labels, lambda: Histogram(limits)))

    def _add(self, family: Family[Child]) -> Family[Child]:
        self._families.append(family)
        return family


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
