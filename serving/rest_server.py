"""Runs the REST application under uvicorn, on the loop that gRPC uses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process's own handler, which drains gRPC as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RestServer:
    """An ASGI application on a port.

    Args:
      app: the application.
      tls: for https.
      drain_seconds: how long requests may still run after `stop`.
    """

    def __init__(self, app, tls: ssl.SSLContext | None, drain_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        self._server = _Uvicorn(config)
        self._task: asyncio.Task | None = None
        self._socket: socket.socket | None = None

    def listen(self, host: str, port: int) -> int:
        """Opens the port; 0 takes a free one.

        Raises:
          OSError: the address is taken or not allowed.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            raise OSError(f"REST cannot listen on {host}:{port}: {error.strerror}") from None
        return self._socket.getsockname()[1]

    async def start(self) -> None:
        """Takes requests."""
        assert self._socket is not None
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.005)
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stops accepting and waits for requests in flight."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
