"""PredictionService and ModelService over grpc.aio, on bytes: requests are parsed here, so that size is known."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from modules.native.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.core import ModelServer
from serving.errors import Code, ServingError

logger = logging.getLogger("serving.grpc")

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
# Trailers are small: tensorflow_serving/model_servers/grpc_status_util.cc.
MESSAGE_LIMIT = 1024

_STATUS = {status.value[0]: status for status in grpc.StatusCode}

Handler = Callable[[Any, float | None, int], Awaitable[Message]]


class RequestObserver(Protocol):
    """Told of every finished request, for metrics and the access log."""

    def __call__(
        self,
        transport: str,
        peer: str,
        model: str,
        version: int | None,
        api: str,
        code: Code,
        seconds: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None: ...


@dataclass(frozen=True)
class Method:
    """A remote procedure: its request type and what answers it."""

    service: str
    name: str
    request_type: type[Message]
    handler: Handler


def methods(core: ModelServer) -> list[Method]:
    """The procedures of both services."""

    async def metadata(request, deadline, size):
        return core.get_model_metadata(request)

    async def status(request, deadline, size):
        return core.get_model_status(request)

    async def reload(request, deadline, size):
        return await core.reload(request, deadline)

    return [
        Method(PREDICTION_SERVICE, "Predict", predict_pb2.PredictRequest, core.predict),
        Method(PREDICTION_SERVICE, "Classify", classification_pb2.ClassificationRequest, core.classify),
        Method(PREDICTION_SERVICE, "Regress", regression_pb2.RegressionRequest, core.regress),
        Method(PREDICTION_SERVICE, "MultiInference", inference_pb2.MultiInferenceRequest, core.multi_inference),
        Method(PREDICTION_SERVICE, "GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest, metadata),
        Method(MODEL_SERVICE, "GetModelStatus", get_model_status_pb2.GetModelStatusRequest, status),
        Method(MODEL_SERVICE, "HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest, reload),
    ]


def generic_handlers(core: ModelServer, observe: RequestObserver | None) -> list[grpc.GenericRpcHandler]:
    """Both services as generic handlers.

    Args:
      core: answers.
      observe: told of every finished request; None spares its cost.
    """
    by_service: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
    for method in methods(core):
        endpoint = grpc.unary_unary_rpc_method_handler(_endpoint(method, observe))
        by_service.setdefault(method.service, {})[method.name] = endpoint
    return [grpc.method_handlers_generic_handler(service, found) for service, found in by_service.items()]


def _endpoint(method: Method, observe: RequestObserver | None):
    parse = method.request_type.FromString
    handler = method.handler
    name = method.name

    async def endpoint(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        start = time.monotonic()
        request: Any = None
        response: Any = None
        answer = b""
        error: ServingError | None = None
        try:
            remaining = context.time_remaining()
            request = parse(body)
            response = await handler(request, None if remaining is None else start + remaining, len(body))
            answer = response.SerializeToString()
        except ServingError as failed:
            error = failed
        except DecodeError:
            # What the C++ server's gRPC answers to bytes that are not the request's type.
            error = ServingError(Code.INTERNAL, f"Failed to parse the request as {method.request_type.__name__}")
        except asyncio.CancelledError:
            error = ServingError(Code.CANCELLED, "the caller has gone")
            raise
        except Exception as failed:
            logger.exception("%s failed", name)
            error = ServingError(Code.INTERNAL, f"{type(failed).__name__} in {name}; the server's log has more")
        finally:
            if observe is not None:
                model, version = _model(request, response)
                observe(
                    "gRPC", context.peer(), model, version, name, error.code if error else Code.OK,
                    time.monotonic() - start, len(body), len(answer),
                )  # fmt: skip
        if error is not None:
            await _abort(context, error)
        return answer

    return endpoint


async def _abort(context: grpc.aio.ServicerContext, error: ServingError) -> None:
    message = error.message
    if len(message) > MESSAGE_LIMIT:
        message = f"{message[:MESSAGE_LIMIT]}...TRUNCATED"
    await context.abort(_STATUS[int(error.code)], message)


def _model(request: Any, response: Any) -> tuple[str, int | None]:
    """Name and version for logs; the version that answered if there is one."""
    spec = getattr(response, "model_spec", None) or getattr(request, "model_spec", None)
    if spec is None:
        return "", None
    return spec.name, spec.version.value if spec.HasField("version") else None
