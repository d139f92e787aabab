"""An OpenAPI 3.1 description of the REST API, generic or with the inputs and outputs of a version's signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.native.protos import SignatureDef, TensorInfo
from modules.native.tensor import STRING

Schema = dict[str, Any]

_FLOATS, _INTEGERS, _BOOL = {1, 2, 14, 19}, {3, 4, 5, 6, 9, 17, 22, 23}, 10
_BINARY: Schema = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
    "additionalProperties": False,
}
_ERROR = {"description": "Failure", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def describe(
    model: str = "{model}", signatures: Mapping[str, SignatureDef] | None = None, server: str = "/"
) -> dict[str, Any]:
    """The description, ready for `json.dumps`.

    Args:
      model: its name; left out, the path has a parameter for it.
      signatures: of the version, by name; they give predict its exact types.
      server: URL at which the API is.
    """
    parameters = [_parameter("model")] if model == "{model}" else []
    paths: dict[str, Any] = {}
    for suffix, extra in (("", []), ("/versions/{version}", ["version"]), ("/labels/{label}", ["label"])):
        base, known = f"/v1/models/{model}{suffix}", [*parameters, *map(_parameter, extra)]
        paths[base] = {"get": _operation("State of the versions", known)}
        paths[f"{base}/metadata"] = {"get": _operation("Signatures", known)}
        paths[f"{base}:predict"] = {"post": _operation("Predict", known, _predict_request(signatures or {}))}
        for api in ("classify", "regress"):
            paths[f"{base}:{api}"] = {"post": _operation(api.capitalize(), known, _EXAMPLES)}
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"TensorFlow Serving REST API: {model.strip('{}')}", "version": "1"},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": {"Error": error}},
    }


def tensor_schema(info: TensorInfo, skip_first: bool = False) -> Schema:
    """A tensor as nested lists. skip_first: without the first dimension, as in one row of `instances`."""
    if info.dtype in _FLOATS:
        schema: Schema = {"type": "number"}
    elif info.dtype in _INTEGERS:
        schema = {"type": "integer"}
    elif info.dtype == _BOOL:
        schema = {"type": "boolean"}
    elif info.dtype == STRING:
        schema = {"anyOf": [{"type": "string"}, _BINARY]}
    else:
        schema = {}
    if info.tensor_shape.unknown_rank:
        return {"anyOf": [schema, {"type": "array"}]}
    for dimension in reversed(info.tensor_shape.dim[1 if skip_first else 0 :]):
        schema = {"type": "array", "items": schema}
        if dimension.size >= 0:
            schema |= {"minItems": dimension.size, "maxItems": dimension.size}
    return schema


def _parameter(name: str) -> dict[str, Any]:
    kind = {"type": "integer", "minimum": 0} if name == "version" else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": kind}


def _operation(summary: str, parameters: list, request: Schema | None = None) -> dict[str, Any]:
    answer = {"description": "Answer", "content": {"application/json": {"schema": {"type": "object"}}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": answer, "default": _ERROR},
    }
    if request is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": request}}}
    return operation


def _predict_request(signatures: Mapping[str, SignatureDef]) -> Schema:
    bodies = [
        body
        for name, signature in sorted(signatures.items())
        if signature.method_name == "tensorflow/serving/predict"
        for body in (_body(name, "instances", _rows(signature)), _body(name, "inputs", _columns(signature)))
    ]
    return {"anyOf": bodies or [_body("", "instances", {"type": "array", "minItems": 1}), _body("", "inputs", {})]}


def _body(signature: str, key: str, value: Schema) -> Schema:
    name = {"const": signature} if signature else {"type": "string"}
    needed = [key] if signature in ("", "serving_default") else [key, "signature_name"]
    return {"type": "object", "properties": {"signature_name": name, key: value}, "required": needed}


def _rows(signature: SignatureDef) -> Schema:
    inputs = {alias: tensor_schema(info, skip_first=True) for alias, info in sorted(signature.inputs.items())}
    row = {"type": "object", "properties": inputs, "required": list(inputs), "additionalProperties": False}
    item = {"anyOf": [row, *inputs.values()]} if len(inputs) == 1 else row
    return {"type": "array", "minItems": 1, "items": item}


def _columns(signature: SignatureDef) -> Schema:
    inputs = {alias: tensor_schema(info) for alias, info in sorted(signature.inputs.items())}
    named = {"type": "object", "properties": inputs, "required": list(inputs)}
    return {"anyOf": [named, *inputs.values()]} if len(inputs) == 1 else named


_FEATURE_VALUE: Schema = {"anyOf": [{"type": ["number", "string", "boolean"]}, _BINARY]}
_EXAMPLE: Schema = {
    "type": "object",
    "additionalProperties": {"anyOf": [_FEATURE_VALUE, {"type": "array", "items": _FEATURE_VALUE}]},
}
_EXAMPLES: Schema = {
    "type": "object",
    "properties": {
        "signature_name": {"type": "string"},
        "context": _EXAMPLE,
        "examples": {"type": "array", "minItems": 1, "items": _EXAMPLE},
    },
    "required": ["examples"],
}
