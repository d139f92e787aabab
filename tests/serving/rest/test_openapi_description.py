from __future__ import annotations

import json

from modules.native.protos import SignatureDef
from serving.rest.openapi import describe
from serving.rest.routes import parse_route


def signature(**inputs: tuple[int, list[int]]) -> SignatureDef:
    definition = SignatureDef(method_name="tensorflow/serving/predict")
    for alias, (dtype, shape) in inputs.items():
        definition.inputs[alias].dtype = dtype
        for size in shape:
            definition.inputs[alias].tensor_shape.dim.add(size=size)
    return definition


def test_every_described_path_is_a_route_and_every_api_is_described() -> None:
    found = set()
    for path, operations in describe()["paths"].items():
        (method,) = operations
        for name, value in (("model", "m"), ("version", "7"), ("label", "stable")):
            path = path.replace("{" + name + "}", value)
        route = parse_route(method.upper(), path)
        found.add((route.api, route.version, route.label))
    apis = ("predict", "classify", "regress", "status", "metadata")
    assert found == {(api, *which) for api in apis for which in ((None, None), (7, None), (None, "stable"))}


def test_a_path_parameter_is_declared_exactly_where_it_stands() -> None:
    for description in (describe(), describe("m")):
        for path, operations in description["paths"].items():
            for operation in operations.values():
                declared = {p["name"] for p in operation["parameters"]}
                assert declared == {name for name in ("model", "version", "label") if f"/{{{name}}}" in path}


def test_signatures_give_the_types_of_rows_and_columns() -> None:
    signatures = {
        "serving_default": signature(x=(1, [-1])),
        "many": signature(i=(9, [-1, 3]), s=(7, [-1]), t=(10, [-1])),
        "regress": SignatureDef(method_name="tensorflow/serving/regress"),
    }
    description = json.loads(json.dumps(describe("m", signatures)))
    request = description["paths"]["/v1/models/m:predict"]["post"]["requestBody"]
    rows, columns, bare_rows, bare_columns = request["content"]["application/json"]["schema"]["anyOf"]
    assert rows["required"] == ["instances", "signature_name"]
    row = rows["properties"]["instances"]["items"]
    assert row["required"] == ["i", "s", "t"]
    assert row["properties"]["i"] == {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3}
    assert row["properties"]["t"] == {"type": "boolean"}
    assert columns["properties"]["inputs"]["properties"]["t"] == {"type": "array", "items": {"type": "boolean"}}
    assert bare_rows["required"] == ["instances"]
    assert bare_rows["properties"]["instances"]["items"]["anyOf"][1] == {"type": "number"}
    assert bare_columns["properties"]["inputs"]["anyOf"][1] == {"type": "array", "items": {"type": "number"}}
