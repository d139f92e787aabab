"""MultiInference: several heads of one model over the same examples, in one run.

Reference: tensorflow_serving/servables/tensorflow/multi_inference.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modules.native.protos import inference_pb2
from serving.errors import Code, ServingError, invalid
from serving.inference import classify, examples, regress
from serving.inference.examples import Head
from serving.inference.signatures import CLASSIFY, DEFAULT_SIGNATURE, REGRESS, name_version
from serving.servable import Call, Servable


@dataclass(frozen=True, slots=True)
class Task:
    """One head: its method, its signature, and where its outputs are among the fetches of the run."""

    method: str
    signature_name: str
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class MultiPlan:
    """A run for all tasks, over `rows` examples."""

    call: Call
    rows: int
    tasks: tuple[Task, ...]


def plan(servable: Servable, request: inference_pb2.MultiInferenceRequest) -> MultiPlan:
    """Checks a request and says what to run.

    Raises:
      ServingError: INVALID_ARGUMENT, tasks for several models or without one, twice the same signature or one that is
        not there, heads with different inputs, no examples; UNIMPLEMENTED, a method besides classify and regress.
    """
    heads = [_head(servable, request, i) for i in range(len(request.tasks))]
    if len({head.tensor for _, head in heads}) > 1:
        raise invalid("Input tensor must be the same for all Signatures.")
    fetches = tuple(sorted({fetch for _, head in heads for fetch in head.fetches}))
    if not fetches:
        examples.serialized(request.input)
        raise invalid("Must specify at least one target to fetch or execute.")
    call, rows = examples.call(Head(heads[0][1].tensor, heads[0][1].dtype, fetches, ()), request.input)
    tasks = tuple(
        Task(
            task.method_name,
            name,
            tuple((o, fetches.index(f)) for o, f in zip(head.outputs, head.fetches, strict=True)),
        )
        for task, (name, head) in zip(request.tasks, heads, strict=True)
    )
    return MultiPlan(call, rows, tasks)


def respond(servable: Servable, plan: MultiPlan, arrays: Sequence[np.ndarray]) -> inference_pb2.MultiInferenceResponse:
    """The answer: a result per task, in the order of the request.

    Args:
      servable: the version that answered.
      plan: of the request.
      arrays: one per fetch of the plan.

    Raises:
      ServingError: INVALID_ARGUMENT, arrays of a type or shape that a head cannot have.
    """
    if len(arrays) != len(plan.call.fetches):
        raise invalid(f"Expected {len(plan.call.fetches)} output tensor(s).  Got: {len(arrays)}")
    response = inference_pb2.MultiInferenceResponse()
    for task in plan.tasks:
        outputs = {name: arrays[index] for name, index in task.outputs}
        found = response.results.add()
        name_version(found.model_spec, servable, task.signature_name)
        if task.method == CLASSIFY:
            classes, scores = outputs.get(classify.CLASSES), outputs.get(classify.SCORES)
            found.classification_result.CopyFrom(classify.of(classes, scores, plan.rows))
        else:
            found.regression_result.CopyFrom(regress.of(outputs[regress.OUTPUTS], plan.rows))
    return response


def _head(servable: Servable, request: inference_pb2.MultiInferenceRequest, index: int) -> tuple[str, Head]:
    """The signature's name and the head of one task, which is checked against those before it."""
    task = request.tasks[index]
    if not task.model_spec.name:
        raise invalid("Found ModelSpec with an empty model name.")
    if task.model_spec.name != request.tasks[0].model_spec.name:
        raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    name = task.model_spec.signature_name or DEFAULT_SIGNATURE
    if any((other.model_spec.signature_name or DEFAULT_SIGNATURE) == name for other in request.tasks[:index]):
        raise invalid(f"Duplicate evaluation of signature: {name}")
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid(f"Requested signature not found in model graph: {name}")
    if task.method_name == CLASSIFY:
        return name, classify.head(signature)
    if task.method_name == REGRESS:
        return name, regress.head(signature)
    raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
