"""The client against real servers: ours, and small gRPC servers that misbehave on purpose."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.native.protos import SignatureDef, predict_pb2
from serving.client import Client, ClientError, Feature, Features, LeadError, RankedAction, Tls, rows
from serving.client.leads import FLOATS
from serving.client.rows import Known
from tests.serving.client_models import lead_model, probability, recommendation_model
from tests.serving.running import Running, serve

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    for version in (3, 4):
        lead_model(folder / "lead-scoring", version, visits=version == 4)
    recommendation_model(folder / "recommendation", 1)
    config = folder / "models.config"
    config.write_text(
        "model_config_list {"
        f'  config {{ name: "lead-scoring" base_path: "{folder}/lead-scoring" model_platform: "tensorflow"'
        "    model_version_policy { specific { versions: 3 versions: 4 } }"
        '    version_labels { key: "stable" value: 3 } }'
        f'  config {{ name: "recommendation" base_path: "{folder}/recommendation" model_platform: "tensorflow" }}'
        "}"
    )
    with serve(f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Client]:
    with Client(server.grpc_address, timeout=30) as client:
        yield client


def test_a_lead_gets_its_score_interval_and_the_version_that_answered(client: Client) -> None:
    (answer,) = client.score([{"age": 50, "state": "CA", "visits": 2.0}])
    p = 1 / (1 + math.exp(-2.2))
    assert answer.score == pytest.approx(100 * p, rel=1e-6)
    assert (answer.probability, answer.low, answer.high, answer.confidence) == pytest.approx(
        (p, 0.9 * p, 1 - 0.9 * (1 - p), 0.9), rel=1e-6
    )
    assert (answer.model, answer.version) == ("lead-scoring", 4)


def test_no_leads_get_no_scores(client: Client) -> None:
    assert client.score([]) == []
    assert list(client.score_columns([])) == []


@pytest.mark.parametrize("count", [1, 9])
def test_a_missing_value_is_none_nan_empty_text_or_no_key_at_all(client: Client, count: int) -> None:
    spellings = ({"age": None, "state": None}, {"age": math.nan, "state": ""}, {"state": math.nan}, {})
    for lead in spellings:
        assert [a.probability for a in client.score([lead] * count)] == [0.5] * count


def test_many_leads_of_any_iterable_come_back_in_order(server: Running) -> None:
    with Client(server.grpc_address, timeout=30, max_batch=7) as client:
        answers = client.score({"age": float(age), "state": "CA"} for age in range(20, 70))
    assert [a.probability for a in answers] == pytest.approx([probability(a, "CA") for a in range(20, 70)], rel=1e-5)


def test_few_and_many_leads_go_different_ways_to_the_same_numbers(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = [{"age": a, "state": s, "visits": v} for a in (None, 18, 91.5) for s in ("CA", "Ünïon", "") for v in (0, 9)]
    together = client.score(leads)
    expected = [probability(lead["age"] or 40, lead["state"], lead["visits"]) for lead in leads]
    assert [answer.probability for answer in together] == pytest.approx(expected, rel=1e-6)
    alone = [client.score([lead])[0].probability for lead in leads]
    assert alone == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(rows, "FEW", 100)
    assert client.score(leads) == together, "the same graph, fed in two ways"


def test_columns_are_scored_in_chunks_as_they_are_read(client: Client) -> None:
    read = []

    def chunks() -> Iterator[dict[str, list[object]]]:
        for i in range(20):
            read.append(i)
            yield {"age": [20.0 + i] * 6, "unknown": [1] * 6}

    answers = client.score_columns(chunks())
    assert next(answers)[0].probability == pytest.approx(probability(20), rel=1e-5)
    assert len(read) <= 4, "no more chunks than are on the way have been read"
    assert [chunk[5].probability for chunk in answers] == pytest.approx([probability(21 + i) for i in range(19)], 1e-5)


def test_columns_of_different_lengths_are_refused(client: Client) -> None:
    with pytest.raises(ClientError, match=r"same length, received lengths \[1, 2\]"):
        list(client.score_columns([{"age": [1.0], "state": ["a", "b"]}]))


@pytest.mark.parametrize(
    ("lead", "message"),
    [
        ({"aeg": 1}, "lead 1: unknown feature 'aeg'; did you mean 'age'?"),
        ({"lead_id": "a"}, "lead 1: unknown feature 'lead_id'; the model's features: age, state, visits"),
        ({"age": "42"}, "lead 1, age: expected a number, received '42' (str); write it without quotes"),
        ({"age": True}, "lead 1, age: expected a number, received True (bool)"),
        ({"age": math.inf}, "lead 1, age: expected a number, received inf (float), which is infinite"),
        ({"age": 1e39}, "lead 1, age: expected a number, received 1e+39 (float), which is infinite or too large"),
        ({"age": 10**400}, "which is infinite or too large for 32 bits"),
        ({"age": [1]}, "lead 1, age: expected a number, received [1] (list)"),
        ({"age": dt.date(2026, 1, 2)}, "lead 1, age: expected a number, received datetime.date(2026, 1, 2) (date)"),
        ({"state": 85008}, "lead 1, state: expected text, received 85008 (int); write it as text: '85008'"),
        ({"state": "\ud800"}, "which is not valid Unicode"),
        ("age", "lead 1: expected a mapping of features, received 'age' (str)"),
    ],
)
@pytest.mark.parametrize("count", [1, 9])
def test_a_lead_that_cannot_be_sent_names_its_index_and_feature(client, lead, message: str, count: int) -> None:
    with pytest.raises(LeadError) as caught:
        client.score([{"age": 1}, lead, *[{}] * count])
    assert message in str(caught.value)
    assert caught.value.index == 1 and caught.value.exit_code == 4


def test_the_index_counts_over_all_chunks(server: Running) -> None:
    with Client(server.grpc_address, max_batch=2) as client, pytest.raises(LeadError) as caught:
        client.score([{}] * 5 + [{"age": "x"}])
    assert caught.value.index == 5 and caught.value.feature == "age"


def test_keys_that_are_no_features_are_ignored_only_on_request(client: Client) -> None:
    lead = {"lead_id": 7, "age": 50}
    assert client.score([lead], ignore=["lead_id"]) == client.score([lead], ignore=True) == client.score([{"age": 50}])
    with pytest.raises(LeadError, match="'lead_id'"):
        client.score([lead], ignore=["id"])


def test_numbers_may_be_of_any_type_that_is_a_number(client: Client) -> None:
    from decimal import Decimal
    from fractions import Fraction

    values = (50, 50.0, np.float32(50), np.int64(50), Decimal("50"), Fraction(50))
    assert len({a.probability for a in client.score({"age": v} for v in values)}) == 1


@given(st.lists(st.one_of(st.none(), st.floats(width=32, allow_infinity=False), st.integers(-(2**100), 2**100))))
def test_numbers_arrive_as_the_nearest_float32(values: list) -> None:
    expected = np.array([math.nan if v is None else v for v in values], np.float64).astype(np.float32)
    np.testing.assert_array_equal(np.array(Feature("x", FLOATS[0]).encode(values), np.float32), expected)


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])), st.binary())))
def test_text_arrives_as_utf8(values: list) -> None:
    expected = [b"" if v is None else v.encode() if isinstance(v, str) else v for v in values]
    assert Feature("x", 7).encode(values) == expected


def test_integers_and_flags_have_no_missing_value_and_no_fractions() -> None:
    count, flag = Feature("count", 9), Feature("flag", 10)
    assert list(count.encode([1, 2.0, -(2**40)])) == [1, 2, -(2**40)] and list(flag.encode([True, False])) == [1, 0]
    for feature, value in ((count, None), (count, 1.5), (count, 2**64), (count, "1"), (flag, 1), (flag, None)):
        with pytest.raises(LeadError, match=feature.name):
            feature.encode([value])
    with pytest.raises(LeadError, match="too large"):
        Feature("small", 3).encode([2**40])


def test_a_feature_of_a_strange_type_is_an_error() -> None:
    signature = SignatureDef()
    signature.inputs["z"].dtype = 8
    with pytest.raises(ClientError, match="m version 1: feature 'z' is of type complex64"):
        Features.of(signature, "m version 1")


def test_actions_are_ranked_with_probabilities_and_priorities(server: Running) -> None:
    with Client(server.grpc_address, model="recommendation", timeout=30) as client:
        histories = [["email", "email", "wait"], [], None, "wait", ("call",)] * 3
        answers = client.recommend({"state": "NY", "history": history} for history in histories)
        (local,) = client.recommend([{"state": "CA", "history": ["wait"]}])
    assert answers[0].actions == (
        RankedAction("email", 0.5, 50.0),
        RankedAction("wait", pytest.approx(1 / 3), pytest.approx(100 / 3, rel=1e-6)),
        RankedAction("call", pytest.approx(1 / 6), pytest.approx(100 / 6, rel=1e-6)),
    )
    assert [a.next_best_action for a in answers] == ["email", "call", "call", "wait", "call"] * 3
    assert local.next_best_action == "call" and local.actions[0].action == "wait"
    assert (local.model, local.version) == ("recommendation", 1)


def test_a_gap_in_a_history_is_an_error(server: Running) -> None:
    with (
        Client(server.grpc_address, model="recommendation") as client,
        pytest.raises(LeadError, match=r"lead 0, history\[1\]: expected a list without gaps"),
    ):
        client.recommend([{"history": ["call", None]}])


def test_asking_the_wrong_model_says_what_it_answers(client: Client, server: Running) -> None:
    with pytest.raises(ClientError, match=r"version 4 is no recommendation model.*received confidence, pro"):
        client.recommend([{}])
    with (
        Client(server.grpc_address, model="recommendation") as other,
        pytest.raises(ClientError, match="is no lead-scoring model: expected the outputs score, probability"),
    ):
        other.score([{}])


def test_a_version_is_chosen_by_number_or_label(server: Running) -> None:
    for chosen, version in (({"version": 3}, 3), ({"label": "stable"}, 3), ({}, 4)):
        with Client(server.grpc_address, **chosen) as client:
            assert client.score([{}])[0].version == version
            assert client.features().names == (("age", "state") if version == 3 else ("age", "state", "visits"))
    with pytest.raises(ClientError, match="version or a label, received both: 3 and 'stable'"):
        Client(version=3, label="stable")


def test_what_the_server_does_not_serve_is_said_with_its_own_words(server: Running) -> None:
    with Client(server.grpc_address, version=9) as client, pytest.raises(ClientError) as caught:
        client.score([{}])
    assert caught.value.code == "NOT_FOUND" and caught.value.exit_code == 5
    assert "Servable not found for request: Specific(lead-scoring, 9)" in str(caught.value)


def test_metadata_and_status_are_plain_values(client: Client) -> None:
    metadata = client.metadata()
    assert (metadata.model, metadata.version) == ("lead-scoring", 4)
    assert set(metadata.signatures) == {"predict_columns", "serving_default"}
    columns = metadata.signatures["predict_columns"]
    assert columns.method == "tensorflow/serving/predict"
    assert {name: (i.dtype, i.shape) for name, i in columns.inputs.items()} == {
        "age": ("float", (None,)), "state": ("string", (None,)), "visits": ("float", (None,)),
    }  # fmt: skip
    assert {(s.version, s.state, s.error_code) for s in client.status()} == {
        (3, "AVAILABLE", "OK"),
        (4, "AVAILABLE", "OK"),
    }


def test_a_new_version_with_other_features_is_met_without_a_new_client(tmp_path: Path) -> None:
    lead_model(tmp_path / "m", 1)
    flags = (f"--model_base_path={tmp_path}/m", "--model_name=m", "--file_system_poll_wait_seconds=0.1")
    with serve(*flags) as running, Client(running.grpc_address, model="m", timeout=30) as client:
        assert {a.version for a in client.score([{"age": 50}] * 9)} == {1}
        lead_model(tmp_path / "later", 2, visits=True).rename(tmp_path / "m" / "2")
        end = time.monotonic() + 30
        while [s.version for s in client.status() if s.state == "AVAILABLE"] != [2]:
            assert time.monotonic() < end, client.status()
            time.sleep(0.05)
        # Built for version 1, the columns lack a feature; and version 1 did not know that feature.
        assert {a.version for a in client.score([{"age": 50}] * 9)} == {2}
        with Client(running.grpc_address, model="m", timeout=30) as other:
            other._known = Known(1, Features([Feature("age", 1)]), None)
            assert other.score([{"visits": 10}])[0].probability == pytest.approx(probability(visits=10), rel=1e-6)


class Misbehaving:
    """A gRPC server whose Predict does what it is told; counts calls and keeps their metadata."""

    def __init__(self, behaviour, credentials: grpc.ServerCredentials | None = None) -> None:
        self.calls: list[dict[str, str]] = []
        self._pool = ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool)

        def predict(request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> predict_pb2.PredictResponse:
            self.calls.append(dict(context.invocation_metadata()))
            return behaviour(len(self.calls), context)

        handler = grpc.unary_unary_rpc_method_handler(
            predict, predict_pb2.PredictRequest.FromString, predict_pb2.PredictResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
        self._server.add_generic_rpc_handlers((service,))
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"

    def __enter__(self) -> Misbehaving:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()


def half(*_: object) -> predict_pb2.PredictResponse:
    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.version.value = "m", 1
    for name in ("score", "probability", "probability_low", "probability_high", "confidence"):
        response.outputs[name].dtype = 1
        response.outputs[name].tensor_shape.dim.add().size = 1
        # As enable_serialization_as_tensor_content has it.
        response.outputs[name].tensor_content = np.float32(0.5).tobytes()
    return response


@contextlib.contextmanager
def knowing(address: str, **settings) -> Iterator[Client]:
    """A client that need not ask for features first."""
    with Client(address, model="m", **settings) as client:
        client._known = Known(1, Features([Feature("age", 1)]), "examples")
        yield client


def failing(times: int, code: grpc.StatusCode):
    def behaviour(call: int, context: grpc.ServicerContext) -> predict_pb2.PredictResponse:
        if call <= times:
            context.abort(code, "not now")
        return half()

    return behaviour


def test_an_unavailable_server_is_asked_again() -> None:
    with (
        Misbehaving(failing(2, grpc.StatusCode.UNAVAILABLE)) as server,
        knowing(server.address, backoff=0.01) as client,
    ):
        assert client.score([{"age": 1}])[0].probability == 0.5
        assert len(server.calls) == 3


def test_retries_end_and_say_how_many_there_were() -> None:
    with Misbehaving(failing(99, grpc.StatusCode.UNAVAILABLE)) as server:
        with knowing(server.address, backoff=0.001, retries=2) as client:
            with pytest.raises(ClientError, match=r"tried 3 times") as caught:
                client.score([{}])
            assert caught.value.code == "UNAVAILABLE" and caught.value.details == ["gRPC says: not now"]
        assert len(server.calls) == 3
        with knowing(server.address, retries=0) as client, pytest.raises(ClientError):
            client.score([{}])
        assert len(server.calls) == 4


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED]
)
def test_nothing_but_unavailable_is_tried_again(code: grpc.StatusCode) -> None:
    with (
        Misbehaving(failing(99, code)) as server,
        knowing(server.address) as client,
        pytest.raises(ClientError, match="not now") as caught,
    ):
        client.score([{}])
    assert caught.value.code == code.name and len(server.calls) == 1


def test_a_slow_server_meets_the_deadline() -> None:
    released = threading.Event()

    def slow(*_: object) -> predict_pb2.PredictResponse:
        released.wait(10)
        return half()

    with Misbehaving(slow) as server, knowing(server.address, timeout=0.2) as client:
        begin = time.monotonic()
        with pytest.raises(ClientError, match=r"did not answer within 0\.2 s; allow more time") as caught:
            client.score([{}])
        assert time.monotonic() - begin < 2 and caught.value.code == "DEADLINE_EXCEEDED"
        released.set()


def test_retries_stay_within_the_timeout() -> None:
    with Misbehaving(failing(10_000, grpc.StatusCode.UNAVAILABLE)) as server:
        begin = time.monotonic()
        with knowing(server.address, timeout=0.5, retries=1000) as client, pytest.raises(ClientError):
            client.score([{}])
        assert time.monotonic() - begin < 2
        # 0.1 s doubled each time, at least half of it: no more than four waits fit.
        assert 2 <= len(server.calls) <= 6


def test_a_server_that_comes_up_late_is_found() -> None:
    with Misbehaving(half) as first:
        address = first.address
    with knowing(address, retries=50, backoff=0.05, timeout=20) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.score, [{}])
        time.sleep(0.4)
        late = grpc.server(ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(
            half, predict_pb2.PredictRequest.FromString, predict_pb2.PredictResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
        late.add_generic_rpc_handlers((service,))
        late.add_insecure_port(address)
        late.start()
        try:
            assert answer.result(20)[0].probability == 0.5
        finally:
            late.stop(0).wait()


def test_without_a_server_the_error_says_how_to_start_one() -> None:
    with Misbehaving(half) as server:
        address = server.address
    with Client(address, retries=1, backoff=0.01) as client, pytest.raises(ClientError) as caught:
        client.score([{}])
    assert str(caught.value) == f"no model server answers at {address} (tried 2 times); start it with `aiqleads serve`"
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("address", ["127.0.0.1", "http://127.0.0.1:8501", ":8500", "host:port"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(ClientError, match="expected an address as host:port"):
        Client(address)


def test_a_closed_client_says_so() -> None:
    client = Client()
    client.close()
    with pytest.raises(ClientError, match="closed"):
        client.status()


def test_the_token_travels_as_a_bearer_token() -> None:
    with Misbehaving(half) as server, knowing(server.address, token="s3cret") as client:
        client.score([{}])
        assert server.calls[0]["authorization"] == "Bearer s3cret"


def test_tls_trusts_the_given_authority_and_only_that(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=models.test",
         "-addext", "subjectAltName=DNS:models.test", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    with Misbehaving(half, credentials) as server:
        with knowing(server.address, tls=Tls(ca=certificate, server_name="models.test"), token="t") as client:
            assert client.score([{}])[0].version == 1
        with knowing(server.address, tls=True, retries=0) as client, pytest.raises(ClientError, match="agree on TLS"):
            client.score([{}])
    with pytest.raises(ClientError, match=r"tls: .*nowhere\.pem cannot be read"):
        Client(tls=Tls(ca=tmp_path / "nowhere.pem"))
    with pytest.raises(ClientError, match="certificate and key together"):
        Client(tls=Tls(certificate=certificate))


def test_requests_shrink_to_what_the_server_takes_at_once(tmp_path: Path) -> None:
    lead_model(tmp_path / "m", 1)
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 8 }")
    flags = ("--model_name=m", "--enable_batching", f"--batching_parameters_file={parameters}")
    ages = [20.0 + i for i in range(50)]
    expected = pytest.approx([probability(age) for age in ages], rel=1e-5)
    with (
        serve(f"--model_base_path={tmp_path}/m", *flags) as running,
        Client(running.grpc_address, model="m", timeout=30, max_batch=20) as client,
    ):
        assert [a.probability for a in client.score({"age": age} for age in ages)] == expected
        assert client.max_batch == 8
        (answers,) = client.score_columns([{"age": ages}])
        assert [a.probability for a in answers] == expected
        with pytest.raises(LeadError, match="lead 41, age"):
            client.score([*({"age": age} for age in ages[:41]), {"age": "x"}])


def test_importing_the_client_is_quick_and_brings_nothing_heavy() -> None:
    code = (
        "import sys, time; begin = time.perf_counter(); import serving.client; print(time.perf_counter() - begin, "
        "[m for m in ('tensorflow', 'numpy', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True).stdout
        for _ in range(3)
    ]
    assert {run.split(" ", 1)[1].strip() for run in runs} == {"[]"}
    assert min(float(run.split()[0]) for run in runs) < 0.5
