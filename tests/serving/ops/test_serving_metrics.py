"""The metrics page: TensorFlow Serving's names, labels and buckets, read back by Prometheus' own parser."""

from __future__ import annotations

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving import metrics as metrics_module
from serving.errors import Code
from serving.metrics import LATENCY_BUCKETS, QUEUING_BUCKETS, Metrics
from serving.servable import ServableId


def _page(metrics: Metrics) -> str:
    body, content_type = metrics.exposition()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def _samples(page: str, name: str) -> dict[tuple, float]:
    """Values of a written name by label values."""
    found = {}
    for line in page.splitlines():
        if line.startswith((f"{name}{{", f"{name} ")):
            for family in text_string_to_metric_families(f"# TYPE {name} untyped\n{line}\n"):
                for sample in family.samples:
                    found[tuple(sample.labels.values())] = sample.value
    return found


def test_latency_buckets_are_ten_times_powers_of_1_8() -> None:
    assert len(LATENCY_BUCKETS) == 33
    assert LATENCY_BUCKETS[:4] == pytest.approx((10, 18, 32.4, 58.32))
    assert LATENCY_BUCKETS[-1] == pytest.approx(10 * 1.8**32)
    assert (len(QUEUING_BUCKETS), QUEUING_BUCKETS[0], QUEUING_BUCKETS[1]) == (52, 100, 120)


def test_requests_are_counted_by_status_and_only_good_ones_timed() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.request("m", "Predict", "GRPC", Code.OK, 0.00002)
    metrics.request("m", "Predict", "REST", Code.OK, 0.5)
    metrics.request("m", "Predict", "GRPC", Code.INVALID_ARGUMENT, 0.1)
    page = _page(metrics)
    assert "# TYPE :tensorflow:serving:request_count counter\n" in page
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 4\n' in page
    assert ':tensorflow:serving:request_count{model_name="m",status="INVALID_ARGUMENT"} 1\n' in page
    assert "request_count_total" not in page
    latency = ":tensorflow:serving:request_latency"
    assert f"# TYPE {latency} histogram\n" in page
    labels = 'model_name="m",API="Predict",entrypoint="GRPC"'
    assert f'{latency}_bucket{{{labels},le="10"}} 0\n' in page
    assert f'{latency}_bucket{{{labels},le="18"}} 0\n' in page
    assert f'{latency}_bucket{{{labels},le="32.4"}} 3\n' in page
    assert f'{latency}_bucket{{{labels},le="+Inf"}} 3\n' in page
    assert f"{latency}_count{{{labels}}} 3\n" in page
    assert _samples(page, f"{latency}_sum")["m", "Predict", "GRPC"] == pytest.approx(60)
    rest = 'model_name="m",API="Predict",entrypoint="REST"'
    assert f'{latency}_bucket{{{rest},le="393464"}} 0\n' in page
    assert f'{latency}_bucket{{{rest},le="708235"}} 1\n' in page


def test_a_value_on_a_limit_is_at_or_below_it() -> None:
    metrics = Metrics()
    metrics.runtime("m", "Classify", 10e-6)
    page = _page(metrics)
    labels = 'model_name="m",API="Classify",runtime="TF1"'
    assert f':tensorflow:serving:runtime_latency_bucket{{{labels},le="10"}} 1\n' in page
    assert f":tensorflow:serving:runtime_latency_count{{{labels}}} 1\n" in page


def test_batches_show_rows_filling_and_queuing() -> None:
    metrics = Metrics()
    metrics.batch("pool", 8, 2, [1, 5], [0.0001, 0.0002])
    metrics.batch("pool", 4, 0, [4], [0.0], runs=3)
    page, prefix = _page(metrics), ":tensorflow:serving:batching_session:"
    assert f"{prefix}wrapped_run_count{{}} 4\n" in page
    assert f'{prefix}input_batch_size_bucket{{le="1"}} 1\n' in page
    assert f'{prefix}input_batch_size_bucket{{le="4"}} 2\n' in page
    assert f'{prefix}input_batch_size_bucket{{le="8"}} 3\n' in page
    assert f"{prefix}processed_batch_size_sum{{}} 12\n" in page
    assert f'{prefix}padding_size_bucket{{le="0"}} 1\n' in page
    assert f'{prefix}padding_size_bucket{{le="2"}} 2\n' in page
    assert f'{prefix}queuing_latency_bucket{{thread_pool_name="pool",le="100"}} 2\n' in page
    assert f'{prefix}queuing_latency_count{{thread_pool_name="pool"}} 3\n' in page


