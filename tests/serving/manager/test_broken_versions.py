"""Versions that cannot be loaded: told in the status, tried again, and never at the cost of one that serves."""

from __future__ import annotations

import itertools
import shutil
import time

import pytest

from modules.native.protos import SavedModel
from serving.errors import Code
from serving.manager.policies import VersionPolicy
from serving.servable import Servable
from tests.serving.manager.versions import (
    ask,
    models,
    name_an_unknown_op,
    publish,
    serving,
    status,
    truncate_variables,
    until,
)

HOUR = 3_600_000_000
QUICK = 20_000


def cut_the_graph(version):
    file = version / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:1000])


def lose_the_variables(version):
    shutil.rmtree(version / "variables")


def empty(version):
    shutil.rmtree(version)
    version.mkdir()


BREAKS = [
    (truncate_variables, Code.OUT_OF_RANGE, ""),
    (lose_the_variables, Code.NOT_FOUND, "variables.index"),
    (cut_the_graph, Code.OUT_OF_RANGE, "Read less bytes than requested"),
    (name_an_unknown_op, Code.NOT_FOUND, "NoSuchOp"),
    (empty, Code.NOT_FOUND, "Could not find SavedModel"),
]


@pytest.mark.parametrize(("break_it", "code", "words"), BREAKS)
def test_a_broken_version_is_told_and_the_old_one_answers_on(break_it, code, words, exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")), load_retry_interval_micros=HOUR)
    assert manager.wait_until_loaded(20)
    broken = shutil.copytree(exports[2], tmp_path / "broken")
    break_it(broken)
    publish(broken, tmp_path / "m", 2)
    manager.poll()
    until(lambda: "FAILED" in events.of(2))
    manager.poll()
    state, told, message = status(manager)[2]
    assert (state, Code(told)) == ("END", code)
    assert words in message
    assert status(manager)[1] == ("AVAILABLE", 0, "")
    assert ask(manager) == 6.0
    publish(exports[3], tmp_path / "m", 3)
    manager.poll()
    until(lambda: serving(manager) == [3])
    assert ask(manager) == 8.0


def test_a_graph_without_variables_needs_no_file_of_them(vocabulary, start, tmp_path):
    version = publish(vocabulary, tmp_path / "m", 1)
    file = version / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    model.meta_graphs[0].ClearField("saver_def")
    file.write_bytes(model.SerializeToString())
    shutil.rmtree(version / "variables")
    manager, _ = start(models(("m", tmp_path / "m")))
    assert manager.wait_until_loaded(20)


def test_a_missing_asset_is_told(vocabulary, start, tmp_path):
    broken = publish(vocabulary, tmp_path / "m", 1)
    shutil.rmtree(broken / "assets")
    manager, _ = start(models(("m", tmp_path / "m")), load_retry_interval_micros=HOUR)
    assert not manager.wait_until_loaded(20)
    state, code, message = status(manager)[1]
    assert (state, Code(code)) == ("END", Code.NOT_FOUND)
    assert "assets" in message
    assert manager.available() == []


def test_a_failed_load_is_tried_again_as_often_as_told(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    times: list[float] = []

    def load(servable_id, path):
        times.append(time.monotonic())
        raise ValueError("no luck")

    manager, events = start(
        models(("m", tmp_path / "m")), load=load, max_num_load_retries=2, load_retry_interval_micros=QUICK
    )
    until(lambda: events.of(1) == ["LOADING", "FAILED"] * 3)
    time.sleep(0.1)
    assert len(times) == 3
    assert min(b - a for a, b in itertools.pairwise(times)) >= QUICK / 1e6
    assert status(manager) == {1: ("END", Code.INTERNAL, "ValueError: no luck")}


def test_a_load_that_succeeds_on_a_retry_serves(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    attempts = []

    def load(servable_id, path):
        attempts.append(path)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return Servable(servable_id, path)

    manager, events = start(models(("m", tmp_path / "m")), load=load, load_retry_interval_micros=QUICK)
    until(lambda: serving(manager) == [1])
    assert events.of(1) == ["LOADING", "FAILED"] * 2 + ["LOADING", "AVAILABLE"]
    assert status(manager) == {1: ("AVAILABLE", 0, "")}
    assert ask(manager) == 6.0


def test_a_version_that_is_still_being_copied_loads_once_it_is_whole(exports, start, tmp_path):
    version = tmp_path / "m" / "1"
    (version / "variables").mkdir(parents=True)
    shutil.copy(exports[1] / "saved_model.pb", version)
    manager, events = start(models(("m", tmp_path / "m")), max_num_load_retries=0, load_retry_interval_micros=HOUR)
    until(lambda: "FAILED" in events.of(1))
    manager.poll()
    manager.poll()
    assert events.of(1) == ["LOADING", "FAILED"]
    shutil.copytree(exports[1], version, dirs_exist_ok=True)
    manager.poll()
    # Seen changed for the first time: it may be written still.
    assert events.of(1) == ["LOADING", "FAILED"]
    manager.poll()
    until(lambda: serving(manager) == [1])
    assert ask(manager) == 6.0


@pytest.mark.parametrize("happens", ["deleted", "still copied"])
def test_a_version_whose_files_change_while_it_loads_does_not_serve(happens, exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)

    def load(servable_id, path):
        servable = Servable(servable_id, path)
        if servable_id.version == 2 and not events.of(2)[1:]:
            if happens == "deleted":
                shutil.rmtree(path)
            else:
                (path / "assets" / "words.tsv").write_text("more words")
        return servable

    manager, events = start(models(("m", tmp_path / "m")), load=load, load_retry_interval_micros=HOUR)
    assert manager.wait_until_loaded(20)
    publish(exports[2], tmp_path / "m", 2)
    manager.poll()
    until(lambda: events.of(2) == ["LOADING", "FAILED"])
    assert serving(manager) == [1]
    assert Code(status(manager)[2][1]) == Code.ABORTED
    manager.poll()
    manager.poll()
    if happens == "still copied":
        until(lambda: serving(manager) == [2])
        assert ask(manager) == 7.0
    else:
        assert ask(manager) == 6.0


def test_a_broken_version_that_is_deleted_is_forgotten(exports, start, tmp_path):
    publish(exports[1], tmp_path / "m", 1)
    manager, events = start(models(("m", tmp_path / "m")), load_retry_interval_micros=QUICK, max_num_load_retries=10**6)
    assert manager.wait_until_loaded(20)
    broken = publish(exports[2], tmp_path / "m", 2)
    cut_the_graph(broken)
    manager.poll()
    until(lambda: "FAILED" in events.of(2))
    shutil.rmtree(broken)
    manager.poll()
    until(lambda: events.of(2)[-1] == "FAILED")
    manager.poll()
    count = len(events.of(2))
    time.sleep(0.1)
    assert len(events.of(2)) <= count + 2
    assert status(manager)[2][0] == "END"
    assert serving(manager) == [1]
    assert events.of(1) == ["LOADING", "AVAILABLE"]


def test_with_two_versions_to_serve_a_broken_third_costs_none_of_them(exports, start, tmp_path):
    for version in (1, 2):
        publish(exports[version], tmp_path / "m", version)
    policy = VersionPolicy(latest=VersionPolicy.Latest(num_versions=2))
    manager, events = start(models(("m", tmp_path / "m"), model_version_policy=policy), load_retry_interval_micros=HOUR)
    assert manager.wait_until_loaded(20)
    cut_the_graph(publish(exports[3], tmp_path / "m", 3))
    manager.poll()
    until(lambda: "FAILED" in events.of(3))
    manager.poll()
    assert serving(manager) == [1, 2]
    publish(exports[3], tmp_path / "m", 4)
    manager.poll()
    until(lambda: 4 in serving(manager))
    manager.poll()
    until(lambda: serving(manager) == [2, 4])


def test_a_failed_warm_up_is_a_failed_load(exports, start, tmp_path):
    from serving.manager.loading import load_and_warm_up

    version = publish(exports[1], tmp_path / "m", 1)
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"these are no records")
    manager, _ = start(models(("m", tmp_path / "m")), load=load_and_warm_up, load_retry_interval_micros=HOUR)
    assert not manager.wait_until_loaded(20)
    assert status(manager)[1][:2] == ("END", Code.DATA_LOSS)
