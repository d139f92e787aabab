"""The application without a socket: real graphs, ASGI messages by hand or through httpx."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.core import ModelServer
from serving.errors import HTTP_STATUS, Code, ServingError
from serving.rest.app import Limits, create_app
from serving.servable import ServableId

Ask = Callable[..., httpx.Response]


def ask_app(app: Any, method: str, path: str, body: str | bytes | None = None, **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, content=body, headers=named)

    return asyncio.run(send())


@pytest.fixture
def ask(rest_core: ModelServer) -> Ask:
    app = create_app(rest_core, Limits(max_body_bytes=100_000, max_depth=20))
    return lambda *args, **headers: ask_app(app, *args, **headers)


def post(ask: Ask, path: str, body: dict | str) -> tuple[int, Any]:
    response = ask("POST", f"/v1/models/{path}", body if isinstance(body, str) else json.dumps(body))
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()


def test_predict_in_rows_and_columns(ask: Ask) -> None:
    assert post(ask, "half:predict", {"instances": [1.0, 2.0, 5.0]}) == (200, {"predictions": [3.5, 4.0, 5.5]})
    assert post(ask, "half/versions/1:predict", {"inputs": {"x": [1.0]}}) == (200, {"outputs": [2.5]})
    assert post(ask, "half/labels/stable:predict", {"instances": [{"x": 1}]}) == (200, {"predictions": [2.5]})
    assert post(ask, "old:predict", {"instances": [[1.0], [2.0]]}) == (200, {"predictions": [[2.5], [3.0]]})
    assert post(ask, "mit%20Leerzeichen:predict", {"instances": [[1.0]]}) == (200, {"predictions": [[2.5]]})


def test_several_inputs_and_outputs_with_binary(ask: Ask) -> None:
    rows = [{"x": 1, "i": 9223372036854775806, "s": "é"}, {"x": 2.5, "i": -1, "s": "b"}]
    status, found = post(ask, "half/versions/1:predict", {"signature_name": "many", "instances": rows})
    assert (status, found) == (
        200,
        {
            "predictions": [
                {"i_out": 9223372036854775807, "raw_bytes": {"b64": "w6k="}, "s_out": "é", "x_out": 3.0},
                {"i_out": 0, "raw_bytes": {"b64": "Yg=="}, "s_out": "b", "x_out": 4.5},
            ]
        },
    )
    columns = {"x": [1], "i": [1], "s": [{"b64": "YQ=="}]}
    status, found = post(ask, "half/versions/1:predict", {"signature_name": "many", "inputs": columns})
    assert found == {"outputs": {"i_out": [2], "raw_bytes": [{"b64": "YQ=="}], "s_out": ["a"], "x_out": [3.0]}}


def test_the_body_of_an_answer_as_text(ask: Ask) -> None:
    response = ask("POST", "/v1/models/half:predict", '{"instances": [1.0, NaN, Infinity, -Infinity, 1e-7]}')
    assert response.content == b'{"predictions": [3.5,NaN,Infinity,-Infinity,3.0]}'


def test_outputs_with_different_first_dimensions_have_no_rows(ask: Ask) -> None:
    status, found = post(ask, "half:predict", {"signature_name": "many", "inputs": {"x": [1, 2], "i": [1], "s": ["a"]}})
    assert (status, found["outputs"]["x_out"], found["outputs"]["i_out"]) == (200, [4.0, 5.0], [2])


def test_classify_and_regress(ask: Ask) -> None:
    examples = [{"x": 80.0}, {"x": 20.0}]
    body = {"signature_name": "regress_x_to_y", "examples": examples}
    assert post(ask, "old:regress", body) == (200, {"results": [42.0, 12.0]})
    body = {"signature_name": "classify_x_to_y", "examples": examples}
    assert post(ask, "old/versions/1:classify", body) == (200, {"results": [[["", 42.0]], [["", 12.0]]]})
    body = {"signature_name": "regress_x_to_y2", "context": {"x": 20.0}, "examples": [{}, {"other": 1}]}
    assert post(ask, "old/labels/stable:regress", body) == (200, {"results": [13.0, 13.0]})


def test_status_as_upstream_prints_it(ask: Ask) -> None:
    one = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    response = ask("GET", "/v1/models/old")
    assert response.json() == {"model_version_status": [one]}
    assert response.text.startswith('{\n  "model_version_status": [\n    {\n      "version": "1",\n      "state":')
    assert ask("GET", "/v1/models/none").json() == {"error": "Could not find any versions of model none"}
    assert ask("GET", "/v1/models/none").status_code == 404
    assert (ask("GET", "/v1/models").status_code, ask("GET", "/v1/models").json()) == (
        400,
        {"error": "Missing model name in request."},
    )


def test_metadata_as_upstream_prints_it(ask: Ask) -> None:
    found = ask("GET", "/v1/models/half/versions/1/metadata").json()
    assert found["model_spec"] == {"name": "half", "signature_name": "", "version": "1"}
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert found["metadata"]["signature_def"]["signature_def"]["serving_default"] == {
        "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "serving_default_x:0"}},
        "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "StatefulPartitionedCall_1:0"}},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    signatures = ask("GET", "/v1/models/old/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert signatures["classify_x_to_y"]["inputs"]["inputs"] == {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [], "unknown_rank": True},
        "name": "tf_example:0",
    }
    assert list(signatures) == sorted(signatures)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("foo:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(foo)"),
        ("half/versions/99:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(half, 99)"),
        ("half/labels/x:predict", {"instances": ["x"]}, 400, "Unrecognized servable version label: x"),
        ("half:predict", "", 400, "JSON Parse error: The document is empty"),
        ("half:predict", "instances = [1, 2]", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("foo:predict", "x", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("half:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("half:predict", {"signature_name": "S", "instances": [1]}, 400,
         'Serving signature name: "S" not found in signature def'),
        ("half:predict", {"signature_name": 100}, 400,
         'JSON Value: {\n    "signature_name": 100\n} not formatted correctly. \'signature_name\' key must be a string '
         "value."),
        ("half:predict", {"signature_name": "many", "inputs": {"x": [1], "i": [1]}}, 400,
         "Missing named input: s in 'inputs' object."),
        ("half:predict", {"instances": ["x", "y"]}, 400,
         "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: String is "
         "not of expected type: float"),
        ("half:predict", {"instances": [{"b64": "!!"}]}, 400,
         "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: {\n    \"b64\": "
         '"!!"\n} Type: Object is not of expected type: float'),
        ("half:regress", {"examples": []}, 400,
         "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ("old:regress", {"signature_name": "S", "examples": [{}]}, 400, "No signature was found with the name: S"),
        ("half:explain", {}, 400, "Malformed request: POST /v1/models/half:explain"),
        ("half:predict", '{"instances": ' + "[" * 30 + "]" * 30 + "}", 400, "JSON Value: nested deeper than 20 levels"),
    ],
)  # fmt: skip
def test_a_failure_is_an_error_with_its_status(ask: Ask, path: str, body: Any, status: int, message: str) -> None:
    assert post(ask, path, body) == (status, {"error": message})


def test_another_path_or_method_is_refused(ask: Ask) -> None:
    assert (ask("GET", "/").status_code, ask("GET", "/").json()) == (404, {"error": "Not found: GET /"})
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        response = ask(method, "/v1/models/half:predict")
        assert response.status_code == 400
        assert response.json() == {"error": f"Malformed request: {method} /v1/models/half:predict"}
    assert ask("HEAD", "/v1/models/half").status_code == 400


class Failing:
    """A core in which everything ends the same way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def predict_arrays(self, spec, build, deadline=None, size=0):
        raise self.error

    def get_model_status(self, request):
        raise self.error


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_code_has_its_http_status(code: Code) -> None:
    app = create_app(Failing(ServingError(code, "so it is")))  # type: ignore[arg-type]
    for method, path in (("POST", "/v1/models/m:predict"), ("GET", "/v1/models/m")):
        response = ask_app(app, method, path, "{}" if method == "POST" else None)
        assert response.status_code == HTTP_STATUS.get(code, 500)
        assert response.json() == {"error": "so it is"}


