"""The server's process: flags, ports, TLS, tokens, health, reflection, logs, metrics, and how it ends."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.flags import parse
from tests.serving.running import PROJECT, serve
from tests.serving.saved_models import half_plus, slow_model

TOKEN = "b7f0c5a1d2e34f60917a8b6c5d4e3f21"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base path of half_plus_two, version 1."""
    base = tmp_path_factory.mktemp("models") / "half_plus"
    half_plus(base, 1)
    return base


def predict_request(*values: float, model: str = "half_plus") -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.tensor_shape.dim.add().size = len(values)
    tensor.float_val.extend(values)
    return request


def flags(model: Path, *more: str) -> list[str]:
    return [f"--model_name={model.name}", f"--model_base_path={model}", *more]


def run_to_end(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "serving.server", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def test_flags_take_both_spellings_and_bare_booleans():
    options, warnings = parse(
        ["--port", "9000", "--rest_api_port=-1", "--model_base_path=/m", "--enable_batching", "--model_name=a"]
    )
    assert (options.port, options.rest_api_port, options.model_name) == (9000, -1, "a")
    assert options.enable_batching is True
    assert options.host == "127.0.0.1"
    assert warnings == []
    assert parse(["--model_base_path=/m", "--enable_batching=false"])[0].enable_batching is False


def test_a_flag_without_a_meaning_here_is_one_warning():
    _, warnings = parse(["--model_base_path=/m", "--tensorflow_session_config_file=x", "--flush_filesystem_caches"])
    assert warnings == ["flags without a meaning here: --flush_filesystem_caches, --tensorflow_session_config_file"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "model_base_path and server_options.model_config_file are empty"),
        (["--model_base_path=/m", "--batching_parameters_file=b"], "without setting server_options.enable_batching"),
        (["--model_base_path=/m", "--port=8501"], "--rest_api_port cannot be same as --port"),
        (["--model_base_path=/m", "--prot=8501"], "--prot=8501"),
        (["--model_base_path=/m", "--enable_batching=perhaps"], "expected true or false"),
    ],
)
def test_bad_flags_end_with_code_2_and_a_reason(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_bad_config_file_is_fatal_at_start_without_a_traceback(tmp_path):
    config = tmp_path / "models.config"
    config.write_text("model_config_list { config { nam: 'x' } }")
    done = run_to_end(f"--model_config_file={config}", "--port=-1", "--rest_api_port=0")
    assert done.returncode == 4
    assert str(config) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_said_at_once(model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for transport in (f"--port={port}", f"--rest_api_port={port}"):
            other = "--rest_api_port=0" if transport.startswith("--port") else "--port=0"
            done = run_to_end(*flags(model), transport, other)
            assert done.returncode == 5
            assert str(port) in done.stderr
            assert "Traceback" not in done.stderr


def test_a_unix_socket_serves_grpc(model, tmp_path):
    path = tmp_path / "grpc.sock"
    with (
        serve(*flags(model, f"--grpc_socket_path={path}", "--port=0", "--rest_api_port=0")) as server,
        grpc.insecure_channel(f"unix:{path}") as channel,
    ):
        assert server.grpc is None
        assert server.rest is None
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert list(stub.Predict(predict_request(2.0), timeout=10).outputs["y"].float_val) == [3.0]


@pytest.fixture(scope="module")
def equipped(model, tmp_path_factory):
    """A server with health, an access log, metrics and batching."""
    folder = tmp_path_factory.mktemp("equipped")
    monitoring = folder / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/metrics/here" }')
    log = folder / "access.jsonl"
    with serve(
        *flags(model, "--enable_grpc_healthcheck_service", "--enable_batching"),
        f"--monitoring_config_file={monitoring}",
        f"--access_log={log}",
        "--max_request_bytes=100000",
    ) as server:
        yield server, log


def test_health_answers_for_the_server_and_both_services(equipped):
    with grpc.insecure_channel(equipped[0].grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as unknown:
            stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=10)
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services_and_their_files(equipped):
    with grpc.insecure_channel(equipped[0].grpc_address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictionService"),
        ]
        services, files = stub.ServerReflectionInfo(iter(asked), timeout=10)
        names = {s.name for s in services.list_services_response.service}
        assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} <= names
        assert files.file_descriptor_response.file_descriptor_proto


def test_metrics_and_the_access_log_know_every_request(equipped):
    server, log = equipped
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for _ in range(3):
            stub.Predict(predict_request(1.0), timeout=10)
        with pytest.raises(grpc.RpcError):
            stub.Predict(predict_request(1.0, model="nobody"), timeout=10)
    answer = httpx.post(f"{server.url}/v1/models/half_plus:predict", json={"instances": [1.0, 2.0]})
    assert answer.json() == {"predictions": [2.5, 3.0]}
    page = httpx.get(f"{server.url}/metrics/here")
    assert page.status_code == 200
    families = {f.name: f for f in text_string_to_metric_families(page.text)}
    counts = {
        (s.labels["model_name"], s.labels["status"]): s.value
        for s in families[":tensorflow:serving:request_count"].samples
    }
    assert counts[("half_plus", "OK")] >= 4
    latency = {
        (s.labels["API"], s.labels["entrypoint"]): s.value
        for s in families[":tensorflow:serving:request_latency"].samples
        if s.name.endswith("_count")
    }
    assert latency[("Predict", "GRPC")] >= 3
    assert latency[("Predict", "REST")] >= 1
    end = time.monotonic() + 5
    while len(log.read_text().splitlines()) < 5 and time.monotonic() < end:
        time.sleep(0.02)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["transport"], line["model"], line["code"]) for line in lines} >= {
        ("grpc", "half_plus", "OK"),
        ("grpc", "nobody", "NOT_FOUND"),
        ("rest", "half_plus", "OK"),
    }
    assert next(line for line in lines if line["code"] == "OK")["version"] == 1


