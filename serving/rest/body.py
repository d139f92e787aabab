"""Reads a request's body within its limits: size before and after decompression, and time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from serving.errors import Code, ServingError, invalid

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_CHUNK = 1 << 20


class BodyError(ServingError):
    """A body that was not read to its end; the connection is of no further use.

    Args:
      code, message: as in ServingError.
      http_status: what the transport answers.

    Attributes:
      more: whether the client may still be sending.
    """

    def __init__(self, code: Code, message: str, http_status: int) -> None:
        super().__init__(code, message)
        self._http_status = http_status
        self.more = True

    @property
    def http_status(self) -> int:
        return self._http_status


class Disconnected(Exception):
    """The client has gone; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class BodyHeaders:
    """What the headers say about the body. length: None if it comes in chunks."""

    length: int | None
    gzip: bool

    @classmethod
    def of(cls, headers: list[tuple[bytes, bytes]]) -> BodyHeaders:
        """Reads the headers of an ASGI scope.

        Raises:
          ServingError: INVALID_ARGUMENT: a length or encoding that is none.
        """
        length, encoding = None, b""
        for name, value in headers:
            if name == b"content-length":
                if not value.isdigit():
                    raise invalid("Content-Length is not a number")
                length = int(value[:20])
            elif name == b"content-encoding":
                encoding = value.strip().lower()
        if encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
            raise invalid(f"Content-Encoding {encoding.decode('latin-1')} is not supported; send gzip or none")
        return cls(length, encoding.endswith(b"gzip"))


async def read_body(receive: Receive, headers: BodyHeaders, limit: int, seconds: float | None) -> bytes | bytearray:
    """The body, decompressed.

    Args:
      receive: of ASGI.
      headers: what was announced.
      limit: largest size in bytes, as sent and after decompression.
      seconds: for the body to arrive in; None for no limit.

    Raises:
      BodyError: 413: larger than the limit (a body that announces it is not read at all); 408: too slow.
      ServingError: INVALID_ARGUMENT: not gzip.
      Disconnected: the client left in the middle.
    """
    if headers.length is not None and headers.length > limit:
        raise _too_large(limit, f"{headers.length} bytes")
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    first = message.get("body", b"")
    if not message.get("more_body", False) and not headers.gzip and len(first) <= limit:
        return first
    try:
        async with asyncio.timeout(seconds):
            return await _read_on(receive, message, _Gunzip(limit) if headers.gzip else _Plain(limit))
    except TimeoutError:
        raise BodyError(Code.DEADLINE_EXCEEDED, f"The request's body took longer than {seconds:g} s", 408) from None


async def drain(receive: Receive, limit: int = 1 << 23, seconds: float = 1.0) -> None:
    """Takes in what a refused client still sends, within bounds.

    Closing a socket with unread data resets it, and the client would lose the answer that says why.
    """
    try:
        async with asyncio.timeout(seconds):
            while limit > 0:
                message = await receive()
                limit -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


async def _read_on(receive: Receive, message: Message, content: _Plain | _Gunzip) -> bytearray:
    while True:
        more = message.get("more_body", False)
        try:
            content.add(message.get("body", b""))
        except BodyError as error:
            error.more = more
            raise
        if not more:
            return content.end()
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected


class _Plain:
    def __init__(self, limit: int) -> None:
        self._limit, self._content = limit, bytearray()

    def add(self, data: bytes) -> None:
        if len(self._content) + len(data) > self._limit:
            raise _too_large(self._limit, "more")
        self._content += data

    def end(self) -> bytearray:
        return self._content


class _Gunzip:
    """Never holds more than the limit, however small the compressed data that would grow beyond it."""

    def __init__(self, limit: int) -> None:
        self._limit, self._content = limit, bytearray()
        self._stream = zlib.decompressobj(wbits=31)
        self._began = False

    def add(self, data: bytes) -> None:
        while data:
            if self._stream.eof:  # gzip files may be concatenated
                self._stream = zlib.decompressobj(wbits=31)
            self._began = True
            try:
                room = self._limit - len(self._content)
                self._content += self._stream.decompress(data, min(_CHUNK, room + 1))
            except zlib.error as error:
                raise invalid(f"The body is not valid gzip: {error}") from None
            if len(self._content) > self._limit:
                raise _too_large(self._limit, "more when decompressed")
            data = self._stream.unconsumed_tail or self._stream.unused_data

    def end(self) -> bytearray:
        if self._began and not self._stream.eof:
            raise invalid("The body is not valid gzip: it ends too early")
        return self._content


def _too_large(limit: int, size: str) -> BodyError:
    return BodyError(Code.RESOURCE_EXHAUSTED, f"The request's body has {size}; the limit is {limit} bytes", 413)