def test_an_unexpected_exception_is_500_without_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Failing(RuntimeError("secret")))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        response = ask_app(app, "POST", "/v1/models/m:predict", "{}")
    assert (response.status_code, response.json()) == (500, {"error": "Internal error"})
    assert "secret" in caplog.text


@pytest.mark.parametrize(("seconds", "bounded"), [(30.0, True), (0.0, False), (-1.0, False)])
def test_the_timeout_becomes_a_deadline(seconds: float, bounded: bool) -> None:
    seen: list[float | None] = []

    class Recording(Failing):
        async def predict_arrays(self, spec, build, deadline=None, size=0):
            seen.append(deadline)
            return ServableId("m", 1), []

    app = create_app(Recording(ValueError()), Limits(timeout_seconds=seconds))  # type: ignore[arg-type]
    assert ask_app(app, "POST", "/v1/models/m:predict", "{}").status_code == 400
    if bounded:
        assert seen[0] is not None and 29 < seen[0] - time.monotonic() <= 30
    else:
        assert seen == [None]


def test_gzip_is_taken(ask: Ask) -> None:
    body = b'{"instances": [1.0]}'
    for data in (gzip.compress(body), gzip.compress(body[:9]) + gzip.compress(body[9:])):
        response = ask("POST", "/v1/models/half:predict", data, content_encoding="gzip")
        assert response.json() == {"predictions": [3.5]}
    response = ask("POST", "/v1/models/half:predict", b"", content_encoding="gzip")
    assert response.json() == {"error": "JSON Parse error: The document is empty"}


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"{}", "gzip", "The body is not valid gzip: Error -3 while decompressing data: incorrect header check"),
        (gzip.compress(b"{}", mtime=0)[:-4], "gzip", "The body is not valid gzip: it ends too early"),
        (b"{}", "br", "Content-Encoding br is not supported; send gzip or none"),
    ],
)
def test_broken_gzip_is_the_callers_error(ask: Ask, data: bytes, encoding: str, message: str) -> None:
    response = ask("POST", "/v1/models/half:predict", data, content_encoding=encoding)
    assert (response.status_code, response.json()) == (400, {"error": message})


