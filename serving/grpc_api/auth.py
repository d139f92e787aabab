"""Lets only callers with a bearer token reach any service, reflection included; the health service is exempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc

from serving.auth import BearerToken
from serving.errors import ServingError


class RequireToken(grpc.aio.ServerInterceptor):
    """Checks the `authorization` metadata before a request's body is read.

    Args:
      token: knows the tokens and the exempt methods.
      refused: told the method and the error of each refusal.
    """

    def __init__(self, token: BearerToken, refused: Callable[[str, ServingError], None]) -> None:
        self._token = token
        self._refused = refused

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        error = self._token.check(_authorization(handler_call_details), handler_call_details.method)
        if error is None:
            return await continuation(handler_call_details)
        self._refused(handler_call_details.method, error)
        message = error.message

        async def refuse(_request, context: grpc.aio.ServicerContext):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, message)

        handler = await continuation(handler_call_details)
        if handler is not None and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(refuse)
        return grpc.unary_unary_rpc_method_handler(refuse)


def _authorization(details: grpc.HandlerCallDetails) -> str | None:
    for key, value in details.invocation_metadata or ():
        if key == "authorization":
            return value if isinstance(value, str) else value.decode("latin-1")
    return None
