"""Classify, Regress and MultiInference: examples in, results out; and the metadata of a version."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.native.protos import (
    Example,
    SignatureDef,
    get_model_metadata_pb2,
    inference_pb2,
    input_pb2,
)
from serving.errors import Code, ServingError
from serving.inference import classify, examples, metadata, multi_inference, regress
from serving.servable import Call, Servable

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def example(**features: float) -> Example:
    made = Example()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    return made


def inputs(*values: float) -> input_pb2.Input:
    made = input_pb2.Input()
    made.example_list.SetInParent()
    made.example_list.examples.extend(example(x=value) for value in values)
    return made


def error(function, *arguments) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        function(*arguments)
    return caught.value.code, caught.value.message


def classified(values: np.ndarray | None, scores: np.ndarray | None, rows: int) -> list[list[tuple[str, float]]]:
    result = classify.of(values, scores, rows)
    return [[(c.label, c.score) for c in row.classes] for row in result.classifications]


def test_scores_come_in_the_order_of_the_examples(v1_servable: Servable) -> None:
    plan = classify.plan(v1_servable, "classify_x_to_y", inputs(2.0, 4.0))
    result = classify.result(plan, v1_servable.run(plan.call))
    assert plan.rows == 2
    assert [[(c.label, c.score) for c in row.classes] for row in result.classifications] == [[("", 3.0)], [("", 4.0)]]


def test_regressions_come_in_the_order_of_the_examples(v1_servable: Servable) -> None:
    plan = regress.plan(v1_servable, "regress_x_to_y2", inputs(2.0, 0.0))
    assert [r.value for r in regress.result(plan, v1_servable.run(plan.call)).regressions] == [4.0, 3.0]


def test_a_context_is_merged_into_every_example(v1_servable: Servable) -> None:
    given = input_pb2.Input()
    with_context = given.example_list_with_context
    with_context.context.CopyFrom(example(x=10.0))
    with_context.examples.extend([Example(), example(x=2.0), example(unused=1.0)])
    plan = regress.plan(v1_servable, "regress_x_to_y", given)
    values = [r.value for r in regress.result(plan, v1_servable.run(plan.call)).regressions]
    assert values == [7.0, 3.0, 7.0]


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(width=32, allow_nan=False)), min_size=1, max_size=5))
def test_serialized_examples_are_the_examples(features: list[dict[str, float]]) -> None:
    given = input_pb2.Input()
    given.example_list.examples.extend(example(**one) for one in features)
    values = examples.serialized(given)
    assert [Example.FromString(value) for value in values] == list(given.example_list.examples)


@pytest.mark.parametrize("kind", [None, "example_list", "example_list_with_context"])
@pytest.mark.parametrize(("module", "name"), [(classify, "classify_x_to_y"), (regress, "regress_x_to_y")])
def test_no_examples_are_refused(v1_servable: Servable, module, name: str, kind: str | None) -> None:
    given = input_pb2.Input()
    if kind:
        getattr(given, kind).SetInParent()
    assert error(module.plan, v1_servable, name, given) == (Code.INVALID_ARGUMENT, "Input is empty.")


@pytest.mark.parametrize("module", [classify, regress])
def test_an_unknown_signature_is_an_invalid_argument(v1_servable: Servable, module) -> None:
    expected = (Code.INVALID_ARGUMENT, "No signature was found with the name: nope")
    assert error(module.plan, v1_servable, "nope", inputs(1.0)) == expected


def test_a_signature_for_something_else_is_refused(v1_servable: Servable) -> None:
    assert error(classify.plan, v1_servable, "", inputs(1.0)) == (
        Code.INVALID_ARGUMENT,
        f"Expected classification signature method_name to be {CLASSIFY}. Was: tensorflow/serving/predict",
    )
    assert error(regress.plan, v1_servable, "classify_x_to_y", inputs(1.0)) == (
        Code.INVALID_ARGUMENT,
        f"Expected regression signature method_name to be {REGRESS}. Was: {CLASSIFY}",
    )


def test_a_signature_that_takes_no_examples_is_refused(v1_servable: Servable) -> None:
    assert error(regress.plan, v1_servable, "regress_x2_to_y3", inputs(1.0)) == (
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but string is provided",
    )


def signature(method: str, ins: list[str], outs: list[str]) -> SignatureDef:
    made = SignatureDef(method_name=method)
    for name in ins:
        made.inputs[name].name = f"{name}:0"
    for name in outs:
        made.outputs[name].name = f"{name}:0"
    return made


@pytest.mark.parametrize(
    ("module", "made", "code", "message"),
    [
        (classify, signature(CLASSIFY, ["a", "b"], ["scores"]), 3, "Expected one input Tensor."),
        (classify, signature(CLASSIFY, ["a"], []), 3, "Expected one or two output Tensors, found 0"),
        (classify, signature(CLASSIFY, ["a"], ["x", "y", "z"]), 3, "Expected one or two output Tensors, found 3"),
        (classify, signature(CLASSIFY, ["a"], ["scores"]), 9, "No classification inputs found in SignatureDef: inputs"),
        (
            classify,
            signature(CLASSIFY, ["inputs"], ["x"]),
            9,
            'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was',
        ),
        (regress, signature(REGRESS, ["a", "b"], ["outputs"]), 3, "Expected one input Tensor."),
        (regress, signature(REGRESS, ["inputs"], ["outputs", "x"]), 3, "Expected one output Tensor."),
        (regress, signature(REGRESS, ["a"], ["outputs"]), 9, "No regression inputs found in SignatureDef: inputs"),
        (regress, signature(REGRESS, ["inputs"], ["x"]), 9, "No regression outputs found in SignatureDef: inputs"),
    ],
)
def test_a_signature_without_the_parts_of_its_method_is_refused(
    module, made: SignatureDef, code: int, message: str
) -> None:
    found = error(module.head, made)
    assert found[0] == code
    assert found[1].startswith(message)


def strings(*rows: list[bytes]) -> np.ndarray:
    made = np.empty((len(rows), len(rows[0])), object)
    for i, row in enumerate(rows):
        made[i] = row
    return made


def test_labels_and_scores_go_together() -> None:
    labels = strings([b"cold", b""], [b"hot", b"x" * 200])
    scores = np.array([[0.25, 0.0], [-1.5, np.inf]], np.float32)
    expected = [[("cold", 0.25), ("", 0.0)], [("hot", -1.5), ("x" * 200, np.inf)]]
    assert classified(labels, scores, 2) == expected
    assert classified(labels, None, 2) == [[(label, 0.0) for label, _ in row] for row in expected]
    assert classified(None, scores, 2) == [[("", score) for _, score in row] for row in expected]


def test_no_classes_are_empty_rows() -> None:
    assert classified(None, np.zeros((2, 0), np.float32), 2) == [[], []]


def test_a_label_that_is_not_utf8_is_the_models_fault() -> None:
    assert error(classify.of, strings([b"\xff"]), None, 1)[0] == Code.INTERNAL


@pytest.mark.parametrize(
    ("classes", "scores", "message"),
    [
        (None, np.zeros(2, np.float32), "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        (None, np.zeros((2, 3, 4), np.float32), "Expected Tensor shape: [batch_size num_classes] but got [2,3,4]"),
        (None, np.zeros((2, 3)), "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        (None, np.zeros((3, 3), np.float32), "Expected scores output batch size of 2. Got: 3"),
        (np.zeros((2, 3), np.float32), None, "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        (strings([b"a"]), None, "Expected classes output batch size of 2. Got: 1"),
        (
            strings([b"a"], [b"b"]),
            np.zeros((2, 3), np.float32),
            "Tensors class and score should match in dim_size(1). Got 1 vs. 3",
        ),
    ],
)
def test_classes_and_scores_of_another_shape_or_type_are_refused(classes, scores, message: str) -> None:
    assert error(classify.of, classes, scores, 2) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.zeros((2, 2), np.float32),
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ),
        (np.zeros(3, np.float32), "Input batch size did not match output batch size: 2 vs. 3"),
        (np.zeros(2), "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
        (np.float32(1).reshape(()), "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but"),
    ],
)
def test_regressions_of_another_shape_or_type_are_refused(values: np.ndarray, message: str) -> None:
    code, found = error(regress.of, values, 2)
    assert code == Code.INVALID_ARGUMENT
    assert found.startswith(message)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_regressions_are_a_vector_or_a_column(shape: tuple[int, ...]) -> None:
    values = np.array([0.0, -2.5, np.inf], np.float32).reshape(shape)
    assert [r.value for r in regress.of(values, 3).regressions] == [0.0, -2.5, np.inf]


def test_another_number_of_results_is_refused(v1_servable: Servable) -> None:
    plan = classify.plan(v1_servable, "classify_x_to_y", inputs(1.0))
    expected = (Code.INVALID_ARGUMENT, "Expected 1 output tensor(s).  Got: 0")
    assert error(classify.result, plan, []) == expected
    plan = regress.plan(v1_servable, "regress_x_to_y", inputs(1.0))
    message = "Expected output_tensors and output_tensor_names to have the same size."
    assert error(regress.result, plan, []) == (Code.INVALID_ARGUMENT, message)


def tasks(*given: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest(input=inputs(2.0, 4.0))
    for model, name, method in given:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, name
    return request


def test_several_heads_take_one_run(v1_servable: Servable) -> None:
    request = tasks(
        ("v1", "regress_x_to_y2", REGRESS), ("v1", "classify_x_to_y", CLASSIFY), ("v1", "regress_x_to_y", REGRESS)
    )
    plan = multi_inference.plan(v1_servable, request)
    assert isinstance(plan.call, Call)
    assert len(plan.call.feeds) == 1
    assert plan.call.fetches == ("y2:0", "y:0")
    response = multi_inference.respond(v1_servable, plan, v1_servable.run(plan.call))
    first, second, third = response.results
    assert [r.value for r in first.regression_result.regressions] == [4.0, 5.0]
    assert [row.classes[0].score for row in second.classification_result.classifications] == [3.0, 4.0]
    assert [r.value for r in third.regression_result.regressions] == [3.0, 4.0]
    spec = second.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("v1", 1, "classify_x_to_y")


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (
            [("v1", "regress_x_to_y", REGRESS), ("other", "classify_x_to_y", CLASSIFY)],
            Code.INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        ([("", "regress_x_to_y", REGRESS)], Code.INVALID_ARGUMENT, "Found ModelSpec with an empty model name."),
        (
            [("v1", "regress_x_to_y", REGRESS), ("v1", "regress_x_to_y", REGRESS)],
            Code.INVALID_ARGUMENT,
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            [("v1", "nope", REGRESS)],
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: nope",
        ),
        (
            [("v1", "serving_default", "tensorflow/serving/predict")],
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (
            [("v1", "regress_x_to_y", REGRESS), ("v1", "regress_x2_to_y3", REGRESS)],
            Code.INVALID_ARGUMENT,
            "Input tensor must be the same for all Signatures.",
        ),
        ([], Code.INVALID_ARGUMENT, "Must specify at least one target to fetch or execute."),
    ],
)
def test_tasks_that_do_not_fit_are_refused(v1_servable: Servable, given, code: Code, message: str) -> None:
    assert error(multi_inference.plan, v1_servable, tasks(*given)) == (code, message)


def test_no_examples_for_several_heads_are_refused(v1_servable: Servable) -> None:
    request = tasks(("v1", "regress_x_to_y", REGRESS))
    request.input.Clear()
    assert error(multi_inference.plan, v1_servable, request) == (Code.INVALID_ARGUMENT, "Input is empty.")


def test_metadata_holds_every_signature(v1_servable: Servable) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    response = metadata.respond(v1_servable, request)
    assert (response.model_spec.name, response.model_spec.version.value) == ("v1", 1)
    assert response.metadata["signature_def"].type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert dict(found.signature_def) == dict(v1_servable.signatures)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "X"], "Metadata field X is not supported"),
    ],
)
def test_other_metadata_is_refused(v1_servable: Servable, fields: list[str], message: str) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    assert error(metadata.respond, v1_servable, request) == (Code.INVALID_ARGUMENT, message)
