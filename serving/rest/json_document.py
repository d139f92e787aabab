"""Request bodies: JSON as RapidJSON reads it with NaN and infinities, errors in its words, values quoted in messages.

Reference: tensorflow_serving/util/json_tensor.cc (ParseJson, JsonValueToString) and rapidjson/error/en.h.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import orjson

from serving.errors import ServingError, invalid

_QUOTE_LIMIT = 512  # characters of a value that an error message quotes
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_TOKENS_ONLY_UPSTREAM = re.compile(r'"(?:[^"\\]|\\.)*"|-NaN\b|\bInf\b', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_EXTREME_NUMBER = re.compile(r"\d{19}|[eE]\+?\d{3}")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1


_TYPE_NAMES: dict[type, str] = {dict: "Object", list: "Array", str: "String"}


class _TooBig(Exception):
    """A number beyond the doubles; the argument is its text."""


def parse(body: bytes | bytearray, max_depth: int) -> dict[str, Any]:
    """A request's JSON object.

    Integers from -2^63 to 2^64 - 1 become int, other numbers float, as in RapidJSON.

    Args:
      body: UTF-8, perhaps with a byte order mark.
      max_depth: of nested lists and objects.

    Raises:
      ServingError: INVALID_ARGUMENT: not JSON, nested deeper, or not an object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    if body.count(b"[") + body.count(b"{") > max_depth and _depth(bytes(body)) > max_depth:
        raise invalid(f"JSON Value: nested deeper than {max_depth} levels")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _lenient(bytes(body))
    if type(document) is not dict:
        raise invalid(f"JSON Value: {quote(document)} Is not object")
    return document


