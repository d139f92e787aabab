from __future__ import annotations

import pytest

from modules.native.protos import model_pb2
from serving.errors import Code, ServingError
from serving.rest.routes import Route, is_api, parse_route


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/models/m:predict", Route("predict", "m")),
        ("POST", "/v1/models/m:classify", Route("classify", "m")),
        ("POST", "/v1/models/m/versions/7:regress", Route("regress", "m", version=7)),
        ("POST", "/v1/models/m/labels/stable:predict", Route("predict", "m", label="stable")),
        ("POST", "/V1/Models/M/Versions/07:PREDICT", Route("predict", "M", version=7)),
        ("POST", "/v1/models/a%20b%2Fc%3A+:predict", Route("predict", "a b/c:+")),
        ("POST", "/v1/models/m/labels/l%C3%A9:predict", Route("predict", "m", label="lé")),
        ("POST", "/v1/models/m%zz:predict", Route("predict", "m%zz")),
        ("GET", "/v1/models/m", Route("status", "m")),
        ("GET", "/v1/models/m/versions/7", Route("status", "m", version=7)),
        ("GET", "/v1/models/m/labels/stable", Route("status", "m", label="stable")),
        ("GET", "/v1/models/m/metadata", Route("metadata", "m")),
        ("GET", "/v1/models/m/versions/9223372036854775807/METADATA", Route("metadata", "m", version=2**63 - 1)),
        ("GET", "/v1/models/m/labels/stable/metadata", Route("metadata", "m", label="stable")),
        ("GET", "/v1/models/versions/versions/1", Route("status", "versions", version=1)),
    ],
)
def test_a_path_says_what_is_asked(method: str, path: str, route: Route) -> None:
    assert parse_route(method, path) == route


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/foo"), ("POST", "/v1/foo"), ("GET", "/v1/"), ("POST", "/v1/models"), ("GET", "/v1/models/"),
        ("GET", "/v1/models/debug/model_name"), ("GET", "/v1/models/foo:predict"),
        ("GET", "/v1/models/foo/version/50:predict"), ("POST", "/v1/models/foo/version/50:regress"),
        ("POST", "/v1/models/foo/versions/HELLO:regress"), ("POST", "/v1/models/foo/versions/-1:regress"),
        ("POST", "/v1/models/foo/metadata"), ("POST", "/v1/models/foo/label/some_label:regress"),
        ("POST", "/v1/models/foo/versions/50/labels/some_label:regress"), ("POST", "/v1/models/m:explain"),
        ("POST", "/v1/models/:predict"), ("POST", "/v1/models/m:predict/"), ("POST", "/v1/models/m:predict?x=1"),
        ("HEAD", "/v1/models/m"), ("PUT", "/v1/models/m:predict"), ("DELETE", "/v1/models/m"),
        ("OPTIONS", "/v1/models/m"), ("post", "/v1/models/m:predict"),
    ],
)  # fmt: skip
def test_another_path_is_malformed(method: str, path: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse_route(method, path)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == f"Malformed request: {method} {path}"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/models", "Missing model name in request."),
        ("/v1/models/metadata/metadata/metadata", "Malformed request: GET /v1/models/metadata/metadata/metadata"),
        ("/v1/models/m/versions/18446744073709551615", "Failed to convert version: 18446744073709551615 to numeric."),
        ("/v1/models/m/versions/9223372036854775808", "Failed to convert version: 9223372036854775808 to numeric."),
        (f"/v1/models/m/versions/{'9' * 6000}", f"Failed to convert version: {'9' * 6000} to numeric."),
        ("/v1/models/%FF", "Failed to decode model name:%FF"),
        ("/v1/models/m/labels/%FF", "Failed to decode model version label:%FF"),
    ],
)
def test_names_and_numbers_that_are_none_are_said(path: str, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse_route("GET", path)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_the_api_begins_below_v1() -> None:
    assert [is_api(p) for p in ("/v1/", "/V1/x", "/v1/models/m")] == [True, True, True]
    assert [is_api(p) for p in ("/v1", "/", "/v2/models", "/x/v1/models", "")] == [False] * 5


def test_a_route_fills_a_model_spec() -> None:
    spec = model_pb2.ModelSpec()
    Route("predict", "m", version=0).fill(spec)
    assert (spec.name, spec.HasField("version"), spec.version.value) == ("m", True, 0)
    spec = model_pb2.ModelSpec()
    Route("predict", "m", label="stable").fill(spec)
    assert (spec.name, spec.WhichOneof("version_choice"), spec.version_label) == ("m", "version_label", "stable")