def test_a_gzip_bomb_is_not_unpacked(ask: Ask) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(60)) + packer.flush()
    assert len(bomb) < 100_000
    start = time.thread_time()
    response = ask("POST", "/v1/models/half:predict", bomb, content_encoding="gzip")
    assert time.thread_time() - start < 0.5
    assert response.status_code == 413
    assert response.json() == {"error": "The request's body has more when decompressed; the limit is 100000 bytes"}


class Connection:
    """ASGI by hand: what the application reads and writes."""

    def __init__(self, *messages: dict, headers: tuple = (), path: str = "/v1/models/half:predict") -> None:
        self.messages = list(messages)
        self.sent: list[dict] = []
        self.read = 0
        self.scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": list(headers), "root_path": "", "client": ("10.0.0.1", 99), "asgi": {"version": "3.0"},
            "http_version": "1.1", "scheme": "http", "server": None,
        }  # fmt: skip

    async def receive(self) -> dict:
        self.read += 1
        if not self.messages:
            await asyncio.sleep(3600)
        return self.messages.pop(0)

    async def send(self, message: dict) -> None:
        self.sent.append(message)

    def run(self, app: Any) -> tuple[int, bytes]:
        asyncio.run(app(self.scope, self.receive, self.send))
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return (self.sent[0]["status"], body) if self.sent else (0, b"")

    @property
    def closes(self) -> bool:
        return (b"connection", b"close") in self.sent[0]["headers"]


