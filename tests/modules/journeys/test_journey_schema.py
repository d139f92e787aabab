"""Schema, statistics, gate and drift on decisions, whose features are lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types  # noqa: F401  makes tensorflow_data_validation importable (docs/stack.md)

import tensorflow as tf  # isort: skip
import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_transform.tf_metadata import schema_utils  # isort: skip

from modules.columns import columns, read_dataset
from modules.configuration import load
from modules.dataset import Dataset
from modules.drift import distances, entries, feature_statistics, missing_share
from modules.gate import inspect
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset
from modules.schema import curate_schema, describe_schema, diff_schema
from tests.modules.journeys import journey_tables as toy

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> JourneyDataset:
    folder = tmp_path_factory.mktemp("toy")
    toy.write(folder, *toy.tables())
    return toy.dataset(folder)


@pytest.fixture(scope="module")
def baseline(data: JourneyDataset):
    return toy.statistics(data)


@pytest.fixture(scope="module")
def schema(data: JourneyDataset, baseline) -> schema_pb2.Schema:
    return curate_schema(baseline, data)


@pytest.fixture
def gate(data: JourneyDataset, baseline, schema: schema_pb2.Schema, tmp_path: Path):
    """The gate on changed events, against the schema and the statistics of unchanged ones."""

    def run(events: pd.DataFrame, leads: pd.DataFrame | None = None, **changed):
        toy.write(tmp_path, events, toy.tables()[1] if leads is None else leads)
        found = toy.statistics(toy.dataset(tmp_path, **changed))
        return inspect(
            {"train": tfdv.validate_statistics(found, schema)},
            {"train": found.datasets[0]},
            schema,
            data,
            baseline=baseline.datasets[0],
            against="span 1",
        )

    return run


def rule(schema: schema_pb2.Schema, name: str) -> schema_pb2.Feature:
    return next(f for f in schema.feature if f.name == name)


def words(schema: schema_pb2.Schema, name: str) -> list[str]:
    return next(list(d.value) for d in schema.string_domain if d.name == rule(schema, name).domain)


# --- the schema -----------------------------------------------------------------------------------------------------


def test_every_feature_of_a_decision_is_in_the_schema_but_the_one_of_requests(schema: schema_pb2.Schema) -> None:
    assert [f.name for f in schema.feature] == [
        "city", "history_action", "history_time", "history_answer", "history_minutes", "history_length",
        "journey_start", "next_action", "outcome", "decision_time", "stage", "propensity", "training_positions",
        "lead",
    ]  # fmt: skip
    assert set(names.RESERVED) - {f.name for f in schema.feature} == {names.ALLOWED_ACTIONS}


def test_lists_hold_up_to_the_history_and_a_request_may_leave_out_everything(schema: schema_pb2.Schema) -> None:
    for name in ("history_action", "history_time", "history_answer", "history_minutes"):
        assert (rule(schema, name).value_count.min, rule(schema, name).value_count.max) == (0, 4)
        assert not rule(schema, name).presence.min_fraction and not rule(schema, name).presence.min_count
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    assert {type(parsed) for parsed in spec.values()} == {tf.io.VarLenFeature}
    assert all(not tf.sparse.to_dense(t).shape[1] for t in tf.io.parse_example([b""], spec).values())


def test_past_and_next_actions_share_a_vocabulary_and_an_attribute_may_be_empty(schema: schema_pb2.Schema) -> None:
    assert rule(schema, "history_action").domain == rule(schema, "next_action").domain == "action"
    assert words(schema, "next_action") == ["call", "email", "visit"]
    assert words(schema, "history_answer") == ["", "no", "yes"]
    assert words(schema, "city") == ["Oslo", "Rome"]
    assert words(schema, "stage") == sorted(["start", "1", "2-3", "4-7", "8-15", "16-31", "32+"])


def test_what_training_needs_is_required_and_the_rest_is_not(schema: schema_pb2.Schema) -> None:
    required = {f.name for f in schema.feature if f.presence.min_fraction == 1}
    assert required == {"history_length", "next_action", "decision_time", "stage", "training_positions", "lead"}
    assert rule(schema, "city").presence.min_fraction == 0.9
    assert (rule(schema, "outcome").int_domain.min, rule(schema, "outcome").int_domain.max) == (0, 1)
    assert (rule(schema, "propensity").float_domain.min, rule(schema, "propensity").float_domain.max) == (0, 1)


def test_drift_is_limited_for_lists_and_the_next_action(schema: schema_pb2.Schema) -> None:
    for name in ("city", "history_action", "history_answer", "next_action"):
        assert rule(schema, name).drift_comparator.infinity_norm.threshold == 0.1
    assert rule(schema, "history_minutes").drift_comparator.jensen_shannon_divergence.threshold == 0.1
    assert not rule(schema, "history_time").HasField("drift_comparator")


def test_a_list_is_described_with_its_length_and_a_new_action_is_a_change(schema: schema_pb2.Schema) -> None:
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in describe_schema(schema)}
    assert lines["history_action"] == (
        "words, 3 values: 'call', 'email', 'visit', up to 4 of them, drift at most 0.1 (L-infinity)"
    )
    more = schema_pb2.Schema()
    more.CopyFrom(schema)
    next(d for d in more.string_domain if d.name == "action").value.append("fax")
    assert diff_schema(schema, more) == ["~ history_action: 1 new: 'fax'", "~ next_action: 1 new: 'fax'"]


def test_an_open_attribute_has_no_vocabulary(data: JourneyDataset, baseline) -> None:
    answer = data.events.features[0].model_copy(update={"open_vocabulary": True})
    events = data.events.model_copy(update={"features": (answer, *data.events.features[1:])})
    opened = curate_schema(baseline, data.model_copy(update={"events": events}))
    assert not rule(opened, "history_answer").domain and rule(opened, "history_action").domain == "action"


@pytest.mark.parametrize("name", ["aiqleads_journeys", "bpi2012", "helpdesk"])
def test_a_curated_schema_is_what_its_dataset_file_asks_for(name: str) -> None:
    data = load(PROJECT / "configs" / "datasets" / f"{name}.yaml", JourneyDataset, {})
    saved = text_format.Parse((PROJECT / "schema" / name / "schema.pbtxt").read_text(), schema_pb2.Schema())
    assert diff_schema(saved, curate_schema(saved, data)) == []
    assert text_format.MessageToString(curate_schema(saved, data)) == text_format.MessageToString(saved)


def test_a_component_reads_back_the_dataset_it_was_given(data: JourneyDataset) -> None:
    assert read_dataset(data.model_dump_json()) == data
    leads = load(PROJECT / "configs" / "datasets" / "aiqleads.yaml", Dataset, {})
    assert read_dataset(leads.model_dump_json()) == leads


def test_a_hashed_personal_column_is_in_the_schema_but_need_not_be_there(data: JourneyDataset, baseline) -> None:
    hashed = data.model_validate(data.model_dump() | {"personal_data": [{"column": "phone", "action": "hash"}]})
    assert rule(curate_schema(baseline, hashed), "phone").presence.min_count == 0


# --- statistics -----------------------------------------------------------------------------------------------------


def test_entries_of_lists_are_counted_one_by_one(data: JourneyDataset, baseline) -> None:
    found = feature_statistics(baseline.datasets[0])
    decisions = toy.read(data).partition.decisions
    total = int(np.minimum(decisions.earlier, 4).sum())
    assert [entries(found[n]) for n in ("history_action", "history_time", "history_answer")] == [total] * 3
    assert entries(found["next_action"]) == len(decisions)


def test_missing_entries_are_those_of_the_file(tmp_path: Path) -> None:
    # Journey of 3: the histories of its decisions are [], [a], [a, b]; a's answer is missing twice, b's is not.
    events = pd.DataFrame(
        {
            "lead": ["x"] * 3, "time": ["2025-01-01", "2025-01-02", "2025-01-03"], "action": ["call"] * 3,
            "answer": ["", "yes", "no"], "minutes": ["", "5", "6"],
        }
    )  # fmt: skip
    toy.write(tmp_path, events, toy.tables()[1])
    found = feature_statistics(toy.statistics(toy.dataset(tmp_path)).datasets[0])
    assert missing_share(found["history_answer"], is_list=True) == pytest.approx(2 / 3)
    assert missing_share(found["history_minutes"], is_list=True) == pytest.approx(2 / 3)
    assert missing_share(found["history_action"], is_list=True) == 0


# --- the gate -------------------------------------------------------------------------------------------------------


def test_other_leads_of_the_same_kind_open_the_gate(gate) -> None:
    report = gate(*toy.tables(seed=1))
    assert report.opened and not report.stops and not report.warnings
    assert [d.column for d in report.drift] == [
        "city", "history_action", "history_answer", "history_minutes", "next_action",
    ]  # fmt: skip
    assert 0 < max(d.value for d in report.drift) < 0.1


def test_a_new_action_closes_the_gate_and_is_named(gate) -> None:
    events, _ = toy.tables()
    events.loc[::20, "action"] = "fax"
    share = (events["action"] == "fax").mean()
    past, chosen = gate(events).stops
    assert past.startswith("history_action: ") and past.endswith("% of values are not in the 3 known ones: 'fax' "
        + past[past.rindex("("):])  # fmt: skip
    assert (
        chosen == f"next_action: {100 * share:.1f} % of values are not in the 3 known ones: 'fax' ({100 * share:.1f} %)"
    )


def test_an_attribute_that_is_missing_too_often_closes_the_gate(gate) -> None:
    events, _ = toy.tables()
    events.loc[np.random.default_rng(0).random(len(events)) < 0.8, "minutes"] = ""
    anomaly, drift = gate(events).stops
    assert anomaly.startswith("history_minutes: 8") and anomaly.endswith(
        "% of events have none, at most 50.0 % allowed"
    )
    assert (
        drift.startswith("history_minutes: drift 0.") and "(Jensen-Shannon) above 0.10 against span 1: missing" in drift
    )


def test_an_attribute_that_loses_entries_closes_the_gate(data: JourneyDataset, schema: schema_pb2.Schema) -> None:
    def example(answers: list[bytes]) -> bytes:
        feature = {
            "history_action": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"call", b"email"])),
            "history_answer": tf.train.Feature(bytes_list=tf.train.BytesList(value=answers)),
        }
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

    path = str(Path(data.events.files[0]).parent / "ragged.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for answers in ([b"yes", b"no"], [b"yes", b"no"], [b"yes"]):
            writer.write(example(answers))
    found = toy.merged_statistics([toy.accumulate_file(path)])
    report = inspect({"train": tfdv.validate_statistics(found, schema)}, {"train": found.datasets[0]}, schema, data)
    (line,) = [line for line in report.stops if line.startswith("history_answer")]
    assert line == "history_answer: 5 entries where history_action has 6; every event needs one, '' or NaN"


def test_a_history_longer_than_the_schema_says_closes_the_gate(gate) -> None:
    lines = gate(*toy.tables(), history={"length": 6}).stops
    assert "history_action: up to 6 values in a row, at most 4 allowed" in lines


def test_a_number_out_of_its_range_closes_the_gate_and_nan_does_not(gate) -> None:
    events, _ = toy.tables()
    events.loc[3, "minutes"] = "900"
    (line,) = gate(events).stops
    assert line.startswith("history_minutes: max 900 above 100")


# --- drift ----------------------------------------------------------------------------------------------------------


def test_agents_who_act_otherwise_drift_in_history_and_next_action(gate) -> None:
    events, _ = toy.tables()
    events.loc[np.random.default_rng(1).random(len(events)) < 0.5, "action"] = "visit"
    past, chosen = gate(events).stops
    assert past.startswith("history_action: drift 0.4") and "'visit'" in past
    assert chosen.startswith("next_action: drift 0.4") and "'visit'" in chosen


def test_the_distance_of_lists_is_that_of_their_entries(data: JourneyDataset, baseline, tmp_path: Path) -> None:
    events, leads = toy.tables()
    events["answer"] = np.where(events["answer"] == "yes", "", events["answer"])
    toy.write(tmp_path, events, leads)
    changed = toy.statistics(toy.dataset(tmp_path))
    (found,) = [
        d for d in distances(changed.datasets[0], baseline.datasets[0], columns(data)) if d.column == "history_answer"
    ]
    before = feature_statistics(baseline.datasets[0])["history_answer"].string_stats.rank_histogram.buckets
    total = sum(b.sample_count for b in before)
    yes = next(b.sample_count for b in before if b.label == "yes") / total
    # Every "yes" became missing: both moved by the share of "yes", in opposite directions.
    assert found.value == pytest.approx(yes) and 0.35 < yes < 0.45
    assert found.reason.startswith(("missing", "'yes'"))
