"""A new configuration while serving: models come, go and move; labels; config files that change."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from google.protobuf import text_format

from modules.native.protos import get_model_status_pb2
from serving.errors import Code, ServingError
from serving.manager import ManagerSettings, ModelManager
from serving.manager.config import ModelServerConfig
from serving.manager.policies import VersionPolicy
from serving.servable import Servable
from tests.serving.manager.versions import ask, models, publish, serving, spec, status, truncate_variables, until

ALL = VersionPolicy(all=VersionPolicy.All())
HOUR = 3_600_000_000


def refused(call, *arguments, **named) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call(*arguments, **named)
    return caught.value


def test_a_reload_adds_and_removes_models_and_returns_when_new_ones_serve(exports, start, tmp_path):
    for name, b in (("a", 1), ("b", 2), ("c", 3)):
        publish(exports[b], tmp_path / name, 1)
    manager, events = start(models(("a", tmp_path / "a"), ("b", tmp_path / "b")))
    assert manager.wait_until_loaded(20)
    manager.reload(models(("b", tmp_path / "b"), ("c", tmp_path / "c")))
    assert ask(manager, "c") == 8.0
    assert ask(manager, "b") == 7.0
    assert refused(manager.lease, spec("a")).message == "Servable not found for request: Latest(a)"
    until(lambda: status(manager, "a") == {1: ("END", 0, "")})
    assert [e for e in events if e[0] == "b"] == [("b", 1, "LOADING"), ("b", 1, "AVAILABLE")]


def test_a_model_that_was_removed_can_come_back(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    config = models(("m", tmp_path / "m"))
    manager, events = start(config)
    assert manager.wait_until_loaded(20)
    with manager.lease(spec()):
        manager.reload(models())
        assert manager.available() == []
        # It still unloads, and loads anew beside that.
        manager.reload(config)
        assert ask(manager) == 6.0
    until(lambda: "END" in events.of(1))
    assert ask(manager) == 6.0
    assert status(manager) == {1: ("AVAILABLE", 0, "")}


def test_another_base_path_replaces_a_version_of_the_same_number(exports, start, tmp_path):
    publish(exports[1], tmp_path / "a", 1)
    publish(exports[2], tmp_path / "b", 1)
    manager, events = start(models(("m", tmp_path / "a")))
    assert manager.wait_until_loaded(20)
    manager.reload(models(("m", tmp_path / "b")))
    until(lambda: events.of(1) == ["LOADING", "AVAILABLE", "LOADING", "AVAILABLE", "UNLOADING", "END"])
    assert ask(manager) == 7.0
    assert serving(manager) == [1]


def test_another_base_path_that_cannot_serve_leaves_the_old_version(exports, start, tmp_path):
    publish(exports[1], tmp_path / "a", 5)
    truncate_variables(publish(exports[2], tmp_path / "b", 1))
    manager, _ = start(models(("m", tmp_path / "a")), load_retry_interval_micros=HOUR)
    assert manager.wait_until_loaded(20)
    assert refused(manager.reload, models(("m", tmp_path / "b"))).code == Code.UNKNOWN
    assert ask(manager) == 6.0
    assert serving(manager) == [5]


def test_a_reload_with_a_model_that_cannot_be_loaded_says_why_and_serves_the_others(exports, start, tmp_path):
    publish(exports[1], tmp_path / "good", 1)
    truncate_variables(publish(exports[1], tmp_path / "bad", 4))
    manager, _ = start(models(), load_retry_interval_micros=HOUR)
    error = refused(manager.reload, models(("bad", tmp_path / "bad"), ("good", tmp_path / "good")))
    assert error.code == Code.UNKNOWN
    assert error.message.startswith(
        "1 model(s) did not become available: {{{name: bad version: 4} due to error: OUT_OF_RANGE: "
    )
    assert ask(manager, "good") == 6.0


def test_a_reload_is_refused_as_a_whole(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, _ = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    twice = models(("x", tmp_path / "m"), ("x", tmp_path / "m"))
    error = refused(manager.reload, twice)
    assert (error.code, error.message) == (
        Code.INVALID_ARGUMENT,
        "Illegal to list model x multiple times in config list",
    )
    assert refused(manager.reload, ModelServerConfig()).code == Code.INVALID_ARGUMENT
    assert ask(manager) == 6.0


def test_a_reload_waits_no_longer_than_its_deadline_and_holds_up_no_other(exports, start, tmp_path):
    publish(exports[1], tmp_path / "b", 1)
    manager, _ = start(models())
    error = refused(manager.reload, models(("a", tmp_path / "a")), deadline=time.monotonic() + 0.1)
    assert (error.code, error.message) == (Code.DEADLINE_EXCEEDED, "No version could be loaded yet of: a")
    outcome: list[ServingError] = []
    waiting = threading.Thread(target=lambda: outcome.append(refused(manager.reload, models(("a2", tmp_path / "a")))))
    waiting.start()
    time.sleep(0.1)
    manager.reload(models(("b", tmp_path / "b")))
    waiting.join(10)
    assert outcome[0].code == Code.ABORTED
    assert ask(manager, "b") == 6.0


def test_a_reload_waits_on_while_another_one_changes_other_models(exports, start, tmp_path):
    publish(exports[1], tmp_path / "b", 1)
    manager, _ = start(models(), file_system_poll_wait_seconds=0.02)
    finished = threading.Event()

    def wait() -> None:
        manager.reload(models(("a", tmp_path / "a")))
        finished.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: not manager.wait_until_loaded(0))
    manager.reload(models(("a", tmp_path / "a"), ("b", tmp_path / "b")))
    assert not finished.is_set()
    publish(exports[2], tmp_path / "a", 1)
    waiting.join(20)
    assert finished.is_set()
    assert ask(manager, "a") == 7.0


def test_labels_choose_versions(exports, start, tmp_path):
    for version in (1, 2):
        publish(exports[version], tmp_path / "m", version)
    labels = {"stable": 1, "canary": 2}
    manager, _ = start(models(("m", tmp_path / "m"), model_version_policy=ALL, version_labels=labels))
    assert manager.wait_until_loaded(20)
    assert ask(manager, label="stable") == 6.0
    assert ask(manager, label="canary") == 7.0
    for call, argument in (
        (manager.lease, spec(label="beta")),
        (manager.status, get_model_status_pb2.GetModelStatusRequest(model_spec=spec(label="beta"))),
    ):
        error = refused(call, argument)
        assert (error.code, error.message) == (
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: beta",
        )
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec(label="stable"))
    assert [s.version for s in manager.status(request).model_version_status] == [1]


def test_a_label_moves_with_a_reload_and_goes_with_one(exports, start, tmp_path):
    for version in (1, 2):
        publish(exports[version], tmp_path / "m", version)
    base = ("m", tmp_path / "m")
    manager, _ = start(models(base, model_version_policy=ALL, version_labels={"stable": 1}))
    assert manager.wait_until_loaded(20)
    manager.reload(models(base, model_version_policy=ALL, version_labels={"stable": 2}))
    assert ask(manager, label="stable") == 7.0
    manager.reload(models(base, model_version_policy=ALL))
    assert refused(manager.lease, spec(label="stable")).code == Code.INVALID_ARGUMENT


UNAVAILABLE = "Request to assign label to version 7 of model m, which is not currently available for inference"


def test_a_label_on_a_version_that_does_not_serve_is_refused_and_nothing_changes(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    base = ("m", tmp_path / "m")
    manager, _ = start(models(base, version_labels={"stable": 1}))
    assert manager.wait_until_loaded(20)
    error = refused(manager.reload, models(base, version_labels={"stable": 7}))
    assert (error.code, error.message) == (Code.FAILED_PRECONDITION, UNAVAILABLE)
    assert ask(manager, label="stable") == 6.0


def test_a_wrong_label_at_start_is_told_once_all_is_loaded(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, _ = start(models(("m", tmp_path / "m"), version_labels={"stable": 7}))
    error = refused(manager.wait_until_loaded, 20)
    assert (error.code, error.message) == (Code.FAILED_PRECONDITION, UNAVAILABLE)


def test_with_leave_a_new_label_may_name_any_version_but_an_old_one_may_not_move_to_it(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    base = ("m", tmp_path / "m")
    manager, _ = start(models(base, version_labels={"stable": 1}), allow_version_labels_for_unavailable_models=True)
    assert manager.wait_until_loaded(20)
    manager.reload(models(base, version_labels={"stable": 1, "canary": 7}))
    error = refused(manager.lease, spec(label="canary"))
    assert (error.code, error.message) == (Code.NOT_FOUND, "Servable not found for request: Specific(m, 7)")
    assert refused(manager.reload, models(base, version_labels={"stable": 7})).message == UNAVAILABLE


def write(file, config) -> None:
    hidden = file.with_suffix(".new")
    hidden.write_text(text_format.MessageToString(config))
    hidden.rename(file)


def test_a_config_file_is_followed_and_a_bad_one_changes_nothing(exports, start, tmp_path, caplog):
    for name, b in (("a", 1), ("b", 2)):
        publish(exports[b], tmp_path / name, 1)
    file = tmp_path / "models.config"
    first = models(("a", tmp_path / "a"))
    write(file, first)
    manager, _ = start(first)
    assert manager.wait_until_loaded(20)
    manager.watch_config(file, 0.02)

    def refusals() -> list[str]:
        return [record.message for record in caplog.records if record.levelno >= logging.ERROR]

    with caplog.at_level(logging.ERROR, "serving.manager"):
        file.write_text("model_config_list { config { nonsense } }")
        until(lambda: bool(caplog.records))
        time.sleep(0.1)
        assert ask(manager, "a") == 6.0
        file.unlink()
        until(lambda: len(refusals()) == 2)
    assert "Invalid protobuf file" in refusals()[0]
    assert "No such file" in refusals()[1]
    write(file, models(("b", tmp_path / "b")))
    until(lambda: serving(manager, "b") == [1] and serving(manager, "a") == [])


def test_a_label_in_a_config_file_may_come_before_its_version(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    file = tmp_path / "models.config"
    first = models(("m", tmp_path / "m"))
    manager, _ = start(first, file_system_poll_wait_seconds=0.02)
    assert manager.wait_until_loaded(20)
    write(file, models(("m", tmp_path / "m"), version_labels={"stable": 2}))
    manager.watch_config(file, 0.02)
    time.sleep(0.1)
    assert refused(manager.lease, spec(label="stable")).code == Code.INVALID_ARGUMENT
    publish(exports[2], tmp_path / "m", 2)
    until(lambda: serving(manager) == [2])
    until(lambda: _labelled(manager))
    assert ask(manager, label="stable") == 7.0


def _labelled(manager: ModelManager) -> bool:
    try:
        return bool(ask(manager, label="stable"))
    except ServingError:
        return False


def test_a_bad_config_at_start_is_fatal(tmp_path):
    manager = ModelManager(ManagerSettings(), load=Servable)
    twice = models(("x", tmp_path), ("x", tmp_path))
    assert refused(manager.start, twice).code == Code.INVALID_ARGUMENT
    assert manager.stop(5)


def test_an_empty_config_serves_nothing_until_a_reload(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, _ = start(ModelServerConfig())
    assert manager.wait_until_loaded(5)
    manager.reload(models(("m", tmp_path / "m")))
    assert ask(manager) == 6.0
