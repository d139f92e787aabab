"""One gRPC channel: deadlines, retries, credentials, and errors that say what to do."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from serving.client.errors import ClientError, SettingError

MAX_BACKOFF_SECONDS = 2.0
_LOCAL = ("localhost", "127.", "[::1]", "unix:")


@dataclass(frozen=True)
class Tls:
    """How to talk to a server with TLS.

    ca: PEM file of the authorities to trust; the system's otherwise.
    certificate, key: PEM files that prove who the client is, for a server that asks.
    server_name: name in the server's certificate, where it differs from the address.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """
        Raises:
          SettingError: a file cannot be read, or only one of certificate and key is given.
        """
        if (self.certificate is None) != (self.key is None):
            raise SettingError("tls: expected certificate and key together, received one of them")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.certificate))


class Transport:
    """Calls methods of a server.

    Args:
      address: `host:port` or `unix:path`.
      timeout: seconds for one call, all its tries and waits included.
      token: bearer token to show.
      tls: None for plain text, True for the system's authorities.
      retries: further tries after UNAVAILABLE; nothing else is tried again.
      backoff: seconds before the first of them; doubles up to 2 s, each between half and all of it at random.
    """

    def __init__(
        self, address: str, timeout: float, token: str | None, tls: Tls | bool | None, retries: int, backoff: float
    ) -> None:
        _check_address(address)
        if timeout <= 0 or retries < 0 or backoff < 0:
            raise SettingError(
                f"expected timeout > 0, retries >= 0 and backoff >= 0; received {timeout}, {retries} and {backoff}"
            )
        self.address, self._timeout, self._retries, self._backoff = address, timeout, retries, backoff
        self._metadata = (("authorization", f"Bearer {token}"),) if token else None
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # A server that has just come up is found by the next try, not seconds later.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if address.startswith(_LOCAL):
            options.append(("grpc.enable_http_proxy", 0))
        if tls:
            tls = Tls() if tls is True else tls
            if tls.server_name:
                options.append(("grpc.ssl_target_name_override", tls.server_name))
            self.channel = grpc.secure_channel(address, tls.credentials(), options)
        else:
            self.channel = grpc.insecure_channel(address, options)

    def call(self, method: Callable[..., Any], request: Any, what: str) -> Any:
        """The answer.

        Args:
          method: of a stub on `channel`.
          request: its message.
          what: whom it is about, for errors, e.g. "lead-scoring".

        Raises:
          ClientError: no answer in time, or an error.
        """
        deadline = time.monotonic() + self._timeout
        tries, wait = 0, self._backoff
        while True:
            try:
                return method(request, timeout=max(0.001, deadline - time.monotonic()), metadata=self._metadata)
            except grpc.RpcError as error:
                if tries >= self._retries or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise self._explain(error, what, tries + 1) from None
                pause = random.uniform(0.5, 1.0) * wait
                if time.monotonic() + pause >= deadline:
                    raise self._explain(error, what, tries + 1) from None
            except ValueError as error:
                # What gRPC raises for a channel that is closed.
                raise ClientError(f"{self.address}: {error}; the client is closed") from None
            time.sleep(pause)
            tries, wait = tries + 1, min(2 * wait, MAX_BACKOFF_SECONDS)

    def _explain(self, error: Any, what: str, tries: int) -> ClientError:
        code, said = error.code(), (error.details() or "").strip()
        name = code.name
        if code is grpc.StatusCode.UNAVAILABLE:
            tried = f" (tried {tries} times)" if tries > 1 else ""
            if "handshake" in said.lower() or "ssl" in said.lower():
                message = f"{self.address} does not agree on TLS{tried}: {said}; check tls= and its certificates"
            else:
                message = f"no model server answers at {self.address}{tried}; start it with `aiqleads serve`"
                return ClientError(message, [f"gRPC says: {said}"] if said else None, name)
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            message = (
                f"{self.address} did not answer within {self._timeout:g} s; allow more time (timeout), "
                "send fewer leads at once (max_batch), or look at the server's load"
            )
        elif code is grpc.StatusCode.NOT_FOUND:
            message = (
                f"{self.address} does not serve this model or version of {what}: {said}; `status()` lists versions"
            )
        elif code is grpc.StatusCode.UNAUTHENTICATED:
            message = f"{self.address} wants a valid token (token): {said}"
        elif code is grpc.StatusCode.PERMISSION_DENIED:
            message = f"{self.address} does not allow this caller: {said}"
        elif code is grpc.StatusCode.UNIMPLEMENTED:
            message = f"{self.address} is no TensorFlow Serving model server: {said}; is it the gRPC port (8500)?"
        else:
            message = f"{self.address}, {what}: {name}: {said}"
        return ClientError(message, code=name)

    def close(self) -> None:
        self.channel.close()


def _check_address(address: str) -> None:
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise SettingError(f"expected an address as host:port, e.g. 127.0.0.1:8500; received {address!r}")


def _read(path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingError(f"tls: {path} cannot be read: {error.strerror}") from None
