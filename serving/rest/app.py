"""The REST API of TensorFlow Serving as an ASGI application: routes, limits, and the calls into the core.

Reference: tensorflow_serving/model_servers/http_rest_api_handler.cc, http_server.cc.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers

from modules.native.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)
from serving.core import LARGE_BYTES, Build, Inputs
from serving.errors import Code, ServingError
from serving.rest import json_answer, proto_json
from serving.rest.body import BodyError, BodyHeaders, Disconnected, Receive, drain, read_body
from serving.rest.json_document import parse, signature_name
from serving.rest.json_examples import fill_input
from serving.rest.json_tensor import predict_inputs
from serving.rest.routes import Route, is_api, parse_route
from serving.servable import Servable, ServableId

logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]
Metrics = Callable[[], tuple[bytes, str]]
Authorize = Callable[[Headers], ServingError | None]

METRICS_PATH = "/monitoring/prometheus/metrics"
_JSON = b"application/json"


class Core(Protocol):
    """What the API needs of `serving.core.ModelServer`."""

    async def predict_arrays(
        self, spec: model_pb2.ModelSpec, build: Build, deadline: float | None = None, size: int = 0
    ) -> tuple[ServableId, list[json_answer.Output]]: ...

    async def classify(
        self, request: classification_pb2.ClassificationRequest, deadline: float | None = None, size: int = 0
    ) -> classification_pb2.ClassificationResponse: ...

    async def regress(
        self, request: regression_pb2.RegressionRequest, deadline: float | None = None, size: int = 0
    ) -> regression_pb2.RegressionResponse: ...

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse: ...

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse: ...


class OnRequest(Protocol):
    """Told of every request once it is answered: seconds of work, bytes of the two bodies, host:port of the client."""

    def __call__(
        self, method: str, path: str, model: str, version: int | None, api: str,
        code: Code, seconds: float, bytes_in: int, bytes_out: int, peer: str,
    ) -> None: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost.

    Args:
      max_body_bytes: of a body, as sent and after decompression.
      max_depth: of nested lists and objects in JSON.
      timeout_seconds: for the body to arrive, and again for the run; 0 or less for no limit.
    """

    max_body_bytes: int = (1 << 31) - 1
    max_depth: int = 64
    timeout_seconds: float = 30.0


@dataclass(slots=True)
class _Exchange:
    """One request and what is known of it so far."""

    scope: dict[str, Any]
    receive: Receive
    path: str
    route: Route | None = None
    version: int | None = None
    bytes_in: int = 0
    # What the client sent is still unread.
    unread: bool = True


def create_app(
    core: Core,
    limits: Limits | None = None,
    *,
    metrics: Metrics | None = None,
    metrics_path: str = METRICS_PATH,
    authorize: Authorize | None = None,
    on_request: OnRequest | None = None,
) -> Starlette:
    """The application.

    Args:
      core: answers.
      limits: of one request.
      metrics: gives the monitoring page and its content type; None switches the page off.
      metrics_path: its path.
      authorize: gets the headers, returns the error to answer or None.
      on_request: for access logs and metrics.
    """
    app = Starlette()
    # In place of routes, whose patterns do not match every path (a line break), and cost more than the answer.
    app.router.default = RestApi(
        core, limits or Limits(), metrics, metrics_path or METRICS_PATH, authorize, on_request
    )  # fmt: skip
    return app


