"""What every transport calls: finds the version, decodes, runs, encodes. Knows neither gRPC nor HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np

from modules.native.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.errors import Code, ServingError, invalid
from serving.inference import classify, metadata, multi_inference, predict, regress
from serving.inference.signatures import name_version
from serving.manager import ModelManager
from serving.servable import Call, Servable, ServableId

# Above this size a request is decoded, and its answer encoded, in a thread: the event loop stays free for others.
LARGE_BYTES = 1 << 18

Inputs = Mapping[str, tuple[int, np.ndarray]]
Build = Callable[[Servable], tuple[str, Inputs]]
T = TypeVar("T")
M = TypeVar("M")


class Runner(Protocol):
    """Where graphs run: directly, or in batches."""

    async def run(self, servable: Servable, call: Call, deadline: float | None) -> list[np.ndarray]: ...


class Observer(Protocol):
    """Takes the time of each run."""

    def runtime(self, model: str, api: str, seconds: float) -> None: ...


class ModelServer:
    """The APIs of TensorFlow Serving over a set of models.

    Deadlines are `time.monotonic()` values or None; every failure is a ServingError.

    Args:
      manager: the models.
      runner: where they run.
      observer: metrics.
      threads: for decoding large requests and for reloads.
    """

    def __init__(self, manager: ModelManager, runner: Runner, observer: Observer, threads: int = 4) -> None:
        self.manager = manager
        self._runner = runner
        self._observer = observer
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="serving-core")
        # A reload may wait for minutes; it must not keep a thread from requests.
        self._reloads = ThreadPoolExecutor(4, thread_name_prefix="serving-reload")

    async def predict(
        self, request: predict_pb2.PredictRequest, deadline: float | None = None, size: int = 0
    ) -> predict_pb2.PredictResponse:
        """Predict. size: bytes of the request, if known."""
        _require_spec(request)
        with self.manager.lease(request.model_spec) as servable:
            planned = await self._perhaps_in_thread(lambda: predict.plan_request(servable, request), size)
            arrays = await self._run(servable, planned.call, deadline, "Predict")
            return await self._perhaps_in_thread(lambda: predict.respond(servable, planned, arrays), _bytes(arrays))

    async def predict_arrays(
        self, spec: model_pb2.ModelSpec, build: Build, deadline: float | None = None, size: int = 0
    ) -> tuple[ServableId, list[tuple[str, int, np.ndarray]]]:
        """Predict with arrays on both sides.

        Args:
          spec: model, version or label.
          build: gets the version that will answer and returns the signature's name and the inputs.
          deadline: by when.
          size: bytes of the request, if known.

        Returns:
          The version that answered, and its outputs as (alias, TF_DataType, array) in the order of the aliases.
        """
        with self.manager.lease(spec) as servable:

            def plan() -> predict.PredictPlan:
                signature_name, inputs = build(servable)
                return predict.plan(servable, signature_name, inputs)

            planned = await self._perhaps_in_thread(plan, size)
            arrays = await self._run(servable, planned.call, deadline, "Predict")
            outputs = servable.signatures[planned.signature_name].outputs
            answer = [(a, outputs[a].dtype, array) for a, array in zip(planned.aliases, arrays, strict=True)]
            return servable.id, sorted(answer, key=lambda entry: entry[0])

    async def classify(
        self, request: classification_pb2.ClassificationRequest, deadline: float | None = None, size: int = 0
    ) -> classification_pb2.ClassificationResponse:
        """Classify."""
        return await self._examples(
            request, deadline, size, classify, "Classify", classification_pb2.ClassificationResponse
        )

    async def regress(
        self, request: regression_pb2.RegressionRequest, deadline: float | None = None, size: int = 0
    ) -> regression_pb2.RegressionResponse:
        """Regress."""
        return await self._examples(request, deadline, size, regress, "Regress", regression_pb2.RegressionResponse)

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, deadline: float | None = None, size: int = 0
    ) -> inference_pb2.MultiInferenceResponse:
        """MultiInference: several heads of one model on the same examples, in one run."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self.manager.lease(spec) as servable:
            plan = await self._perhaps_in_thread(lambda: multi_inference.plan(servable, request), size)
            arrays = await self._run(servable, plan.call, deadline, "MultiInference")
            return multi_inference.respond(servable, plan, arrays)

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """GetModelMetadata: the signatures of a version."""
        _require_spec(request)
        metadata.check(request)
        with self.manager.lease(request.model_spec) as servable:
            return metadata.respond(servable, request)

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus: the state of every version that the server knows."""
        _require_spec(request)
        return self.manager.status(request)

    async def reload(
        self, request: model_management_pb2.ReloadConfigRequest, deadline: float | None = None
    ) -> model_management_pb2.ReloadConfigResponse:
        """HandleReloadConfigRequest: answers when the new models serve, or at the deadline; the reload goes on then."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reloads, self.manager.reload, request.config, deadline)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response

    def close(self) -> None:
        """Ends the threads; requests in flight are the transports' to wait for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._reloads.shutdown(wait=False, cancel_futures=True)

    async def _examples(
        self, request: Any, deadline: float | None, size: int, method: Any, api: str, response_type: Callable[..., M]
    ) -> M:
        """Classify or Regress. method: the module that plans and reads the run."""
        _require_spec(request)
        with self.manager.lease(request.model_spec) as servable:
            name = request.model_spec.signature_name
            plan = await self._perhaps_in_thread(lambda: method.plan(servable, name, request.input), size)
            arrays = await self._run(servable, plan.call, deadline, api)
            response: Any = response_type(result=method.result(plan, arrays))
            name_version(response.model_spec, servable, plan.signature_name)
            return response

    async def _run(self, servable: Servable, call: Call, deadline: float | None, api: str) -> list[np.ndarray]:
        start = time.perf_counter()
        arrays = await self._runner.run(servable, call, deadline)
        self._observer.runtime(servable.id.name, api, time.perf_counter() - start)
        return arrays

    async def _perhaps_in_thread(self, function: Callable[[], T], size: int) -> T:
        if size <= LARGE_BYTES:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


def _require_spec(request) -> None:
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")


def _bytes(arrays: list[np.ndarray]) -> int:
    return sum(a.nbytes for a in arrays)
