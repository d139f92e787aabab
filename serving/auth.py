"""Bearer tokens: who may call. A token comes from a file or an environment variable, never from a command line."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from serving.errors import Code, ServingError, invalid

logger = logging.getLogger("serving")

FEW_CHARACTERS = 16
# The standard answer to a request without a valid token over HTTP (RFC 6750).
WWW_AUTHENTICATE = "Bearer"
# What a load balancer and a scraper ask, usually without a token.
HEALTH_SERVICE = "/grpc.health.v1.Health/"


class BearerToken:
    """Checks `authorization: Bearer TOKEN`.

    Args:
      tokens: any of them is accepted, so that one can be replaced without an interruption.
      exempt: beginnings of gRPC methods (`/package.Service/Method`) and URL paths that need no token.

    Raises:
      ServingError: INVALID_ARGUMENT, there is no token.
    """

    def __init__(self, tokens: Iterable[str], exempt: Iterable[str] = (HEALTH_SERVICE,)) -> None:
        found = list(tokens)
        if not found or not all(found):
            raise invalid("a bearer token must not be empty")
        if any(len(token) < FEW_CHARACTERS for token in found):
            logger.warning(
                "a bearer token has fewer than %d characters and can be guessed; openssl rand -hex 32 makes a good one",
                FEW_CHARACTERS,
            )
        # Digests are of one length, so the time of a comparison says nothing about a token's.
        self._digests = [_digest(token) for token in found]
        self._exempt = tuple(exempt)

    @classmethod
    def read(
        cls, file: str | Path = "", environment: str = "", exempt: Iterable[str] = (HEALTH_SERVICE,)
    ) -> BearerToken | None:
        """The tokens the server was told of; None if it was told of none.

        Args:
          file: one token per line; empty lines and those that begin with # are left out.
          environment: name of an environment variable that holds a token.
          exempt: see the class.

        Raises:
          ServingError: NOT_FOUND, there is no such file or variable; INVALID_ARGUMENT, it holds no token.
        """
        if not file and not environment:
            return None
        tokens = []
        if file:
            tokens += _tokens(Path(file))
        if environment:
            value = os.environ.get(environment, "").strip()
            if not value:
                raise ServingError(Code.NOT_FOUND, f"the environment variable {environment} for the token is not set")
            tokens.append(value)
        return cls(tokens, exempt)

    def check(self, authorization: str | None, target: str = "") -> ServingError | None:
        """Whether a caller may pass.

        Args:
          authorization: the header, or metadata, of that name.
          target: gRPC method or URL path, to be compared with the exempt ones.

        Returns:
          None, or UNAUTHENTICATED with what is wrong.
        """
        if target and target.startswith(self._exempt):
            return None
        if not authorization:
            return ServingError(Code.UNAUTHENTICATED, "Missing credentials: expected 'authorization: Bearer TOKEN'")
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return ServingError(Code.UNAUTHENTICATED, "Unsupported credentials: expected 'authorization: Bearer TOKEN'")
        presented = _digest(token.strip())
        matches = [hmac.compare_digest(presented, digest) for digest in self._digests]
        return None if any(matches) else ServingError(Code.UNAUTHENTICATED, "Invalid bearer token")

    def check_headers(self, headers: Mapping[str, str], path: str = "") -> ServingError | None:
        """The same for the headers of an HTTP request, whose names are compared without regard to case.

        Args:
          headers: a Starlette `Headers`, or any mapping with names in lower case.
          path: of the URL, to be compared with the exempt ones.
        """
        return self.check(headers.get("authorization"), path)

    def __repr__(self) -> str:
        return f"BearerToken({len(self._digests)} tokens)"


def _tokens(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ServingError(Code.NOT_FOUND, f"token file {path}: {reason}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("token file %s can be read by others than its owner; chmod 600 would keep it secret", path)
    lines = [line.strip() for line in text.splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise invalid(f"token file {path} holds no token")
    return tokens


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