def part(body: bytes, more: bool) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_that_announces_too_much_is_refused_before_it_is_read(rest_core: ModelServer) -> None:
    app = create_app(rest_core, Limits(max_body_bytes=10))
    headers = ((b"content-length", b"1000000000"), (b"expect", b"100-continue"))
    connection = Connection(headers=headers)
    assert connection.run(app) == (
        413,
        b'{"error": "The request\'s body has 1000000000 bytes; the limit is 10 bytes"}',
    )
    assert (connection.read, connection.closes) == (0, True)


def test_a_body_in_parts_ends_at_the_limit(rest_core: ModelServer) -> None:
    app = create_app(rest_core, Limits(max_body_bytes=20))
    body = b'{"instances": [1.0]}'
    parts = [part(body[i : i + 5], i < 15) for i in range(0, 20, 5)]
    assert Connection(*parts).run(app) == (200, b'{"predictions": [3.5]}')
    connection = Connection(*parts[:3], part(b"[1.0] ", True), part(b"x", False))
    status, answer = connection.run(app)
    assert (status, connection.closes, connection.messages) == (413, True, [])
    assert answer == b'{"error": "The request\'s body has more; the limit is 20 bytes"}'
    assert Connection(part(body + b" ", False)).run(app)[0] == 413


def test_a_client_that_leaves_gets_no_answer(rest_core: ModelServer) -> None:
    seen: list[Code] = []
    app = create_app(rest_core, on_request=lambda *a: seen.append(a[5]))
    for messages in ([{"type": "http.disconnect"}], [part(b"{", True), {"type": "http.disconnect"}]):
        connection = Connection(*messages)
        connection.run(app)
        assert connection.sent == []
    assert seen == [Code.CANCELLED, Code.CANCELLED]


def test_a_client_that_sends_too_slowly_is_let_go(rest_core: ModelServer) -> None:
    app = create_app(rest_core, Limits(timeout_seconds=0.05))
    connection = Connection(part(b"{", True))
    assert connection.run(app) == (408, b'{"error": "The request\'s body took longer than 0.05 s"}')
    assert connection.closes


def test_a_length_that_is_no_number_is_refused(rest_core: ModelServer) -> None:
    connection = Connection(part(b"{}", False), headers=((b"content-length", b"-1"),))
    assert connection.run(create_app(rest_core))[0] == 400


def test_the_monitoring_page_is_given_at_its_path(rest_core: ModelServer) -> None:
    app = create_app(rest_core, metrics=lambda: (b"page 1\n", "text/plain; version=0.0.4"), metrics_path="/my/metrics")
    response = ask_app(app, "GET", "/my/metrics")
    assert (response.status_code, response.text) == (200, "page 1\n")
    assert response.headers["content-type"] == "text/plain; version=0.0.4"
    assert ask_app(app, "GET", "/monitoring/prometheus/metrics").status_code == 404
    usual = create_app(rest_core, metrics=lambda: (b"page", "text/plain"), metrics_path="")
    assert ask_app(usual, "GET", "/monitoring/prometheus/metrics").text == "page"
    assert ask_app(create_app(rest_core), "GET", "/monitoring/prometheus/metrics").status_code == 404


def test_who_is_not_authorized_gets_nothing(rest_core: ModelServer) -> None:
    def check(headers) -> ServingError | None:
        right = headers.get("authorization") == "Bearer right"
        return None if right else ServingError(Code.UNAUTHENTICATED, "Say who you are")

    app = create_app(rest_core, authorize=check, metrics=lambda: (b"page", "text/plain"))
    for path in ("/v1/models/half:predict", "/monitoring/prometheus/metrics", "/"):
        connection = Connection(part(b"{}", False), path=path)
        assert connection.run(app) == (401, b'{"error": "Say who you are"}')
        assert (b"www-authenticate", b"Bearer") in connection.sent[0]["headers"]
    connection = Connection(part(b'{"instances": [1]}', False), headers=((b"authorization", b"Bearer right"),))
    assert connection.run(app) == (200, b'{"predictions": [3.5]}')