class RestApi:
    """The endpoint of every path; see `create_app`."""

    def __init__(
        self, core: Core, limits: Limits, metrics: Metrics | None, metrics_path: str,
        authorize: Authorize | None, on_request: OnRequest | None,
    ) -> None:  # fmt: skip
        self._core, self._limits = core, limits
        self._metrics, self._metrics_path = metrics, metrics_path
        self._authorize, self._on_request = authorize, on_request
        self._seconds = limits.timeout_seconds if limits.timeout_seconds > 0 else None
        self._apis = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
            "status": self._status,
            "metadata": self._metadata,
        }

    async def __call__(self, scope, receive, send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        start = time.perf_counter()
        raw_path = scope.get("raw_path") or scope["path"].encode()
        exchange = _Exchange(scope, receive, raw_path.decode("latin-1"))
        content_type, code, status = _JSON, Code.OK, 200
        refused = False
        try:
            body, content_type = await self._answer(exchange)
        except ServingError as error:
            body, code, status = json_answer.error(error.message), error.code, error.http_status
            refused = (exchange.unread and isinstance(error, BodyError)) or status in (401, 403)
        except Disconnected:
            self._observe(exchange, Code.CANCELLED, start, 0)
            return
        except Exception:
            logger.exception("%s %s failed", scope["method"], exchange.path)
            body, code, status = json_answer.error("Internal error"), Code.INTERNAL, 500
        await _respond(send, status, body, content_type, exchange if refused else None)
        self._observe(exchange, code, start, len(body))

    async def _answer(self, exchange: _Exchange) -> tuple[bytes, bytes]:
        scope, path = exchange.scope, exchange.path
        if self._authorize is not None:
            refusal = self._authorize(Headers(scope=scope))
            if refusal is not None:
                raise refusal
        if self._metrics is not None and path == self._metrics_path:
            page, content_type = self._metrics()
            return page, content_type.encode()
        if not is_api(path):
            raise ServingError(Code.NOT_FOUND, f"Not found: {scope['method']} {path}")
        query = scope["query_string"]
        route = parse_route(scope["method"], f"{path}?{query.decode('latin-1')}" if query else path)
        exchange.route, exchange.version = route, route.version
        return await self._apis[route.api](exchange, route), _JSON

    async def _document(self, exchange: _Exchange) -> dict[str, Any]:
        headers = BodyHeaders.of(exchange.scope["headers"])
        body = await read_body(exchange.receive, headers, self._limits.max_body_bytes, self._seconds)
        exchange.unread, exchange.bytes_in = False, len(body)
        if len(body) > LARGE_BYTES:
            return await asyncio.to_thread(parse, body, self._limits.max_depth)
        return parse(body, self._limits.max_depth)

    def _deadline(self) -> float | None:
        return None if self._seconds is None else time.monotonic() + self._seconds

    async def _predict(self, exchange: _Exchange, route: Route) -> bytes:
        document = await self._document(exchange)
        name = signature_name(document)
        spec = model_pb2.ModelSpec()
        route.fill(spec)
        row_format = False

        def build(servable: Servable) -> tuple[str, Inputs]:
            nonlocal row_format
            exchange.version = servable.id.version
            signature, row_format, inputs = predict_inputs(document, servable, name)
            return signature, inputs

        _, outputs = await self._core.predict_arrays(spec, build, self._deadline(), exchange.bytes_in)
        if sum(array.nbytes for _, _, array in outputs) > LARGE_BYTES:
            return await asyncio.to_thread(json_answer.predict, outputs, row_format)
        return json_answer.predict(outputs, row_format)

    async def _classify(self, exchange: _Exchange, route: Route) -> bytes:
        request = classification_pb2.ClassificationRequest()
        await self._fill(exchange, route, request)
        response = await self._core.classify(request, self._deadline(), exchange.bytes_in)
        exchange.version = response.model_spec.version.value
        return json_answer.classifications(response.result)

    async def _regress(self, exchange: _Exchange, route: Route) -> bytes:
        request = regression_pb2.RegressionRequest()
        await self._fill(exchange, route, request)
        response = await self._core.regress(request, self._deadline(), exchange.bytes_in)
        exchange.version = response.model_spec.version.value
        return json_answer.regressions(response.result)

    async def _fill(
        self,
        exchange: _Exchange,
        route: Route,
        request: classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest,
    ) -> None:
        document = await self._document(exchange)
        route.fill(request.model_spec)
        request.model_spec.signature_name = signature_name(document)
        if exchange.bytes_in > LARGE_BYTES:
            await asyncio.to_thread(fill_input, document, request.input)
        else:
            fill_input(document, request.input)

    async def _status(self, exchange: _Exchange, route: Route) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest()
        route.fill(request.model_spec)
        return proto_json.status(self._core.get_model_status(request))

    async def _metadata(self, exchange: _Exchange, route: Route) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        route.fill(request.model_spec)
        response = self._core.get_model_metadata(request)
        exchange.version = response.model_spec.version.value
        return proto_json.metadata(response)

    def _observe(self, exchange: _Exchange, code: Code, start: float, bytes_out: int) -> None:
        if self._on_request is None:
            return
        route, client = exchange.route, exchange.scope.get("client")
        self._on_request(
            exchange.scope["method"],
            exchange.path,
            route.model if route else "",
            exchange.version,
            route.api if route else "",
            code,
            time.perf_counter() - start,
            exchange.bytes_in,
            bytes_out,
            f"{client[0]}:{client[1]}" if client else "",
        )


async def _respond(send: Send, status: int, body: bytes, content_type: bytes, refused: _Exchange | None) -> None:
    """Sends the answer. refused: a request whose body is still unread; the connection closes after the answer."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused is not None:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    # Who asks before sending (Expect: 100-continue) sends nothing now, and to receive would say yes.
    if refused is not None and not any(name == b"expect" for name, _ in refused.scope["headers"]):
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await drain(refused.receive)
        body = b""
    await send({"type": "http.response.body", "body": body})
