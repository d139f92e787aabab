"""InfraCheck and the pusher through their executors and TFX's own readers of what they write."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tfx.components.util import model_utils
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils, proto_utils

from modules.publishing import versions
from modules.serving_check.settings import ServingCheckSettings
from pipeline.components.infra_check.executor import Executor as InfraExecutor
from pipeline.components.pusher import AtomicExecutor, pushed_path

_spec = importlib.util.spec_from_file_location(
    "toy_model", Path(__file__).parents[2] / "modules" / "serving_check" / "toy_model.py"
)
assert _spec is not None and _spec.loader is not None
toy_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy_model)


def artifact(kind, uri: Path, number: int = 1):
    result = kind()
    result.uri, result.id = str(uri), number
    uri.mkdir(parents=True, exist_ok=True)
    return result


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("candidate")
    toy_model.save(folder / "model" / "Format-Serving")
    toy_model.write_records(folder / "examples" / "Split-test" / "data-0.gz", toy_model.records())
    examples = artifact(standard_artifacts.Examples, folder / "examples")
    examples.split_names = artifact_utils.encode_split_names(["train", "test"])
    return {"model": [artifact(standard_artifacts.Model, folder / "model", 7)], "examples": [examples]}


def check(candidate: dict, folder: Path, **settings) -> standard_artifacts.InfraBlessing:
    blessing = artifact(standard_artifacts.InfraBlessing, folder / "blessing")
    demands = ServingCheckSettings(requests=10, ignored_features=("label", "id"), **{"p99_ms": 5000, **settings})
    InfraExecutor().Do(
        candidate,
        {"blessing": [blessing]},
        {"settings": demands.model_dump_json(), "model_name": "leads", "split": "test"},
    )
    return blessing


def push(inputs: dict, folder: Path, base: Path) -> standard_artifacts.PushedModel:
    pushed = artifact(standard_artifacts.PushedModel, folder / "pushed")
    destination = pusher_pb2.PushDestination(filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(base)))
    AtomicExecutor().Do(
        inputs, {"pushed_model": [pushed]}, {"push_destination": proto_utils.proto_to_json(destination)}
    )
    return pushed


def evaluator_blessing(folder: Path, blessed: int) -> standard_artifacts.ModelBlessing:
    result = artifact(standard_artifacts.ModelBlessing, folder / "evaluator")
    result.set_int_custom_property("blessed", blessed)
    return result


@pytest.mark.slow
def test_a_blessed_candidate_is_pushed_with_its_warmup_requests(candidate: dict, tmp_path: Path) -> None:
    blessing = check(candidate, tmp_path)
    assert model_utils.is_infra_validated(blessing)
    names = {p.name for p in Path(blessing.uri).iterdir()}
    assert names == {"INFRA_BLESSED", "report.json", "stamped_model"}
    assert 0 < blessing.get_float_custom_property("p50_ms") <= blessing.get_float_custom_property("p99_ms")
    model = Path(candidate["model"][0].uri) / "Format-Serving"
    assert not Path(path_utils.warmup_file_path(str(model))).exists(), "the evaluated model stays as it was"
    pushed = push(
        {
            "model": candidate["model"],
            "model_blessing": [evaluator_blessing(tmp_path, 1)],
            "infra_blessing": [blessing],
        },
        tmp_path,
        tmp_path / "serving",
    )
    path = pushed_path(pushed)
    assert path is not None and path == tmp_path / "serving" / str(versions(tmp_path / "serving")[0])
    assert Path(path_utils.warmup_file_path(str(path))).stat().st_size > 0
    assert (path / "saved_model.pb").read_bytes() == (model / "saved_model.pb").read_bytes()
    assert (Path(pushed.uri) / "saved_model.pb").is_file()
    assert pushed.get_string_custom_property("pushed_version") == path.name


def test_a_candidate_whose_process_dies_is_refused_with_the_reason_and_never_pushed(
    candidate: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.components.infra_check.executor.sys.executable", "/bin/false")
    blessing = check(candidate, tmp_path)
    assert not model_utils.is_infra_validated(blessing)
    report = json.loads((Path(blessing.uri) / "report.json").read_text())
    assert report["failed"] == {"process": "exit code 1: no output"}
    assert {p.name for p in Path(blessing.uri).iterdir()} == {"INFRA_NOT_BLESSED", "report.json"}
    reason = (Path(blessing.uri) / "INFRA_NOT_BLESSED").read_text()
    assert reason == blessing.get_string_custom_property("reason") == "process: exit code 1: no output"
    pushed = push({"model": candidate["model"], "infra_blessing": [blessing]}, tmp_path, tmp_path / "serving")
    assert pushed_path(pushed) is None and versions(tmp_path / "serving") == []


def test_a_model_the_evaluator_refused_is_not_pushed(candidate: dict, tmp_path: Path) -> None:
    inputs = {"model": candidate["model"], "model_blessing": [evaluator_blessing(tmp_path, 0)]}
    assert pushed_path(push(inputs, tmp_path, tmp_path / "serving")) is None
    assert not (tmp_path / "serving").exists()


def test_a_model_without_warmup_requests_is_pushed_from_the_trainer(candidate: dict, tmp_path: Path) -> None:
    inputs = {"model": candidate["model"], "model_blessing": [evaluator_blessing(tmp_path, 1)]}
    path = pushed_path(push(inputs, tmp_path, tmp_path / "serving"))
    assert path is not None and (path / "saved_model.pb").is_file()
