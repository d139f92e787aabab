"""Predict: the checks, the run and the answer."""

from __future__ import annotations

import numpy as np
import pytest

from modules.native.protos import predict_pb2
from serving import tensors
from serving.errors import Code, ServingError
from serving.inference import predict
from serving.servable import Servable

FLOAT, STRING, INT64 = 1, 7, 9


def array(values, dtype: int = FLOAT) -> tuple[int, np.ndarray]:
    return dtype, np.asarray(values, tensors.DTYPES[dtype])


def refused(servable: Servable, signature_name: str, inputs, output_filter=()) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        predict.plan(servable, signature_name, inputs, output_filter)
    return caught.value.code, caught.value.message


def answered(servable: Servable, plan: predict.PredictPlan) -> predict_pb2.PredictResponse:
    return predict.respond(servable, plan, servable.run(plan.call))


def test_the_answer_names_model_version_and_signature(half_plus_servable: Servable) -> None:
    response = answered(half_plus_servable, predict.plan(half_plus_servable, "", {"x": array([2.0, 4.0])}))
    assert list(response.outputs["y"].float_val) == [3.0, 4.0]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("half_plus", 3, "serving_default")


def test_every_output_comes_by_default_and_aliases_are_sorted(half_plus_servable: Servable) -> None:
    inputs = {"x": array([1.0]), "i": array([41], INT64), "s": array([b"\xff\x00"], STRING)}
    plan = predict.plan(half_plus_servable, "many", inputs)
    assert plan.aliases == ("i_out", "raw_bytes", "s_out", "x_out")
    response = answered(half_plus_servable, plan)
    assert list(response.outputs["i_out"].int64_val) == [42]
    assert list(response.outputs["raw_bytes"].string_val) == [b"\xff\x00"]
    assert list(response.outputs["x_out"].float_val) == [3.0]


def test_a_filter_computes_only_what_it_names(half_plus_servable: Servable) -> None:
    inputs = {"x": array([1.0]), "i": array([41], INT64), "s": array([b"a"], STRING)}
    plan = predict.plan(half_plus_servable, "many", inputs, ["x_out", "i_out"])
    assert len(plan.call.fetches) == 2
    response = answered(half_plus_servable, plan)
    assert sorted(response.outputs) == ["i_out", "x_out"]
    assert list(response.outputs["x_out"].float_val) == [3.0]


def test_filters_in_another_order_are_the_same_run(half_plus_servable: Servable) -> None:
    inputs = {"x": array([1.0]), "i": array([41], INT64), "s": array([b"a"], STRING)}
    one = predict.plan(half_plus_servable, "many", inputs, ["x_out", "i_out"])
    other = predict.plan(half_plus_servable, "many", inputs, ["i_out", "x_out"])
    assert one.call.key == other.call.key


def test_two_aliases_of_one_tensor_both_come(two_inputs_servable: Servable) -> None:
    plan = predict.plan(two_inputs_servable, "required", {"a": array([1.0]), "b": array([2.0])})
    response = answered(two_inputs_servable, plan)
    assert {alias: list(proto.float_val) for alias, proto in response.outputs.items()} == {"sum": [3.0], "again": [3.0]}


def test_an_unknown_signature_is_a_failed_precondition(half_plus_servable: Servable) -> None:
    expected = (Code.FAILED_PRECONDITION, 'Serving signature key "nope" not found.')
    assert refused(half_plus_servable, "nope", {}) == expected


def test_the_signature_is_looked_up_before_tensors_are_read(half_plus_servable: Servable) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "nope"
    request.inputs["x"].dtype = 99
    with pytest.raises(ServingError, match="Serving signature key"):
        predict.plan_request(half_plus_servable, request)
    request.model_spec.signature_name = ""
    with pytest.raises(ServingError, match=r"^tensor parsing error: x$"):
        predict.plan_request(half_plus_servable, request)


def test_a_signature_of_another_method_is_an_internal_error(two_inputs_servable: Servable) -> None:
    assert refused(two_inputs_servable, "other", {}) == (
        Code.INTERNAL,
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: somebody/elses/method",
    )


def test_classify_and_regress_signatures_can_be_predicted(v1_servable: Servable) -> None:
    plan = predict.plan(v1_servable, "regress_x_to_y", {"inputs": array([b""], STRING)})
    assert plan.aliases == ("outputs",)


def test_too_few_inputs_are_named(half_plus_servable: Servable) -> None:
    assert refused(half_plus_servable, "many", {"x": array([1.0]), "z": array([1.0])}) == (
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 2!=3 len({x,z}) != len({i,s,x}). Sent extra: {z}. "
        "Missing but required: {i,s}.",
    )


