"""Paths of the REST API.

Reference: tensorflow_serving/model_servers/http_rest_api_util.cc (ParseModelInfo).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from modules.native.protos import model_pb2
from serving.errors import ServingError, invalid

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_VERSION = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(r"/v1/models/([^/:]+)" + _VERSION + r":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_GET = re.compile(r"/v1/models(?:/([^/:]+))?" + _VERSION + r"(?:/(metadata))?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for. api: predict, classify, regress, status or metadata; version and label: at most one."""

    api: str
    model: str
    version: int | None = None
    label: str | None = None

    def fill(self, spec: model_pb2.ModelSpec) -> None:
        """Writes model, version and label into a ModelSpec."""
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        if self.label is not None:
            spec.version_label = self.label


def is_api(path: str) -> bool:
    """Whether a path belongs to the REST API at all."""
    return _API.fullmatch(path) is not None


def parse_route(method: str, target: str) -> Route:
    """A request's route. Words and methods in the path ignore case; names are URL-decoded.

    Args:
      method: of HTTP.
      target: the path as sent, with the query if there is one (upstream takes none).

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    match = pattern.fullmatch(target) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {method} {target}")
    name, digits, label, last = match.groups()
    significant = digits.lstrip("0") if digits else ""
    version = int(significant or "0") if len(significant) <= 19 else 1 << 63
    if version >= 1 << 63:
        raise invalid(f"Failed to convert version: {digits} to numeric.")
    if not name:
        raise invalid("Missing model name in request.")
    return Route(
        api=last.lower() if last else "status",
        model=_decode(name, "model name:"),
        version=version if digits else None,
        label=_decode(label, "model version label:") if label else None,
    )


def _decode(text: str, what: str) -> str:
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise _undecodable(text, what) from None


def _undecodable(text: str, what: str) -> ServingError:
    return invalid(f"Failed to decode {what}{text}")
