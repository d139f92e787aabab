"""Clients that cost the load process little: connections with one request at a time, on bytes.

The load shares the machine with the server, and a request through grpc.aio costs the caller as much as a whole answer
costs the server. So here a request's frames are laid out once and copied, and of an answer's frames only the message is
kept.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

import httptools

Client = Callable[[bytes], "asyncio.Future[bytes]"]

# HTTP/2 frame types and flags (RFC 9113, section 6).
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_FRAME_HEAD = 9
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LARGEST_WINDOW, _FIRST_WINDOW = 2**31 - 1, 65_535
# Without a word from the server.
_LARGEST_FRAME = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that enters no table (RFC 7541, section 6.2.2), both strings shorter than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


class GrpcClient(asyncio.Protocol):
    """A gRPC connection for one method, unary, one call at a time.

    Args:
      method: /service/name.
      authority: host:port.
    """

    def __init__(self, method: str, authority: str) -> None:
        self._headers = b"".join(
            _literal(name, value.encode())
            for name, value in (
                (b":method", "POST"),
                (b":scheme", "http"),
                (b":path", method),
                (b":authority", authority),
                (b"te", "trailers"),
                (b"content-type", "application/grpc"),
                (b"user-agent", "serving-load"),
            )
        )
        self._stream = -1
        self._window = _FIRST_WINDOW
        self._received = bytearray()
        self._message = b""
        self._trailers = b""
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        increment = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
        self._transport.write(_PREFACE + frame(_SETTINGS, 0, 0) + frame(_WINDOW_UPDATE, 0, 0, increment))

    def __call__(self, request: bytes) -> asyncio.Future[bytes]:
        """Sends a serialized request; the serialized response, or RuntimeError."""
        self._answer = answer = self._loop.create_future()
        self._message = b""
        size = len(request) + 5
        self._window -= size
        if self._window < 0:
            answer.set_exception(RuntimeError("the server's flow-control window is used up"))
            return answer
        self._stream = stream = self._stream + 2
        head = frame(_HEADERS, _END_HEADERS, stream, self._headers)
        if size <= _LARGEST_FRAME:
            data = struct.pack(">IBIBI", size << 8 | _DATA, _END_STREAM, stream, 0, len(request)) + request
        else:
            message = struct.pack(">BI", 0, len(request)) + request
            parts = [message[at : at + _LARGEST_FRAME] for at in range(0, size, _LARGEST_FRAME)]
            last = len(parts) - 1
            data = b"".join(frame(_DATA, _END_STREAM * (i == last), stream, part) for i, part in enumerate(parts))
        self._transport.write(head + data)
        return answer

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at, end = 0, len(received)
        while end - at >= _FRAME_HEAD:
            head, flags, stream = struct.unpack_from(">IBI", received, at)
            after = at + _FRAME_HEAD + (head >> 8)
            if after > end:
                break
            self._on_frame(head & 0xFF, flags, stream, bytes(received[at + _FRAME_HEAD : after]))
            at = after
        del received[:at]

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if stream and stream != self._stream:
            # Of a call that has failed.
            return
        if kind == _DATA:
            self._message += payload
        elif kind == _HEADERS:
            self._trailers = payload
        elif kind == _WINDOW_UPDATE and not stream:
            self._window = min(_LARGEST_WINDOW, self._window + struct.unpack(">I", payload)[0])
        elif kind == _SETTINGS and not flags & _ACK:
            self._transport.write(frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            self._fail(f"the server says goodbye: {payload[8:]!r}")
        if kind == _RST_STREAM:
            self._fail(f"the server reset the stream, code {struct.unpack('>I', payload)[0]}")
        elif flags & _END_STREAM and kind in (_DATA, _HEADERS) and self._answer is not None:
            if self._answer.done():
                return
            if len(self._message) >= 5:
                self._answer.set_result(self._message[5:])
            else:
                self._fail(f"no message; trailers {self._trailers!r}")

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RuntimeError(why))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the server closed the connection")


class HttpClient(asyncio.Protocol):
    """A keep-alive HTTP/1.1 connection, one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._loop = asyncio.get_running_loop()

    def __call__(self, request: bytes) -> asyncio.Future[bytes]:
        """Sends a whole request, head and body; the response's body, or RuntimeError."""
        self._answer = answer = self._loop.create_future()
        self._transport.write(request)
        return answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Of httptools: a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Of httptools: the response is whole."""
        body = b"".join(self._body)
        self._body.clear()
        status = self._parser.get_status_code()
        if self._answer is not None and not self._answer.done():
            if status == 200:
                self._answer.set_result(body)
            else:
                self._answer.set_exception(RuntimeError(f"status {status}: {body[:200]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RuntimeError("the server closed the connection"))