def test_too_many_inputs_are_named(half_plus_servable: Servable) -> None:
    assert refused(half_plus_servable, "", {"x": array([1.0]), "z": array([1.0])}) == (
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    )


def test_the_right_number_of_inputs_with_a_wrong_name_is_said_so(half_plus_servable: Servable) -> None:
    assert refused(half_plus_servable, "", {"z": array([1.0])}) == (
        Code.INVALID_ARGUMENT,
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: ",
    )


def test_a_default_stands_in_for_an_input_that_is_not_sent(two_inputs_servable: Servable) -> None:
    plan = predict.plan(two_inputs_servable, "", {"a": array([1.0])})
    assert list(answered(two_inputs_servable, plan).outputs["sum"].float_val) == [11.0]
    plan = predict.plan(two_inputs_servable, "", {"a": array([1.0]), "b": array([5.0])})
    assert list(answered(two_inputs_servable, plan).outputs["sum"].float_val) == [6.0]


def test_an_unknown_name_beside_a_default_is_refused(two_inputs_servable: Servable) -> None:
    assert refused(two_inputs_servable, "", {"a": array([1.0]), "c": array([1.0])}) == (
        Code.INVALID_ARGUMENT,
        "Inputs contains invalid name. Used request inputs: a, request input: a,c",
    )


def test_without_a_default_the_input_is_required(two_inputs_servable: Servable) -> None:
    code, message = refused(two_inputs_servable, "", {"b": array([1.0])})
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith("Signature input alias: a(feed name: a:0) not found in request and no default")
    assert message.endswith("or default input alias set: b")


def test_an_unknown_output_is_refused_with_the_known_ones(half_plus_servable: Servable) -> None:
    assert refused(half_plus_servable, "", {"x": array([1.0])}, ["a"]) == (
        Code.INVALID_ARGUMENT,
        "output tensor alias not found in signature: a Outputs expected to be in the set {y}.",
    )


def test_an_output_twice_is_refused(half_plus_servable: Servable) -> None:
    assert refused(half_plus_servable, "", {"x": array([1.0])}, ["y", "y"]) == (
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: y",
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": (INT64, [1]), "i": (INT64, [1]), "s": (STRING, [b""])}, "Expects arg[2] to be float but int64"),
        ({"x": (FLOAT, [1]), "i": (FLOAT, [1]), "s": (STRING, [b""])}, "Expects arg[0] to be int64 but float"),
        ({"x": (FLOAT, [1]), "i": (INT64, [1]), "s": (2, [1])}, "Expects arg[1] to be string but double"),
        ({"x": (19, [1]), "i": (INT64, [1]), "s": (STRING, [b""])}, "Expects arg[2] to be float but half"),
    ],
)
def test_another_type_is_refused_in_the_words_of_the_session(
    half_plus_servable: Servable, inputs: dict, message: str
) -> None:
    arrays = {alias: array(values, dtype) for alias, (dtype, values) in inputs.items()}
    assert refused(half_plus_servable, "many", arrays) == (Code.INVALID_ARGUMENT, f"{message} is provided")

    good = {"x": array([1.0]), "i": array([1], INT64), "s": array([b""], STRING)}
    call = predict.plan(half_plus_servable, "many", good).call
    tensor_names = {alias: info.name for alias, info in half_plus_servable.signatures["many"].inputs.items()}
    feeds = [type(call.feeds[0])(tensor_names[alias], *arrays[alias]) for alias in arrays]
    wrong = type(call)(tuple(sorted(feeds, key=lambda feed: feed.tensor)), call.fetches)
    with pytest.raises(ServingError) as caught:
        half_plus_servable.run(wrong)
    assert caught.value.message == f"{message} is provided"


def test_a_shape_the_ops_can_use_is_taken_whatever_the_placeholder_declares(v1_servable: Servable) -> None:
    plan = predict.plan(v1_servable, "", {"x": array([2.0])})
    assert v1_servable.run(plan.call)[0].tolist() == [3.0]


def test_feeds_are_in_the_order_of_the_tensors(half_plus_servable: Servable) -> None:
    inputs = {"x": array([1.0]), "i": array([41], INT64), "s": array([b"a"], STRING)}
    names = [feed.tensor for feed in predict.plan(half_plus_servable, "many", inputs).call.feeds]
    assert names == sorted(names) == ["many_i:0", "many_s:0", "many_x:0"]


def test_another_number_of_results_is_an_error(half_plus_servable: Servable) -> None:
    plan = predict.plan(half_plus_servable, "", {"x": array([1.0])})
    with pytest.raises(ServingError, match=r"^Predict internal error$") as caught:
        predict.respond(half_plus_servable, plan, [])
    assert caught.value.code == Code.UNKNOWN
