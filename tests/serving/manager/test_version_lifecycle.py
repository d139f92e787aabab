"""From a directory to answers and back: swaps, policies, leases, vanishing versions, unloading."""

from __future__ import annotations

import logging
import shutil
import threading
import time

import pytest

from serving.errors import Code, ServingError
from serving.manager import ManagerSettings, ModelManager
from serving.manager.policies import VersionPolicy
from serving.servable import Servable, ServableId
from tests.serving.manager.versions import ask, halves, models, publish, serving, spec, status, until


def not_found(manager: ModelManager, *arguments) -> str:
    with pytest.raises(ServingError) as caught:
        manager.lease(spec(*arguments))
    assert caught.value.code == Code.NOT_FOUND
    return caught.value.message


def test_a_version_passes_through_its_states_and_answers(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    assert ask(manager) == 10 / 2 + 1
    assert ask(manager, version=1) == 6.0
    assert manager.available() == [ServableId("m", 1)]
    assert status(manager) == {1: ("AVAILABLE", 0, "")}
    assert manager.stop(10)
    assert events.of(1) == ["LOADING", "AVAILABLE", "UNLOADING", "END"]
    assert status(manager) == {1: ("END", 0, "")}
    assert not_found(manager, "m") == "Servable not found for request: Latest(m)"


def test_what_does_not_serve_is_not_found_in_upstreams_words(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, _ = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    assert not_found(manager, "n") == "Servable not found for request: Latest(n)"
    assert not_found(manager, "m", 7) == "Servable not found for request: Specific(m, 7)"
    assert not_found(manager, "m", -7) == "Servable not found for request: Specific(m, -7)"
    with pytest.raises(ServingError) as caught:
        manager.lease(spec(""))
    assert (caught.value.code, caught.value.message) == (
        Code.INVALID_ARGUMENT,
        "ModelSpec has no name specified.",
    )
    for arguments, message in [
        (("n",), "Could not find any versions of model n"),
        (("m", 7), "Could not find version 7 of model m"),
    ]:
        with pytest.raises(ServingError) as caught:
            status(manager, *arguments)
        assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, message)


def test_a_new_version_serves_before_the_old_one_goes(exports, start, tmp_path):
    seen: list[tuple[int, list[int]]] = []

    def load(servable_id, path):
        servable = Servable(servable_id, path)
        seen.append((servable_id.version, serving(manager)))
        return servable

    manager = ModelManager(ManagerSettings(file_system_poll_wait_seconds=-1), load=load)
    publish(exports[1], tmp_path / "m", 1)
    manager.start(models(("m", tmp_path / "m")))
    manager.poll()
    assert manager.wait_until_loaded(20)
    publish(exports[2], tmp_path / "m", 2)
    manager.poll()
    until(lambda: serving(manager) == [2])
    assert seen == [(1, []), (2, [1])]
    assert ask(manager) == 7.0
    assert manager.stop(10)


def test_a_request_finishes_on_the_version_it_began_with(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    with manager.lease(spec()) as held:
        publish(exports[2], tmp_path / "m", 2)
        manager.poll()
        until(lambda: serving(manager) == [2])
        assert ask(manager) == 7.0
        assert halves(held) == 6.0
        assert not_found(manager, "m", 1) == "Servable not found for request: Specific(m, 1)"
        assert status(manager) == {2: ("AVAILABLE", 0, ""), 1: ("UNLOADING", 0, "")}
        assert "END" not in events.of(1)
    until(lambda: "END" in events.of(1))
    with pytest.raises(ServingError, match="closed"):
        halves(held)


def test_leases_do_not_wait_for_a_load(exports, start, tmp_path):
    slow = threading.Event()

    def load(servable_id, path):
        if servable_id.version == 2:
            assert slow.wait(20)
        return Servable(servable_id, path)

    publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")), load=load)
    assert manager.wait_until_loaded(20)
    publish(exports[2], tmp_path / "m", 2)
    manager.poll()
    until(lambda: events.of(2) == ["LOADING"])
    assert status(manager)[2] == ("LOADING", 0, "")
    begin = time.perf_counter()
    for _ in range(100):
        assert ask(manager) == 6.0
    assert time.perf_counter() - begin < 5
    slow.set()
    until(lambda: serving(manager) == [2])


def test_no_more_versions_load_at_a_time_than_there_are_threads(exports, start, tmp_path):
    lock, now, most = threading.Lock(), [0], [0]

    def load(servable_id, path):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        servable = Servable(servable_id, path)
        with lock:
            now[0] -= 1
        return servable

    names = [f"m{i}" for i in range(9)]
    for name in names:
        publish(exports[1], tmp_path / name, 1)
    manager, _ = start(models(*((n, tmp_path / n) for n in names)), load=load, num_load_threads=2)
    assert manager.wait_until_loaded(30)
    assert len(manager.available()) == 9
    assert most == [2]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(), [12]),
        (VersionPolicy(latest=VersionPolicy.Latest(num_versions=2)), [4, 12]),
        (VersionPolicy(all=VersionPolicy.All()), [3, 4, 12]),
        (VersionPolicy(specific=VersionPolicy.Specific(versions=[3, 12, 99])), [3, 12]),
    ],
)
def test_a_policy_chooses_the_versions_that_serve(policy, expected, exports, start, tmp_path):
    for version, b in (("0003", 1), ("4", 2), ("12", 3)):
        publish(exports[b], tmp_path / "m", version)
    manager, _ = start(models(("m", tmp_path / "m"), model_version_policy=policy))
    assert manager.wait_until_loaded(20)
    assert serving(manager) == expected
    answers = {3: 6.0, 4: 7.0, 12: 8.0}
    assert [ask(manager, version=v) for v in expected] == [answers[v] for v in expected]
    assert ask(manager) == 8.0