def signature_name(document: dict[str, Any]) -> str:
    """The request's `signature_name`; empty if it names none.

    Raises:
      ServingError: INVALID_ARGUMENT: not a string.
    """
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise invalid(
            f"JSON Value: {quote(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    if value is None:
        return "Null"
    if value is True or value is False:
        return "True" if value else "False"
    return _TYPE_NAMES.get(type(value), "Number")


def quote(value: Any) -> str:
    """A value as error messages show it: indented by four, cut after 512 characters."""
    if type(value) is float:
        return _decimal(value)
    text = ""
    try:
        for part in json.JSONEncoder(ensure_ascii=False, indent=4).iterencode(value):
            text += part[: _QUOTE_LIMIT + 1]
            if len(text) > _QUOTE_LIMIT:
                return text[:_QUOTE_LIMIT] + "..."
    except RecursionError:
        return text[:_QUOTE_LIMIT] + "..."
    return text


def _decimal(value: float) -> str:
    """Six digits if they suffice, else all of them; always with '.' or 'e' (json_tensor.cc, WriteDecimal)."""
    if not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    narrow = abs(value) <= 3.4028234e38
    number = np.float32(value) if narrow else value
    text = f"{number:.6g}"
    if (np.float32(text) if narrow else float(text)) != number:
        text = f"{number:.{9 if narrow else 17}g}"
    return text if "." in text or "e" in text else text + ".0"


def _depth(body: bytes) -> int:
    if b"\\" in body:
        body = _STRING.sub(b"", body)
    marks = body.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    if b'"' in marks:
        marks = _STRING.sub(b"", marks)
    if not marks:
        return 0
    return int(np.cumsum(_STEP[np.frombuffer(marks, np.uint8)], dtype=np.int64).max())


def _lenient(body: bytes) -> Any:
    """What orjson refuses and RapidJSON takes: NaN, infinities, a byte order mark. Raises for the rest."""
    start = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    try:
        text = body[start:].decode()
    except UnicodeDecodeError as error:
        raise _error("Invalid encoding in string.", start + error.start) from None
    read = text
    if "-NaN" in text or "Inf" in text:
        read = _TOKENS_ONLY_UPSTREAM.sub(lambda m: {"-NaN": "NaN", "Inf": "Infinity"}.get(m[0], m[0]), text)
    hooks: dict[str, Any] = {"parse_float": _float, "parse_int": _int} if _EXTREME_NUMBER.search(text) else {}
    try:
        document = json.loads(read, **hooks)
    except json.JSONDecodeError:
        try:
            json.loads(text, **hooks)
        except json.JSONDecodeError as error:
            message, position = _in_rapidjson_words(text, error)
            raise _error(message, start + len(text[:position].encode())) from None
        raise
    except _TooBig as error:
        position = len(text[: text.find(error.args[0])].encode())
        raise _error("Number too big to be stored in double.", start + position) from None
    except RecursionError:
        raise invalid("JSON Value: nested too deep") from None
    if (lone := _lone_surrogate(text)) is not None:
        raise _error("The surrogate pair in string is invalid.", start + len(text[:lone].encode()))
    return document


def _error(message: str, offset: int) -> ServingError:
    return invalid(f"JSON Parse error: {message} at offset: {offset}")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _TooBig(text)
    return number


def _int(text: str) -> int | float:
    if len(text) > 20:
        return _float(text)
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 64 else float(number)


def _lone_surrogate(text: str) -> int | None:
    high = None
    for match in _ESCAPE.finditer(text) if "\\u" in text else ():
        code = int(match[1], 16) if match[1] else 0
        if 0xDC00 <= code < 0xE000:
            if high is None or high.end() != match.start():
                return match.start() if high is None else high.start()
            high = None
        elif high is not None:
            return high.start()
        elif 0xD800 <= code < 0xDC00:
            high = match
    return None if high is None else high.start()


def _in_rapidjson_words(text: str, error: json.JSONDecodeError) -> tuple[str, int]:
    """The message and the position (in characters) that RapidJSON's reader would give."""
    at, kind = error.pos, error.msg
    here = text[at : at + 1]
    if kind == "Expecting value":
        if not text.strip(" \t\r\n"):
            return "The document is empty.", len(text)
        return "Invalid value.", at + _matching_literal(text[at : at + 10])
    if kind in ("Expecting ',' delimiter", "Extra data"):
        if here in (".", "e", "E") and here and text[at - 1].isdigit():
            if here == ".":
                return "Miss fraction part in number.", at + 1
            return "Miss exponent in number.", at + 1 + (text[at + 1 : at + 2] in ("+", "-"))
        if kind == "Extra data":
            return "The document root must not be followed by other values.", at
        if _inside_object(text[:at].encode()):
            return "Missing a comma or } after an object member.", at
        return "Missing a comma or ] after an array element.", at
    if kind.startswith("Expecting property name"):
        return "Missing a name for object member.", at
    if kind == "Expecting ':' delimiter":
        return "Missing a colon after a name of object member.", at
    if kind.startswith("Invalid control character") and here != "\0":
        return "Invalid encoding in string.", at
    if kind.startswith("Invalid control character"):
        return "Missing a closing quotation mark in string.", at
    if kind.startswith("Invalid \\escape"):
        return "Invalid escape character in string.", text.rfind("\\", 0, at + 1)
    if kind.startswith("Invalid \\uXXXX"):
        return "Incorrect hex digit after \\u escape in string.", text.rfind("\\", 0, at + 1)
    if kind.startswith("Unterminated string"):
        return "Missing a closing quotation mark in string.", len(text)
    return "Invalid value.", at


def _matching_literal(text: str) -> int:
    sign = 1 if text.startswith("-") else 0
    for word in ("NaN", "Infinity") if sign else ("null", "true", "false", "NaN", "Infinity"):
        if text[sign : sign + 1] == word[0]:
            pairs = zip(text[sign:], word, strict=False)
            return sign + next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(text) - sign, len(word)))
    return sign


def _inside_object(before: bytes) -> bool:
    marks = _STRING.sub(b"", before).translate(None, _NOT_STRUCTURE)
    left = None
    while left != marks:
        left, marks = marks, marks.replace(b"[]", b"").replace(b"{}", b"")
    return marks.endswith(b"{")
