"""Versions, labels and configurations on a real server, over gRPC and REST."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format

from modules.native.protos import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from serving.manager.policies import VersionPolicy
from tests.serving.manager.versions import models, name_an_unknown_op, publish, spec, truncate_variables, until
from tests.serving.running import Running, serve
from tests.serving.saved_models import half_plus

ALL = VersionPolicy(all=VersionPolicy.All())


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("exports")
    return {b: half_plus(folder, b, b=float(b)) for b in (1, 2, 3)}


@dataclass
class Client:
    """Both transports of one server."""

    server: Running
    file: Path
    channel: grpc.Channel

    def predict(self, name: str, **choice) -> tuple[int, float]:
        request = predict_pb2.PredictRequest(model_spec=spec(name, **choice))
        request.inputs["x"].dtype = 1
        request.inputs["x"].tensor_shape.dim.add(size=1)
        request.inputs["x"].float_val.append(10.0)
        answer = prediction_service_pb2_grpc.PredictionServiceStub(self.channel).Predict(request, timeout=20)
        return answer.model_spec.version.value, answer.outputs["y"].float_val[0]

    def status(self, name: str) -> dict[int, tuple[int, int, str]]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec(name))
        answer = model_service_pb2_grpc.ModelServiceStub(self.channel).GetModelStatus(request, timeout=20)
        return {s.version: (s.state, s.status.error_code, s.status.error_message) for s in answer.model_version_status}

    def reload(self, config) -> None:
        request = model_management_pb2.ReloadConfigRequest(config=config)
        answer = model_service_pb2_grpc.ModelServiceStub(self.channel).HandleReloadConfigRequest(request, timeout=30)
        assert answer.status.error_code == 0

    def rest(self, path: str, body: dict | None = None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.rest or 0, timeout=20)
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def refusal(self, call, *arguments, **named) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as caught:
            call(*arguments, **named)
        return caught.value.code(), caught.value.details()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server without models, whose config file is read every second."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text("model_config_list {}")
    flags = (
        f"--model_config_file={file}",
        "--model_config_file_poll_wait_seconds=1",
        "--file_system_poll_wait_seconds=0.05",
    )
    with serve(*flags) as server, grpc.insecure_channel(server.grpc_address) as channel:
        yield Client(server, file, channel)


def test_versions_and_labels_over_both_transports(client, exports, tmp_path):
    for version in (1, 2):
        publish(exports[version], tmp_path / "m", version)
    base = ("m", tmp_path / "m")
    client.reload(models(base, model_version_policy=ALL))
    until(lambda: len(client.status("m")) == 2 and all(s[0] == 30 for s in client.status("m").values()))
    client.reload(models(base, model_version_policy=ALL, version_labels={"stable": 1, "canary": 2}))
    assert client.predict("m") == (2, 7.0)
    assert client.predict("m", version=1) == (1, 6.0)
    assert client.predict("m", label="stable") == (1, 6.0)
    assert client.predict("m", label="canary") == (2, 7.0)
    body = {"instances": [10.0]}
    assert client.rest("/v1/models/m:predict", body) == (200, {"predictions": [7.0]})
    assert client.rest("/v1/models/m/versions/1:predict", body) == (200, {"predictions": [6.0]})
    assert client.rest("/v1/models/m/labels/stable:predict", body) == (200, {"predictions": [6.0]})
    assert client.rest("/v1/models/m/labels/beta:predict", body) == (
        400,
        {"error": "Unrecognized servable version label: beta"},
    )
    assert client.rest("/v1/models/m/versions/9:predict", body) == (
        404,
        {"error": "Servable not found for request: Specific(m, 9)"},
    )
    ok = {"error_code": "OK", "error_message": ""}
    assert client.rest("/v1/models/m") == (
        200,
        {
            "model_version_status": [
                {"version": "2", "state": "AVAILABLE", "status": ok},
                {"version": "1", "state": "AVAILABLE", "status": ok},
            ]
        },
    )
    code, message = client.refusal(client.reload, models(base, version_labels={"stable": 7}))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert message == "Request to assign label to version 7 of model m, which is not currently available for inference"


@pytest.mark.parametrize("break_it", [truncate_variables, name_an_unknown_op])
def test_a_broken_version_is_told_and_the_old_one_answers_on(break_it, client, exports, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    name = break_it.__name__
    client.reload(models((name, tmp_path / "m")))
    broken = shutil.copytree(exports[2], tmp_path / "broken")
    break_it(broken)
    publish(broken, tmp_path / "m", 2)
    until(lambda: client.status(name).get(2, (0, 0, ""))[1] != 0)
    state, _, message = client.status(name)[2]
    assert (state, bool(message)) == (50, True)
    assert client.predict(name) == (1, 6.0)
    shutil.rmtree(tmp_path / "m")
    assert client.predict(name) == (1, 6.0)
    publish(exports[3], tmp_path / "m", 3)
    until(lambda: client.predict(name) == (3, 8.0))


def test_a_reload_with_a_broken_model_says_why(client, exports, tmp_path):
    truncate_variables(publish(exports[1], tmp_path / "bad", 1))
    code, message = client.refusal(client.reload, models(("bad", tmp_path / "bad")))
    assert code == grpc.StatusCode.UNKNOWN
    assert message.startswith("1 model(s) did not become available: {{{name: bad version: 1} due to error: ")


def test_a_model_twice_is_refused(client, tmp_path):
    assert client.refusal(client.reload, models(("x", tmp_path), ("x", tmp_path))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Illegal to list model x multiple times in config list",
    )


def test_the_config_file_is_followed(client, exports, tmp_path):
    publish(exports[3], tmp_path / "from-file", 1)
    client.file.write_text("not a config {")
    until(lambda: "refused" in client.server.output())
    hidden = client.file.with_suffix(".new")
    hidden.write_text(text_format.MessageToString(models(("from-file", tmp_path / "from-file"))))
    hidden.rename(client.file)
    until(lambda: client.rest("/v1/models/from-file")[0] == 200)
    until(lambda: client.status("from-file")[1][0] == 30)
    assert client.predict("from-file") == (1, 8.0)


def test_a_bad_config_file_at_start_is_fatal(tmp_path):
    file = tmp_path / "models.config"
    file.write_text("model_config_list { config { nam: 'x' } }")
    with (
        pytest.raises(RuntimeError, match=r"the server ended with 4:[\s\S]*Invalid protobuf file"),
        serve(f"--model_config_file={file}"),
    ):
        pass


def test_models_under_a_root_are_served_also_later_ones(exports, tmp_path):
    publish(exports[1], tmp_path / "a", 1)
    with (
        serve(f"--root={tmp_path}", "--file_system_poll_wait_seconds=0.05") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        client = Client(server, tmp_path, channel)
        assert client.predict("a") == (1, 6.0)
        publish(exports[2], tmp_path / "b", 4)
        until(lambda: client.rest("/v1/models/b")[0] == 200)
        until(lambda: client.status("b")[4][0] == 30)
        assert client.predict("b") == (4, 7.0)