def test_every_request_is_reported(rest_core: ModelServer) -> None:
    seen: list[tuple] = []
    app = create_app(rest_core, Limits(max_body_bytes=100), on_request=lambda *report: seen.append(report))
    body = b'{"instances": [1.0]}'
    Connection(part(body, False)).run(app)
    Connection(part(b"{}", False)).run(app)
    Connection(part(b"", False), path="/elsewhere").run(app)
    Connection(
        part(b'{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]}', False), path="/v1/models/old:regress"
    ).run(app)
    assert all(0 < report[6] < 5 for report in seen)
    assert [report[:6] + report[7:] for report in seen] == [
        ("POST", "/v1/models/half:predict", "half", 2, "predict", Code.OK, 20, 22, "10.0.0.1:99"),
        ("POST", "/v1/models/half:predict", "half", 2, "predict", Code.INVALID_ARGUMENT, 2, 48, "10.0.0.1:99"),
        ("POST", "/elsewhere", "", None, "", Code.NOT_FOUND, 0, 39, "10.0.0.1:99"),
        ("POST", "/v1/models/old:regress", "old", 1, "regress", Code.OK, 62, 18, "10.0.0.1:99"),
    ]


def test_a_large_request_is_answered_like_a_small_one(rest_core: ModelServer) -> None:
    app = create_app(rest_core)
    values = [i / 8 for i in range(100_000)]
    response = ask_app(app, "POST", "/v1/models/half:predict", json.dumps({"instances": values}))
    assert response.json()["predictions"] == [v / 2 + 3 for v in values]


def test_websockets_are_turned_away(rest_core: ModelServer) -> None:
    connection = Connection()
    connection.scope["type"] = "websocket"
    asyncio.run(create_app(rest_core)(connection.scope, connection.receive, connection.send))
    assert connection.sent == [{"type": "websocket.close", "code": 1003}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({"b64": "YQ=="}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "i", "s", "b64"]), inner),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=100),
    st.fixed_dictionaries(
        {},
        optional={
            "instances": JSON,
            "inputs": JSON,
            "examples": JSON,
            "context": JSON,
            "signature_name": st.sampled_from(["serving_default", "many", "regress_x_to_y", "classify_x_to_y", 5]),
        },
    ).map(lambda value: json.dumps(value).encode()),
)
PATHS = st.one_of(
    st.sampled_from(["half", "old", "none", "%FF", "half/versions/1", "half/labels/stable"]).flatmap(
        lambda name: st.sampled_from([":predict", ":classify", ":regress", "", "/metadata", ":x"]).map(
            lambda verb: f"/v1/models/{name}{verb}"
        )
    ),
    st.binary(max_size=30).map(lambda raw: "/" + raw.decode("latin-1")),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "OPTIONS", "M-SEARCH"]),
    PATHS,
    st.lists(BODIES, min_size=1, max_size=2),
    st.sampled_from([(), ((b"content-encoding", b"gzip"),), ((b"content-length", b"7"),)]),
)
def test_whatever_comes_is_answered_without_a_server_error(
    rest_core: ModelServer, method: str, path: str, bodies: list[bytes], headers: tuple
) -> None:
    app = create_app(rest_core, Limits(max_body_bytes=150))
    parts = [part(body, i + 1 < len(bodies)) for i, body in enumerate(bodies)]
    connection = Connection(*parts, headers=headers)
    connection.scope.update(method=method, path=path, raw_path=path.encode("latin-1"))
    status, body = connection.run(app)
    assert status in (200, 400, 404, 413)
    if status != 200:
        assert list(json.loads(body)) == ["error"]
