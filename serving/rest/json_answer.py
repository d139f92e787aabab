"""Results as JSON text.

Floats are the shortest decimals that read back as the same float32 or float64, always with '.' or 'e'; NaN, Infinity
and -Infinity are bare tokens. Whole arrays become text at once; rows are cut out of that text.

Reference: tensorflow_serving/util/json_tensor.cc (MakeJsonFromTensors, MakeJsonFromClassificationResult,
MakeJsonFromRegressionResult).
"""

from __future__ import annotations

import json
import math
from binascii import b2a_base64
from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
import orjson

from modules.native.protos import classification_pb2, regression_pb2
from modules.native.tensor import STRING
from serving.errors import invalid
from serving.rest.json_array import TYPE_NAMES

Output = tuple[str, int, np.ndarray]

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_NUMBERS = {1, 2, 3, 4, 5, 6, 9, 10, 19, 22, 23}


def error(message: str) -> bytes:
    """The body of every failure."""
    try:
        return b'{"error": ' + orjson.dumps(message) + b"}"
    except orjson.JSONEncodeError:  # a lone surrogate
        return b'{"error": ' + json.dumps(message).encode() + b"}"


def predict(outputs: Sequence[Output], row_format: bool) -> bytes:
    """A predict response.

    Args:
      outputs: (alias, TF_DataType, array), in the order in which they are to be printed.
      row_format: `predictions`, a list with a value or an object for each row; otherwise `outputs`, a value or an
        object of whole tensors.

    Raises:
      ServingError: INVALID_ARGUMENT: outputs that do not share a first dimension cannot be given in rows; types that
        JSON does not have.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if not row_format:
        if len(outputs) == 1:
            return b'{"outputs": ' + _text(*outputs[0]) + b"}"
        members = [orjson.dumps(alias) + b": " + _text(alias, dtype, array) for alias, dtype, array in outputs]
        return b'{"outputs": {' + b", ".join(members) + b"}}"
    rows = _rows(outputs)
    if len(outputs) == 1:
        return b'{"predictions": ' + _text(*outputs[0]) + b"}"
    if not rows:
        return b'{"predictions": []}'
    # {"a": 1, "b": 2}, {"a": 3, ...: every piece of text that repeats is put in place for all rows at once.
    step = 2 * len(outputs)
    pieces: list[bytes] = [b""] * (rows * step)
    for i, (alias, dtype, array) in enumerate(outputs):
        pieces[2 * i :: step] = [(b", " if i else b"{") + orjson.dumps(alias) + b": "] * rows
        pieces[2 * i + 1 :: step] = _row_texts(alias, dtype, array)
    pieces[step::step] = [b"}, " + pieces[0]] * (rows - 1)
    return b'{"predictions": [' + b"".join(pieces) + b"}]}"


def classifications(result: classification_pb2.ClassificationResult) -> bytes:
    """A classify response: for each example a list of [label, score].

    Raises:
      ServingError: INVALID_ARGUMENT: no example.
    """
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    examples = [example.classes for example in result.classifications]
    classes = list(chain.from_iterable(examples))
    scores = _row_texts("score", 1, np.array([c.score for c in classes], np.float32))
    pairs = [b"[%b, %b]" % (orjson.dumps(c.label), score) for c, score in zip(classes, scores, strict=True)]
    ends = list(accumulate(map(len, examples)))
    rows = (b", ".join(pairs[start:end]) for start, end in zip([0, *ends], ends, strict=False))
    return b'{"results": [[' + b"], [".join(rows) + b"]]}"


def regressions(result: regression_pb2.RegressionResult) -> bytes:
    """A regress response: one value for each example.

    Raises:
      ServingError: INVALID_ARGUMENT: no example.
    """
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    values = np.array([regression.value for regression in result.regressions], np.float32)
    return b'{"results": ' + _text("value", 1, values) + b"}"


def _rows(outputs: Sequence[Output]) -> int:
    rows = None
    for alias, _, array in outputs:
        if not array.ndim:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        if rows is not None and rows != array.shape[0]:
            raise invalid(f"Tensor name: {alias} has inconsistent batch size: {array.shape[0]} expecting: {rows}")
        rows = array.shape[0]
    return rows or 0


def _text(alias: str, dtype: int, array: np.ndarray) -> bytes:
    """A whole tensor."""
    if dtype == STRING:
        tokens = _string_texts(alias, array)
        if not array.ndim:
            return tokens[0]
        return _nested(tokens, array.shape) if array.size else orjson.dumps(np.empty(array.shape), option=_NUMPY)
    if dtype not in _NUMBERS:
        raise invalid(f"Failed to write JSON value for tensor type: {TYPE_NAMES.get(dtype, dtype)}")
    if not array.ndim:
        return _text(alias, dtype, array.reshape(1))[1:-1]
    text = orjson.dumps(array if array.flags.c_contiguous else np.ascontiguousarray(array), option=_NUMPY)
    return _with_non_finite(text, array) if b"null" in text else text


def _with_non_finite(text: bytes, array: np.ndarray) -> bytes:
    """Puts the tokens where orjson, strict about JSON, wrote null."""
    values = array[~np.isfinite(array)].tolist()
    tokens = [b"NaN" if math.isnan(v) else b"Infinity" if v > 0 else b"-Infinity" for v in values]
    parts = text.split(b"null")
    pieces = [b""] * (2 * len(parts) - 1)
    pieces[::2], pieces[1::2] = parts, tokens
    return b"".join(pieces)


def _row_texts(alias: str, dtype: int, array: np.ndarray) -> list[bytes]:
    """The text of each row of a tensor of rank one or more."""
    rows = array.shape[0]
    if not array.size:
        return [orjson.dumps(np.empty(array.shape[1:]), option=_NUMPY)] * rows if rows else []
    if dtype == STRING:
        tokens = _string_texts(alias, array)
        # JSON text holds no raw line break, so one between rows is safe to split at.
        return tokens if array.ndim == 1 else _nested(tokens, array.shape, b"\n")[1:-1].split(b"\n")
    text = _text(alias, dtype, array)[1:-1]
    if array.ndim == 1:
        return text.split(b",")
    inner = array.ndim - 1
    return text.replace(b"]" * inner + b"," + b"[" * inner, b"]" * inner + b"\n" + b"[" * inner).split(b"\n")


def _string_texts(alias: str, array: np.ndarray) -> list[bytes]:
    """The text of each string; base64 objects where the name says that they are binary."""
    values: list[bytes] = array.reshape(-1).tolist()
    if alias.endswith("_bytes"):
        return [b'{"b64": "%b"}' % b2a_base64(value, newline=False) for value in values]
    try:
        return list(map(orjson.dumps, map(bytes.decode, values)))
    except UnicodeDecodeError:
        # Upstream passes bytes that are no UTF-8 through as they are; so does this.
        texts = (json.dumps(value.decode(errors="surrogateescape"), ensure_ascii=False) for value in values)
        return [text.encode(errors="surrogateescape") for text in texts]


def _nested(texts: list[bytes], shape: tuple[int, ...], between_rows: bytes = b",") -> bytes:
    """Texts of values in row-major order as nested lists. shape: rank one or more, no dimension of zero."""
    separators = [b","] * len(texts)
    step, rank = 1, len(shape)
    for inner in range(1, rank):
        step *= shape[-inner]
        comma = between_rows if inner == rank - 1 else b","
        separators[step - 1 :: step] = [b"]" * inner + comma + b"[" * inner] * (len(texts) // step)
    separators[-1] = b""
    return b"[" * rank + b"".join(chain.from_iterable(zip(texts, separators, strict=True))) + b"]" * rank
