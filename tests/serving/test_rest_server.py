"""The server over sockets: real connections, large and endless bodies, broken requests."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.serving.running import Running, serve
from tests.serving.saved_models import half_plus

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("rest-server")
    half_plus(root / "half", 1)
    monitoring = root / "monitoring.txt"
    monitoring.write_text('prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }')
    with serve(
        "--model_name=half", f"--model_base_path={root / 'half'}", f"--max_request_bytes={LIMIT}",
        f"--monitoring_config_file={monitoring}", "--rest_api_timeout_in_ms=1500", "--port=0",
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=20) as client:
        yield client


def connect(running: Running) -> socket.socket:
    assert running.rest is not None
    connection = socket.create_connection(("127.0.0.1", running.rest), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    answer = b""
    while True:
        try:
            data = connection.recv(1 << 16)
        except ConnectionResetError:
            return answer
        if not data:
            return answer
        answer += data


def error_of(answer: bytes) -> dict:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_predict_status_metadata_and_errors(client: httpx.Client) -> None:
    answer = client.post("/v1/models/half:predict", content=b'{"instances": [1.0, NaN, 5]}')
    assert (answer.status_code, answer.content) == (200, b'{"predictions": [2.5,NaN,4.5]}')
    assert answer.headers["content-type"] == "application/json"
    assert client.get("/v1/models/half").json() == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    metadata = client.get("/v1/models/half/versions/1/metadata").json()
    assert metadata["model_spec"] == {"name": "half", "signature_name": "", "version": "1"}
    for path, status, message in [
        ("/v1/models/x:predict", 404, "Servable not found for request: Latest(x)"),
        ("/v1/models/half/versions/2:predict", 404, "Servable not found for request: Specific(half, 2)"),
        ("/v1/models/half/labels/L:predict", 400, "Unrecognized servable version label: L"),
        ("/v1/foo", 400, "Malformed request: POST /v1/foo"),
    ]:
        answer = client.post(path, json={"instances": [1]})
        assert (answer.status_code, answer.json()) == (status, {"error": message})
    assert client.get("/v1/models/half/versions/2").json() == {"error": "Could not find version 2 of model half"}
    assert client.get("/v1/models/x/metadata").status_code == 404


def test_gzip_and_chunked_bodies(client: httpx.Client) -> None:
    body = json.dumps({"instances": [1.0] * 1000}).encode()
    packed = client.post("/v1/models/half:predict", content=gzip.compress(body), headers={"content-encoding": "gzip"})
    chunked = client.post("/v1/models/half:predict", content=iter([body[:10], body[10:]]))
    assert packed.json() == chunked.json() == {"predictions": [2.5] * 1000}


def test_the_monitoring_page_counts_requests(client: httpx.Client) -> None:
    client.post("/v1/models/half:predict", json={"instances": [1]})
    page = client.get("/monitoring/prometheus/metrics")
    assert page.status_code == 200
    assert ':tensorflow:serving:request_count{model_name="half",status="OK"}' in page.text


def test_a_head_request_has_no_body_and_leaves_the_connection_usable(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(b"HEAD /v1/models/half HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.sendall(b"GET /v1/models/half HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_to_end(connection)
    assert answer.count(b"HTTP/1.1 ") == 2
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 400 ")
    assert rest.startswith(b"HTTP/1.1 200 ")


def test_a_gigabyte_that_is_announced_is_refused_at_once(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n{")
        start = time.monotonic()
        answer = read_to_end(connection)
    assert time.monotonic() - start < 5
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert error_of(answer) == {"error": f"The request's body has 1073741824 bytes; the limit is {LIMIT} bytes"}


@pytest.mark.parametrize("header", [b"Transfer-Encoding: chunked", b"Content-Length: 1073741824"])
def test_a_gigabyte_that_is_sent_is_not_held_in_memory(running: Running, header: bytes) -> None:
    process = psutil.Process(running.process.pid)
    before = process.memory_info().rss
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n" if b"chunked" in header else b" " * 0x10000
    sent, highest, answer = 0, before, b""
    with connect(running) as connection:
        connection.sendall(b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        reader: list[bytes] = []
        thread = threading.Thread(target=lambda: reader.append(read_to_end(connection)))
        thread.start()
        try:
            while sent < 1 << 30:
                connection.sendall(piece)
                sent += len(piece)
                highest = max(highest, process.memory_info().rss)
        except OSError:
            pass
        thread.join(20)
        answer = reader[0]
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 100 << 20
    assert highest - before < 40 << 20


def test_a_gzip_bomb_takes_neither_memory_nor_time(running: Running, client: httpx.Client) -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    assert len(bomb) < LIMIT
    process = psutil.Process(running.process.pid)
    before = process.memory_info().rss
    answer = client.post("/v1/models/half:predict", content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert process.memory_info().rss - before < 40 << 20


def test_a_body_that_never_ends_is_let_go(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
        start = time.monotonic()
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 1 < time.monotonic() - start < 6


def test_brackets_without_end_are_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/models/half:predict", content=b'{"instances": ' + b"[" * (LIMIT - 100))
    assert (answer.status_code, answer.json()) == (400, {"error": "JSON Value: nested deeper than 64 levels"})


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Length: nine\r\n\r\n",
        b"POST /v1/models/half:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"GET /v1/models/half HTTP/1.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/half HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /v1/models/half HTTP/9.9\r\n\r\n",
        b"POST /v1/models/half:predict HTTP/1.0\r\n\r\n",
    ],
)
def test_broken_http_does_not_harm_the_server(running: Running, client: httpx.Client, request_bytes: bytes) -> None:
    with connect(running) as connection:
        try:
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)
            answer = read_to_end(connection)
        except OSError:
            answer = b""
    assert not answer or b" 500 " not in answer.split(b"\r\n")[0]
    assert client.get("/v1/models/half").status_code == 200
    assert running.process.poll() is None
    assert "Traceback" not in running.output()


def test_a_line_of_requests_is_answered_in_order(running: Running) -> None:
    one = b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
    bodies = [b'{"instances": [%d]}' % i for i in range(20)]
    with connect(running) as connection:
        connection.sendall(b"".join(one % (len(body), body) for body in bodies))
        connection.sendall(b"GET /v1/models/half HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_to_end(connection)
    expected = [b'{"predictions": [%.1f]}' % (i / 2 + 2) for i in range(20)]
    positions = [answer.index(text) for text in expected]
    assert positions == sorted(positions)


def test_many_clients_get_their_own_answers(running: Running) -> None:
    found: dict[int, list] = {}

    def ask(number: int) -> None:
        with httpx.Client(base_url=running.url, timeout=20) as client:
            answers = [client.post("/v1/models/half:predict", json={"instances": [number + i]}) for i in range(20)]
            found[number] = [answer.json()["predictions"][0] for answer in answers]

    threads = [threading.Thread(target=ask, args=(100 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {100 * n: [(100 * n + i) / 2 + 2 for i in range(20)] for n in range(8)}


def test_a_token_opens_the_api(tmp_path: Path) -> None:
    half_plus(tmp_path / "half", 1)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    with serve(
        "--model_name=half", f"--model_base_path={tmp_path / 'half'}", f"--auth_token_file={token}", "--port=0"
    ) as server:
        refused = httpx.post(f"{server.url}/v1/models/half:predict", json={"instances": [1]})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert list(refused.json()) == ["error"]
        bearer = {"authorization": f"Bearer {token.read_text().strip()}"}
        taken = httpx.post(f"{server.url}/v1/models/half:predict", json={"instances": [1]}, headers=bearer)
        assert taken.json() == {"predictions": [2.5]}
