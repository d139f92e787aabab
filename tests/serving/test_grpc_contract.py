"""The gRPC half of TensorFlow Serving's contract, over a socket, with the stubs of tensorflow-serving-api."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.counting import counting_model, cpu_seconds
from tests.serving.running import Running, serve
from tests.serving.saved_models import half_plus, half_plus_two_v1, vocabulary_model

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION, UNIMPLEMENTED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True)
class Served:
    """A server, its stubs, and the configuration it was started with."""

    running: Running
    predict: prediction_service_pb2_grpc.PredictionServiceStub
    models: model_service_pb2_grpc.ModelServiceStub
    folder: Path
    config: model_server_config_pb2.ModelServerConfig


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models")
    for version in (1, 2):
        half_plus(folder / "v2", version, b=float(version))
    half_plus_two_v1(folder / "v1", 1)
    vocabulary_model(folder / "words", 5, ["cold", "warm", "hot"])
    counting_model(folder / "counting", 1)
    config = text_format.Parse(
        f"""model_config_list {{
          config {{
            name: "v2" base_path: "{folder}/v2" model_platform: "tensorflow"
            model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
            version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 2 }}
          }}
          config {{ name: "v1" base_path: "{folder}/v1" model_platform: "tensorflow" }}
          config {{ name: "words" base_path: "{folder}/words" model_platform: "tensorflow" }}
          config {{ name: "counting" base_path: "{folder}/counting" model_platform: "tensorflow" }}
        }}""",
        model_server_config_pb2.ModelServerConfig(),
    )
    file = folder / "models.config"
    file.write_text(text_format.MessageToString(config))
    with (
        serve(f"--model_config_file={file}") as running,
        grpc.insecure_channel(running.grpc_address, options=UNLIMITED) as channel,
    ):
        yield Served(
            running,
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
            folder,
            config,
        )


def refused(method, request, timeout: float = 30) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=timeout)
    return caught.value.code(), caught.value.details()


def request_for(model: str, signature_name: str = "", **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature_name
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def examples(*values: float) -> input_pb2.Input:
    made = input_pb2.Input()
    for value in values:
        made.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return made


def regression(model: str, signature_name: str, given: input_pb2.Input) -> regression_pb2.RegressionRequest:
    spec = model_pb2.ModelSpec(name=model, signature_name=signature_name)
    return regression_pb2.RegressionRequest(model_spec=spec, input=given)


def classification(model: str, signature_name: str, given: input_pb2.Input) -> classification_pb2.ClassificationRequest:
    spec = model_pb2.ModelSpec(name=model, signature_name=signature_name)
    return classification_pb2.ClassificationRequest(model_spec=spec, input=given)


def tasks(*given: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest(input=examples(2.0))
    for model, signature_name, method in given:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature_name
    return request


def test_predict_answers_with_values_in_typed_fields(served: Served) -> None:
    response = served.predict.Predict(request_for("v2", x=floats(2, 4)))
    output = response.outputs["y"]
    assert (list(output.float_val), output.tensor_content) == ([3.0, 4.0], b"")
    assert [dim.size for dim in output.tensor_shape.dim] == [2]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("v2", 2, "serving_default")


def test_typed_fields_and_content_are_the_same_request(served: Served) -> None:
    request = request_for("v2", x=floats(2, 4))
    assert request.inputs["x"].tensor_content
    answer = served.predict.Predict(request).outputs["y"]
    request.inputs["x"].tensor_content = b""
    request.inputs["x"].float_val.extend([2, 4])
    assert served.predict.Predict(request).outputs["y"] == answer


def test_one_value_is_repeated_over_the_shape(served: Served) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "v2"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(8.0, tf.float32, [3]))
    assert list(served.predict.Predict(request).outputs["y"].float_val) == [6.0, 6.0, 6.0]


def test_every_kind_of_value_goes_both_ways(served: Served) -> None:
    response = served.predict.Predict(request_for("v2", "many", x=floats(1), i=integers(41), s=[b"\xff\x00"]))
    assert list(response.outputs["i_out"].int64_val) == [42]
    assert list(response.outputs["s_out"].string_val) == [b"\xff\x00"]
    assert list(response.outputs["x_out"].float_val) == [3.0]
    assert response.model_spec.signature_name == "many"


def test_a_model_with_a_vocabulary_looks_words_up(served: Served) -> None:
    response = served.predict.Predict(request_for("words", word=[b"hot", b"lukewarm", b"cold"]))
    assert list(response.outputs["id"].int64_val) == [2, -1, 0]
    assert response.model_spec.version.value == 5


def test_a_vector_is_taken_where_the_placeholder_declares_a_column(served: Served) -> None:
    output = served.predict.Predict(request_for("v1", x=floats(2))).outputs["y"]
    assert (list(output.float_val), [dim.size for dim in output.tensor_shape.dim]) == ([3.0], [1])


@pytest.mark.parametrize(("field", "value", "answer"), [("version", 1, 2.0), ("version", 2, 3.0)])
def test_a_version_is_chosen_by_number(served: Served, field: str, value: int, answer: float) -> None:
    request = request_for("v2", x=floats(2))
    request.model_spec.version.value = value
    response = served.predict.Predict(request)
    assert list(response.outputs["y"].float_val) == [answer]
    assert response.model_spec.version.value == value


@pytest.mark.parametrize(("label", "version"), [("stable", 1), ("canary", 2)])
def test_a_version_is_chosen_by_label(served: Served, label: str, version: int) -> None:
    request = request_for("v2", x=floats(2))
    request.model_spec.version_label = label
    assert served.predict.Predict(request).model_spec.version.value == version


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("Predict", predict_pb2.PredictRequest),
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
        ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest),
    ],
)
def test_a_request_without_a_model_spec_is_refused(served: Served, method: str, request_type) -> None:
    assert refused(getattr(served.predict, method), request_type()) == (INVALID, "Missing ModelSpec")


def test_a_status_without_a_model_spec_is_refused(served: Served) -> None:
    found = refused(served.models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest())
    assert found == (INVALID, "Missing ModelSpec")


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "MultiInference"])
def test_an_empty_name_is_refused(served: Served, method: str) -> None:
    requests = {
        "Predict": request_for("", "s"),
        "Classify": classification("", "s", examples(1)),
        "Regress": regression("", "s", examples(1)),
        "MultiInference": tasks(("", "s", REGRESS)),
    }
    expected = (INVALID, "ModelSpec has no name specified.")
    assert refused(getattr(served.predict, method), requests[method]) == expected


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "MultiInference"])
def test_an_unknown_model_is_not_found(served: Served, method: str) -> None:
    requests = {
        "Predict": request_for("m", x=floats(1)),
        "Classify": classification("m", "", examples(1)),
        "Regress": regression("m", "", examples(1)),
        "MultiInference": tasks(("m", "", REGRESS)),
    }
    expected = (NOT_FOUND, "Servable not found for request: Latest(m)")
    assert refused(getattr(served.predict, method), requests[method]) == expected


@pytest.mark.parametrize("model", ["m", "v2"])
def test_an_unknown_version_is_not_found(served: Served, model: str) -> None:
    request = request_for(model, x=floats(1))
    request.model_spec.version.value = 7
    expected = (NOT_FOUND, f"Servable not found for request: Specific({model}, 7)")
    assert refused(served.predict.Predict, request) == expected


def test_an_unknown_label_is_refused(served: Served) -> None:
    request = request_for("v2", x=floats(1))
    request.model_spec.version_label = "L"
    expected = (INVALID, "Unrecognized servable version label: L")
    assert refused(served.predict.Predict, request) == expected


def test_predict_with_an_unknown_signature_is_a_failed_precondition(served: Served) -> None:
    expected = (PRECONDITION, 'Serving signature key "S" not found.')
    assert refused(served.predict.Predict, request_for("v2", "S", x=floats(1))) == expected


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"z": 1.0},
            "input size does not match signature: 1!=3 len({z}) != len({i,s,x}). Sent extra: {z}. "
            "Missing but required: {i,s,x}.",
        ),
        (
            {"x": 1.0, "i": 1, "s": b"", "z": 1.0},
            "input size does not match signature: 4!=3 len({i,s,x,z}) != len({i,s,x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
    ],
)
def test_another_number_of_inputs_is_refused_with_their_names(served: Served, inputs: dict, message: str) -> None:
    assert refused(served.predict.Predict, request_for("v2", "many", **inputs)) == (INVALID, message)


def test_the_right_number_of_inputs_with_a_wrong_name_is_refused(served: Served) -> None:
    assert refused(served.predict.Predict, request_for("v1", z=floats(1))) == (
        INVALID,
        "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: ",
    )


def test_an_output_filter_keeps_what_it_names(served: Served) -> None:
    request = request_for("v2", "many", x=floats(1), i=integers(1), s=[b"a"])
    request.output_filter.extend(["x_out", "i_out"])
    assert sorted(served.predict.Predict(request).outputs) == ["i_out", "x_out"]


def test_an_output_filter_with_an_unknown_name_is_refused(served: Served) -> None:
    request = request_for("v2", x=floats(1))
    request.output_filter.append("a")
    message = "output tensor alias not found in signature: a Outputs expected to be in the set {y}."
    assert refused(served.predict.Predict, request) == (INVALID, message)


def test_an_output_filter_with_a_name_twice_is_refused(served: Served) -> None:
    request = request_for("v2", x=floats(1))
    request.output_filter.extend(["y", "y"])
    assert refused(served.predict.Predict, request) == (INVALID, "duplicate output tensor alias: y")


def test_another_type_is_refused(served: Served) -> None:
    request = request_for("v2", x=integers(1))
    expected = (INVALID, "Expects arg[0] to be float but int64 is provided")
    assert refused(served.predict.Predict, request) == expected


@pytest.mark.parametrize("shape", [[-1], [10**12], [1 << 62, 1 << 62], [1] * 300])
def test_a_tensor_whose_shape_makes_no_sense_is_refused(served: Served, shape: list[int]) -> None:
    request = request_for("v2")
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.append(1.0)
    for size in shape:
        request.inputs["x"].tensor_shape.dim.add(size=size)
    assert refused(served.predict.Predict, request) == (INVALID, "tensor parsing error: x")


def test_classify_answers_in_the_order_of_the_examples(served: Served) -> None:
    response = served.predict.Classify(classification("v1", "classify_x_to_y", examples(2, 4)))
    assert [[c.score for c in row.classes] for row in response.result.classifications] == [[3.0], [4.0]]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("v1", 1, "classify_x_to_y")


def test_regress_answers_in_the_order_of_the_examples(served: Served) -> None:
    response = served.predict.Regress(regression("v1", "regress_x_to_y2", examples(2, 4)))
    assert [r.value for r in response.result.regressions] == [4.0, 5.0]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("v1", 1, "regress_x_to_y2")


def test_a_context_is_merged_into_every_example(served: Served) -> None:
    given = input_pb2.Input()
    with_context = given.example_list_with_context
    with_context.context.features.feature["x"].float_list.value.append(10.0)
    with_context.examples.add()
    with_context.examples.add().features.feature["x"].float_list.value.append(2.0)
    response = served.predict.Regress(regression("v1", "regress_x_to_y", given))
    assert [r.value for r in response.result.regressions] == [7.0, 3.0]


def test_classify_and_regress_with_an_unknown_signature_are_refused(served: Served) -> None:
    expected = (INVALID, "No signature was found with the name: S")
    assert refused(served.predict.Classify, classification("v1", "S", examples(1))) == expected
    assert refused(served.predict.Regress, regression("v1", "S", examples(1))) == expected


def test_a_signature_of_another_method_is_refused(served: Served) -> None:
    message = f"Expected classification signature method_name to be {CLASSIFY}. Was: {REGRESS}"
    request = classification("v1", "regress_x_to_y", examples(1))
    assert refused(served.predict.Classify, request) == (INVALID, message)
    message = f"Expected regression signature method_name to be {REGRESS}. Was: {PREDICT}"
    assert refused(served.predict.Regress, regression("v1", "", examples(1))) == (INVALID, message)


def test_no_examples_are_refused(served: Served) -> None:
    nothing = input_pb2.Input()
    expected = (INVALID, "Input is empty.")
    assert refused(served.predict.Classify, classification("v1", "classify_x_to_y", nothing)) == expected
    assert refused(served.predict.Regress, regression("v1", "regress_x_to_y", nothing)) == expected
    request = tasks(("v1", "regress_x_to_y", REGRESS))
    request.input.Clear()
    assert refused(served.predict.MultiInference, request) == expected


def test_an_example_that_lacks_a_feature_is_refused_by_the_graph(served: Served) -> None:
    given = input_pb2.Input()
    given.example_list.examples.add()
    code, message = refused(served.predict.Regress, regression("v1", "regress_x_to_y", given))
    assert code == INVALID
    assert "Feature: x (data type: float) is required but could not be found" in message


def test_several_heads_answer_at_once(served: Served) -> None:
    response = served.predict.MultiInference(
        tasks(("v1", "regress_x_to_y2", REGRESS), ("v1", "classify_x_to_y", CLASSIFY))
    )
    first, second = response.results
    assert [r.value for r in first.regression_result.regressions] == [4.0]
    assert second.classification_result.classifications[0].classes[0].score == 3.0
    assert (second.model_spec.name, second.model_spec.version.value) == ("v1", 1)
    assert second.model_spec.signature_name == "classify_x_to_y"


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (
            [("v1", "regress_x_to_y", REGRESS), ("v2", "classify_x_to_y", CLASSIFY)],
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [("v1", "regress_x_to_y", REGRESS), ("v1", "regress_x_to_y", REGRESS)],
            INVALID,
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        ([("v1", "S", REGRESS)], INVALID, "Requested signature not found in model graph: S"),
        ([("v1", "regress_x_to_y", "M")], UNIMPLEMENTED, "Unsupported signature method_name: M"),
        ([], INVALID, "ModelSpec has no name specified."),
    ],
)
def test_tasks_that_do_not_fit_are_refused(served: Served, given, code: grpc.StatusCode, message: str) -> None:
    assert refused(served.predict.MultiInference, tasks(*given)) == (code, message)


def metadata(model: str, *fields: str) -> get_model_metadata_pb2.GetModelMetadataRequest:
    spec = model_pb2.ModelSpec(name=model)
    return get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=fields)


def test_metadata_describes_the_signatures(served: Served) -> None:
    response = served.predict.GetModelMetadata(metadata("v2", "signature_def"))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert sorted(signatures.signature_def["many"].inputs) == ["i", "s", "x"]
    assert signatures.signature_def["serving_default"].inputs["x"].dtype == tf.float32.as_datatype_enum
    assert (response.model_spec.name, response.model_spec.version.value) == ("v2", 2)


@pytest.mark.parametrize("model", ["v2", "m"])
def test_metadata_without_or_with_another_field_is_refused(served: Served, model: str) -> None:
    message = "GetModelMetadataRequest must specify at least one metadata_field"
    assert refused(served.predict.GetModelMetadata, metadata(model)) == (INVALID, message)
    expected = (INVALID, "Metadata field X is not supported")
    assert refused(served.predict.GetModelMetadata, metadata(model, "X")) == expected


def test_metadata_of_an_unknown_model_is_not_found(served: Served) -> None:
    expected = (NOT_FOUND, "Servable not found for request: Latest(m)")
    assert refused(served.predict.GetModelMetadata, metadata("m", "signature_def")) == expected


def status_of(model: str, version: int | None = None) -> get_model_status_pb2.GetModelStatusRequest:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    return request


def test_status_lists_the_versions_newest_first(served: Served) -> None:
    found = served.models.GetModelStatus(status_of("v2")).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert [(s.version, s.state, s.status.error_code) for s in found] == [(2, available, 0), (1, available, 0)]
    assert [s.version for s in served.models.GetModelStatus(status_of("v2", 1)).model_version_status] == [1]


def test_status_of_what_is_unknown_is_not_found(served: Served) -> None:
    expected = (NOT_FOUND, "Could not find version 7 of model v2")
    assert refused(served.models.GetModelStatus, status_of("v2", 7)) == expected
    expected = (NOT_FOUND, "Could not find any versions of model m")
    assert refused(served.models.GetModelStatus, status_of("m")) == expected


def reload(config: model_server_config_pb2.ModelServerConfig) -> model_management_pb2.ReloadConfigRequest:
    return model_management_pb2.ReloadConfigRequest(config=config)


def test_a_reload_with_anything_but_a_model_list_is_refused(served: Served) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    assert refused(served.models.HandleReloadConfigRequest, reload(config))[0] == INVALID
    config.custom_model_config.SetInParent()
    assert refused(served.models.HandleReloadConfigRequest, reload(config))[0] == INVALID


def test_a_reload_that_lists_a_model_twice_is_refused(served: Served) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    config.CopyFrom(served.config)
    config.model_config_list.config.append(config.model_config_list.config[0])
    expected = (INVALID, "Illegal to list model v2 multiple times in config list")
    assert refused(served.models.HandleReloadConfigRequest, reload(config)) == expected


def test_a_reload_with_a_label_on_a_version_that_is_not_available_is_refused(served: Served) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    config.CopyFrom(served.config)
    config.model_config_list.config[0].version_labels["next"] = 9
    message = "Request to assign label to version 9 of model v2, which is not currently available for inference"
    code, found = refused(served.models.HandleReloadConfigRequest, reload(config))
    assert (code, found[: len(message)]) == (PRECONDITION, message)
    assert list(served.predict.Predict(request_for("v2", x=floats(2))).outputs["y"].float_val) == [3.0]


def test_a_reload_adds_and_removes_models_and_waits_for_new_ones(served: Served) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    config.CopyFrom(served.config)
    new = config.model_config_list.config.add(name="again", model_platform="tensorflow")
    new.base_path = f"{served.folder}/v2"
    response = served.models.HandleReloadConfigRequest(reload(config), timeout=60)
    assert response.status.error_code == 0
    assert served.predict.Predict(request_for("again", x=floats(2))).model_spec.version.value == 2

    served.models.HandleReloadConfigRequest(reload(served.config), timeout=60)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            served.predict.Predict(request_for("again", x=floats(2)), timeout=10)
        except grpc.RpcError as error:
            assert (error.code(), error.details()) == (NOT_FOUND, "Servable not found for request: Latest(again)")
            break
        time.sleep(0.05)
    else:
        pytest.fail("the removed model still answers")


def test_the_callers_deadline_bounds_the_run(served: Served) -> None:
    start = time.monotonic()
    code, _ = refused(served.predict.Predict, request_for("counting", turns=np.int64(10**12)), timeout=0.5)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 5

    time.sleep(1)
    used = cpu_seconds(served.running.process.pid)
    time.sleep(1)
    assert cpu_seconds(served.running.process.pid) - used < 0.1


def test_a_deadline_long_enough_changes_nothing(served: Served) -> None:
    response = served.predict.Predict(request_for("v2", x=floats(2)), timeout=30)
    assert list(response.outputs["y"].float_val) == [3.0]


def test_a_long_message_is_cut(served: Served) -> None:
    code, message = refused(served.predict.Predict, request_for("v2", "S" * 5000, x=floats(1)))
    assert code == PRECONDITION
    assert message.startswith('Serving signature key "' + "S" * 980)
    assert 1024 <= len(message) <= 1024 + len("...TRUNCATED")


def test_a_message_of_many_megabytes_passes_both_ways(served: Served) -> None:
    values = np.arange(5_000_000, dtype=np.float32)
    output = served.predict.Predict(request_for("v2", x=values), timeout=60).outputs["y"]
    assert len(output.float_val) == len(values)
    assert output.float_val[-1] == values[-1] * np.float32(0.5) + np.float32(2)


def test_no_rows_are_no_rows_back(served: Served) -> None:
    output = served.predict.Predict(request_for("v2", x=np.zeros(0, np.float32))).outputs["y"]
    assert (list(output.float_val), [dim.size for dim in output.tensor_shape.dim]) == ([], [0])


def test_bytes_that_are_no_request_are_refused(served: Served) -> None:
    with grpc.insecure_channel(served.running.grpc_address) as channel:
        method = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        assert refused(method, b"\xff\xff\xff")[0] in (grpc.StatusCode.INTERNAL, INVALID)


def test_a_method_that_does_not_exist_is_unimplemented(served: Served) -> None:
    with grpc.insecure_channel(served.running.grpc_address) as channel:
        method = channel.unary_unary("/tensorflow.serving.PredictionService/Nope")
        assert refused(method, b"")[0] == UNIMPLEMENTED