def test_deleting_the_newest_version_goes_back_to_the_one_before(exports, start, tmp_path):
    for version in (1, 2):
        publish(exports[version], tmp_path / "m", version)
    manager, events = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    assert serving(manager) == [2]
    shutil.rmtree(tmp_path / "m" / "2")
    manager.poll()
    until(lambda: serving(manager) == [1])
    assert ask(manager) == 6.0
    assert events.index(("m", 1, "AVAILABLE")) < events.index(("m", 2, "UNLOADING"))


@pytest.mark.parametrize("what", ["version", "base path"])
def test_a_version_whose_directory_vanishes_serves_on_until_another_one_comes(what, exports, start, tmp_path):
    version = publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    shutil.rmtree(version if what == "version" else tmp_path / "m")
    for _ in range(3):
        manager.poll()
    assert ask(manager) == 6.0
    assert events.of(1) == ["LOADING", "AVAILABLE"]
    publish(exports[2], tmp_path / "m", 1)
    manager.poll()
    until(lambda: events.of(1)[-1] == "END")
    assert serving(manager) == [1]
    assert ask(manager) == 7.0


def test_files_cut_off_under_a_serving_version_do_no_harm(exports, start, tmp_path):
    version = publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    for file in version.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    manager.poll()
    assert ask(manager) == 6.0
    assert events.of(1) == ["LOADING", "AVAILABLE"]


def test_a_base_path_without_a_version_is_waited_for_and_holds_up_no_other_model(exports, start, tmp_path, caplog):
    publish(exports[1], tmp_path / "there", 1)
    with caplog.at_level(logging.WARNING, "serving.manager"):
        manager, _ = start(
            models(("missing", tmp_path / "missing"), ("there", tmp_path / "there")), file_system_poll_wait_seconds=0.02
        )
        until(lambda: serving(manager, "there") == [1])
        publish(exports[2], tmp_path / "there", 2)
        until(lambda: serving(manager, "there") == [2])
        assert not manager.wait_until_loaded(0.2)
        assert len([r for r in caplog.records if "Could not find base path" in r.message]) == 1
    publish(exports[3], tmp_path / "missing", 5)
    assert manager.wait_until_loaded(20)
    assert ask(manager, "missing") == 8.0


def test_polling_once_loads_at_start_only(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager = ModelManager(ManagerSettings(file_system_poll_wait_seconds=0), load=Servable)
    manager.start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    publish(exports[2], tmp_path / "m", 2)
    time.sleep(0.2)
    assert serving(manager) == [1]
    manager.poll()
    until(lambda: serving(manager) == [2])
    assert manager.stop(10)


def test_stopping_waits_for_leases(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    lease = manager.lease(spec())
    with lease as held:
        assert not manager.stop(0.1)
        assert halves(held) == 6.0
        assert not_found(manager, "m") == "Servable not found for request: Latest(m)"
    until(lambda: events.of(1)[-1] == "END")


def test_each_load_and_unload_is_one_line_in_the_log(exports, start, tmp_path, caplog):
    path = publish(exports[1], tmp_path / "m", 1)
    with caplog.at_level(logging.INFO, "serving.manager"):
        manager, _ = start(models(("m", tmp_path / "m")))
        assert manager.wait_until_loaded(20)
        assert manager.stop(10)
    loaded, unloaded = (r.getMessage() for r in caplog.records)
    assert loaded.startswith(f"loaded m:1 from {path} in 0.")
    assert unloaded.startswith("unloaded m:1 in 0.")


def test_an_observer_that_fails_does_not_disturb_the_manager(exports, tmp_path):
    def fail(*_):
        raise ZeroDivisionError

    publish(exports[1], tmp_path / "m", 1)
    manager = ModelManager(load=Servable, on_event=fail)
    manager.start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)
    assert ask(manager) == 6.0
    assert manager.stop(10)
