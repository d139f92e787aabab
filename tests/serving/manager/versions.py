"""Making versions, breaking them, asking them, and waiting for what a manager does with them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from modules.native.protos import SavedModel, get_model_status_pb2, model_pb2
from serving.manager import ModelManager
from serving.manager.config import ModelServerConfig
from serving.servable import Call, Feed, Servable, ServableId


class Events(list[tuple[str, int, str]]):
    """Takes a manager's events as (model, version, state)."""

    def __call__(self, servable_id: ServableId, state: str, seconds: float) -> None:
        assert seconds >= 0
        self.append((servable_id.name, servable_id.version, state))

    def of(self, version: int) -> list[str]:
        return [state for _, number, state in list(self) if number == version]


def publish(export: Path, base: Path, version: int | str) -> Path:
    """Puts a copy of an export under a base path, whole or not at all."""
    base.mkdir(parents=True, exist_ok=True)
    hidden = base / f".{version}"
    shutil.copytree(export, hidden)
    return hidden.rename(base / str(version))


def truncate_variables(version: Path) -> None:
    """Cuts the file of variables in half."""
    (data,) = version.glob("variables/variables.data-*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])


def name_an_unknown_op(version: Path) -> None:
    """Turns the graph's additions into an op that no TensorFlow has."""
    file = version / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    nodes = [n for f in model.meta_graphs[0].graph_def.library.function for n in f.node_def if n.op == "AddV2"]
    assert nodes
    for node in nodes:
        node.op = "NoSuchOp"
    file.write_bytes(model.SerializeToString())


def spec(name: str = "m", version: int | None = None, label: str | None = None):
    message = model_pb2.ModelSpec(name=name)
    if version is not None:
        message.version.value = version
    if label is not None:
        message.version_label = label
    return message


def halves(servable: Servable, x: float = 10.0) -> float:
    """What a `half_plus` version answers for one x."""
    signature = servable.signatures["serving_default"]
    feed = Feed(signature.inputs["x"].name, 1, np.array([x], np.float32))
    (y,) = servable.run(Call((feed,), (signature.outputs["y"].name,)))
    return float(y[0])


def ask(manager: ModelManager, name: str = "m", version: int | None = None, label: str | None = None) -> float:
    with manager.lease(spec(name, version, label)) as servable:
        return halves(servable)


def models(*entries: tuple[str, Path], **policy) -> ModelServerConfig:
    """A configuration of models by (name, base path), all with the same policy or labels."""
    config = ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, base in entries:
        config.model_config_list.config.add(name=name, base_path=str(base), model_platform="tensorflow", **policy)
    return config


def status(manager: ModelManager, name: str = "m", version: int | None = None) -> dict[int, tuple[str, int, str]]:
    """Version -> state, error code, error message; in the order of the answer."""
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec(name, version))
    entries = manager.status(request).model_version_status
    names = get_model_status_pb2.ModelVersionStatus.State.Name
    return {e.version: (names(e.state), e.status.error_code, e.status.error_message) for e in entries}


def serving(manager: ModelManager, name: str = "m") -> list[int]:
    return [i.version for i in manager.available() if i.name == name]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition; fails when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)