def test_examples_and_warm_up_have_upstreams_names() -> None:
    metrics = Metrics()
    metrics.examples("m", 3)
    metrics.examples("m", 1)
    metrics.warmup("/models/m/1", Code.OK, 0.002)
    page = _page(metrics)
    assert ':tensorflow:serving:request_example_counts_bucket{model="m",le="2"} 1\n' in page
    assert ':tensorflow:serving:request_example_count_total{model="m"} 4\n' in page
    assert ':tensorflow:serving:model_warmup_latency_sum{model_path="/models/m/1",status="OK"} 2000\n' in page


def test_versions_show_while_they_answer() -> None:
    metrics = Metrics()
    for version in (1, 2):
        metrics.event(ServableId("m", version), "LOADING", 0.0)
        metrics.event(ServableId("m", version), "AVAILABLE", 0.3)
    metrics.event(ServableId("m", 3), "FAILED", 0.1)
    metrics.event(ServableId("m", 1), 40)
    page = _page(metrics)
    assert _samples(page, "aiqleads_serving_available_versions") == {("m",): 1}
    assert _samples(page, "aiqleads_serving_version_available") == {("m", "2"): 1}
    assert 'aiqleads_serving_load_seconds_bucket{model_name="m",le="0.2"} 0\n' in page
    assert 'aiqleads_serving_load_seconds_bucket{model_name="m",le="0.4"} 2\n' in page
    assert _samples(page, "aiqleads_serving_version_events_total") == {
        ("m", "LOADING"): 2,
        ("m", "AVAILABLE"): 2,
        ("m", "FAILED"): 1,
        ("m", "UNLOADING"): 1,
    }


def test_the_queue_is_asked_when_the_page_is_written() -> None:
    metrics, depth = Metrics(), 0
    metrics.watch_queue(lambda: depth)
    depth = 17
    assert "aiqleads_serving_queue_depth{} 17\n" in _page(metrics)
    depth = 0
    assert "aiqleads_serving_queue_depth{} 0\n" in _page(metrics)


def test_the_whole_page_parses_and_holds_the_process_too() -> None:
    metrics = Metrics()
    metrics.request('a"b\\c\nd', "Predict", "GRPC", Code.OK, 0.001)
    metrics.batch("pool", 1, 0, [1], [0.0])
    metrics.event(ServableId("m", 1), "AVAILABLE", 1.5)
    families = {family.name: family for family in text_string_to_metric_families(_page(metrics))}
    assert families[":tensorflow:serving:request_count"].samples[0].labels == {
        "model_name": 'a"b\\c\nd',
        "status": "OK",
    }
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6
    buckets = [s for s in families[":tensorflow:serving:request_latency"].samples if s.name.endswith("_bucket")]
    assert len(buckets) == 34
    values = [sample.value for sample in buckets]
    assert values == sorted(values)
    assert buckets[-1].labels["le"] == "+Inf"


def test_invented_model_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_CHILDREN", 10)
    metrics = Metrics()
    metrics.request("real", "Predict", "GRPC", Code.OK, 0.001)
    for i in range(100):
        metrics.request(f"invented-{i}", "Predict", "GRPC", Code.NOT_FOUND, 0.001)
    metrics.request("real", "Predict", "GRPC", Code.OK, 0.001)
    counts = _samples(_page(metrics), ":tensorflow:serving:request_count")
    assert len(counts) == 11
    assert counts["real", "OK"] == 2
    assert counts["(other)", "NOT_FOUND"] == 91
    assert len(metrics._requests) == 10


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(2000):
            metrics.request("m", "Predict", "GRPC", Code.OK, 0.001)
            metrics.runtime("m", "Predict", 0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = _page(metrics)
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 16000\n' in page
    assert _samples(page, ":tensorflow:serving:runtime_latency_count") == {("m", "Predict", "TF1"): 16000}