def test_a_request_above_the_size_limit_is_refused_by_both_transports(equipped):
    server, _ = equipped
    many = [1.0] * 50_000
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError) as refused:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(predict_request(*many), timeout=10)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert httpx.post(f"{server.url}/v1/models/half_plus:predict", json={"instances": many}).status_code == 413


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 and an SSLConfig that names it: (certificate file, config file)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    text = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(text)
    config = folder / "ssl.config"
    config.write_text(f"server_key: {json.dumps(private.decode())}\nserver_cert: {json.dumps(text.decode())}\n")
    return folder / "cert.pem", config


def test_tls_and_a_token_guard_both_ports(model, certificate, tmp_path):
    cert, config = certificate
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with serve(
        *flags(model, f"--ssl_config_file={config}", f"--auth_token_file={token}", "--enable_grpc_healthcheck_service")
    ) as server:
        url = f"https://127.0.0.1:{server.rest}/v1/models/half_plus"
        with httpx.Client(verify=str(cert)) as client:
            refused = client.get(url)
            assert refused.status_code == 401
            assert "error" in refused.json()
            assert client.get(url, headers={"authorization": f"Bearer {TOKEN[:-1]}x"}).status_code == 401
            assert client.get(url, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http"))
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(server.grpc_address, credentials) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as unknown:
                stub.Predict(predict_request(1.0), timeout=10)
            assert unknown.value.code() == grpc.StatusCode.UNAUTHENTICATED
            metadata = [("authorization", f"Bearer {TOKEN}")]
            answer = stub.Predict(predict_request(1.0), timeout=10, metadata=metadata)
            assert list(answer.outputs["y"].float_val) == [2.5]
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert TOKEN not in server.output()


def test_sigterm_lets_requests_finish_and_exits_0(tmp_path):
    base = tmp_path / "slow"
    slow_model(base, 1)
    with serve(*flags(base)) as server, grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(predict_request(1.0, model="slow"), timeout=30)
        steps = calibrated_steps(stub)
        over_grpc = stub.Predict.future(predict_request(steps, model="slow"), timeout=60)
        answers: list[httpx.Response] = []
        body = {"instances": [steps]}
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{server.url}/v1/models/slow:predict", json=body, timeout=60))
        )
        asking.start()
        time.sleep(0.4)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{server.url}/v1/models/slow", timeout=2)
        assert list(over_grpc.result().outputs["y"].float_val) == [steps]
        asking.join()
        assert answers[0].json() == {"predictions": [steps]}
        assert server.process.wait(30) == 0


def calibrated_steps(stub) -> float:
    """How many steps of the slow model take about a second and a half here."""
    steps = 1000.0
    while True:
        start = time.perf_counter()
        stub.Predict(predict_request(steps, model="slow"), timeout=60)
        seconds = time.perf_counter() - start
        if seconds > 0.3:
            return float(round(steps * 1.5 / seconds))
        steps *= 4


def test_sigterm_while_loading_ends_too(tmp_path):
    # A base path without a version is waited for.
    command = [
        sys.executable,
        "-m",
        "serving.server",
        f"--model_base_path={tmp_path}",
        "--port=-1",
        "--rest_api_port=-1",
    ]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_models_that_appear_under_the_root_later_are_served(model, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(model, root / "first")
    with serve(f"--root={root}", "--file_system_poll_wait_seconds=0.2") as server:
        assert httpx.get(f"{server.url}/v1/models/second").status_code == 404
        shutil.copytree(model / "1", root / ".copying")
        (root / "second").mkdir()
        (root / ".copying").rename(root / "second" / "7")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            answer = httpx.post(f"{server.url}/v1/models/second:predict", json={"instances": [0.0]})
            if answer.status_code == 200:
                break
            time.sleep(0.1)
        assert answer.json() == {"predictions": [2.0]}
        assert httpx.post(f"{server.url}/v1/models/first:predict", json={"instances": [0.0]}).status_code == 200
