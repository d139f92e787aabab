"""Builds the gRPC server: services, health, reflection, limits, TLS."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from serving.core import ModelServer
from serving.grpc_api.services import MODEL_SERVICE, PREDICTION_SERVICE, RequestObserver, generic_handlers

# The largest message of tensorflow_model_server.
MAX_MESSAGE_BYTES = 2**31 - 1


class GrpcServer:
    """PredictionService and ModelService on a grpc.aio server.

    Args:
      core: answers.
      observe: told of every finished request.
      interceptors: see every call first.
      health: adds the standard health service, for the server ("") and both services' names.
      max_message_bytes: a larger request is RESOURCE_EXHAUSTED and not read into memory.
      arguments: gRPC channel arguments, (key, int or text).
    """

    def __init__(
        self,
        core: ModelServer,
        observe: RequestObserver | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        health: bool = True,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        arguments: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # A second server on the same port is an error, not a silent share of the traffic.
            ("grpc.so_reuseport", 0),
            *arguments,
        ]
        self._server = grpc.aio.server(options=options, interceptors=list(interceptors))
        self._server.add_generic_rpc_handlers(generic_handlers(core, observe))
        self._health = None
        names = [PREDICTION_SERVICE, MODEL_SERVICE]
        if health:
            from grpc_health.v1 import health as health_module
            from grpc_health.v1 import health_pb2_grpc

            self._health = health_module.aio.HealthServicer()
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            names.append(health_module.SERVICE_NAME)
        from grpc_reflection.v1alpha import reflection

        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Opens `host:port` or `unix:path`; port 0 takes a free one.

        Returns:
          The port.

        Raises:
          OSError: the address is taken or not allowed.
        """
        try:
            if credentials is not None:
                port = self._server.add_secure_port(address, credentials)
            else:
                port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: {error}") from None
        if not port and not address.startswith("unix:"):
            raise OSError(f"gRPC cannot listen on {address}: is the port taken?")
        return port

    async def start(self) -> None:
        """Takes requests; the health service says SERVING."""
        if self._health is not None:
            from grpc_health.v1 import health_pb2

            for name in ("", PREDICTION_SERVICE, MODEL_SERVICE):
                await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Stops accepting, lets requests finish for at most `grace` seconds."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
