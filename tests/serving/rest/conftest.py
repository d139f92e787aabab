"""The application over a real core: real graphs, the manager reduced to a table of loaded versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.native.protos import get_model_status_pb2, model_pb2
from serving.core import ModelServer
from serving.errors import Code, ServingError, invalid
from serving.servable import Servable, ServableId
from tests.serving.saved_models import half_plus, half_plus_two_v1


class Table:
    """Versions that are all available, the highest first; label `stable` is version 1 of each model."""

    def __init__(self, servables: list[Servable]) -> None:
        self.servables = servables

    @contextlib.contextmanager
    def lease(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        versions = {s.id.version: s for s in self.servables if s.id.name == spec.name}
        if spec.version_label:
            if spec.version_label != "stable":
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            yield versions[1]
            return
        wanted = spec.version.value if spec.HasField("version") else max(versions, default=0)
        if wanted not in versions:
            kind = f"Specific({spec.name}, {wanted})" if spec.HasField("version") else f"Latest({spec.name})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {kind}")
        yield versions[wanted]

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        response = get_model_status_pb2.GetModelStatusResponse()
        for servable in self.servables:
            if servable.id.name == request.model_spec.name:
                status = response.model_version_status.add(version=servable.id.version)
                status.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
                status.status.SetInParent()
        if not response.model_version_status:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")
        return response


class Here:
    """Runs graphs where it is called; observes nothing."""

    async def run(self, servable, call, deadline):
        return servable.run(call, deadline)

    def runtime(self, model: str, api: str, seconds: float) -> None: ...


@pytest.fixture(scope="session")
def rest_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base paths `half` (version 1: + 2, version 2: + 3) and `old` (TensorFlow 1, version 1)."""
    root = tmp_path_factory.mktemp("rest-models")
    half_plus(root / "half", 1, 2.0)
    half_plus(root / "half", 2, 3.0)
    half_plus_two_v1(root / "old", 1)
    return root


@pytest.fixture(scope="session")
def rest_core(rest_models: Path) -> Iterator[ModelServer]:
    """A core that serves `half` versions 1 and 2, and `old`, also under the name `mit Leerzeichen`."""
    named = [("half", 1, "half"), ("half", 2, "half"), ("old", 1, "old"), ("mit Leerzeichen", 1, "old")]
    servables = [Servable(ServableId(name, n), rest_models / folder / str(n)) for name, n, folder in named]
    here = Here()
    core = ModelServer(Table(servables), here, here)  # type: ignore[arg-type]
    yield core
    core.close()
    for servable in servables:
        servable.close()
