"""The pushed recommendation model behind a real server: gRPC, REST, the client and the command say the same."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from modules.journeys import names
from modules.native.protos import Example
from modules.serving_check.requests import read_records, without_features
from serving.client import Client, Recommendation
from tests.pipeline.command import RecommendedRun, aiqleads
from tests.serving.running import Running, serve

MODEL = "recommendation"
DATASET = "aiqleads_journeys"
# Rankings may differ where two values are as good as equal, so single answers are compared by action.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def server(recommended: RecommendedRun) -> Iterator[Running]:
    assert recommended.done.code == 0, recommended.done.output
    with serve(f"--root={recommended.root / 'serving'}", "--enable_batching") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Client]:
    with Client(server.grpc_address, model=MODEL, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def leads(recommended: RecommendedRun, client: Client) -> list[dict[str, Any]]:
    """Leads as the client takes them, with their whole histories, and their ids."""
    numbers = {feature.name for feature in client.features() if feature.dtype == 1}
    found: dict[str, dict[str, Any]] = {}
    with open(recommended.leads, newline="") as file:
        for row in csv.DictReader(file):
            lead: dict[str, Any] = {"lead_id": row["lead_id"], "created": row["created_at"], "history": []}
            for name in client.features().names:
                if name in row:
                    lead[name] = (float(row[name]) if row[name] else None) if name in numbers else row[name]
            found[row["lead_id"]] = lead
    with open(recommended.events, newline="") as file:
        for row in csv.DictReader(file):
            event = {"action": row["action"], "time": row["time"], "response": row["response"]}
            found[row["lead_id"]]["history"].append(event)
    return list(found.values())


@pytest.fixture(scope="module")
def vocabulary(client: Client) -> tuple[str, ...]:
    """Every action there is."""
    return tuple(sorted(action.action for action in client.recommend([{}])[0].actions))


def ask(client: Client, leads: Sequence[dict[str, Any]]) -> list[Recommendation]:
    return client.recommend(leads, ignore=["lead_id"])


def by_action(answer: Recommendation) -> dict[str, tuple[float, float]]:
    return {a.action: (a.probability, a.priority / 100) for a in answer.actions}


def same(a: Recommendation, b: Recommendation) -> None:
    first, second = by_action(a), by_action(b)
    assert set(first) == set(second)
    for action, values in first.items():
        assert values == pytest.approx(second[action], abs=TOLERANCE)


def test_answers_are_probabilities_over_every_action(client: Client, leads, vocabulary: tuple[str, ...]) -> None:
    assert len(vocabulary) > 3 and "" not in vocabulary
    answers = ask(client, leads[:300])
    for answer in answers:
        assert {a.action for a in answer.actions} <= set(vocabulary)
        assert answer.next_best_action == answer.actions[0].action
        assert math.fsum(a.probability for a in answer.actions) == pytest.approx(1, abs=1e-5)
        assert all(0 <= a.probability <= 1 and 0 <= a.priority <= 100 for a in answer.actions)
    assert len({answer.next_best_action for answer in answers}) > 1, "it looks at the lead"


def test_a_rule_of_the_policy_holds(client: Client, leads) -> None:
    """configs/recommendation.yaml: no call and no showing right after the lead declined."""
    declined = [lead for lead in leads if lead["history"] and lead["history"][-1]["response"] == "declined"][:50]
    assert declined
    for answer in ask(client, declined):
        assert not {"call", "showing"} & set(by_action(answer))


def test_masked_actions_never_come_back(client: Client, leads, vocabulary: tuple[str, ...]) -> None:
    allowed = vocabulary[1:3]
    whole = ask(client, leads[:50])
    some = ask(client, [{**lead, "allowed_actions": list(allowed)} for lead in leads[:50]])
    for everything, answer in zip(whole, some, strict=True):
        expected = {a: p for a, (p, _) in by_action(everything).items() if a in allowed}
        assert set(by_action(answer)) == set(expected)
        for action, (probability, priority) in by_action(answer).items():
            assert probability == pytest.approx(expected[action] / sum(expected.values()), abs=1e-4)
            assert priority == pytest.approx(by_action(everything)[action][1], abs=TOLERANCE)
    (none,) = ask(client, [{**leads[0], "allowed_actions": ["dance"]}])
    assert (none.next_best_action, none.actions) == ("", ())


@pytest.mark.parametrize("history", [[], None, "absent"])
def test_an_empty_history_works(client: Client, leads, vocabulary: tuple[str, ...], history: object) -> None:
    lead = {k: v for k, v in leads[0].items() if k != "history"}
    if history != "absent":
        lead["history"] = history
    (answer,) = ask(client, [lead])
    assert {a.action for a in answer.actions} == set(vocabulary)
    (with_others, *_) = ask(client, [lead, *leads[1:20]])
    same(answer, with_others)


def test_a_lead_of_whom_nothing_is_known_gets_an_answer(client: Client, vocabulary: tuple[str, ...]) -> None:
    (answer,) = client.recommend([{}])
    assert {a.action for a in answer.actions} == set(vocabulary)


def test_a_history_longer_than_the_window_is_cut_in_the_model(client: Client, leads, server: Running) -> None:
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    events = [
        {"action": ("call", "email", "text")[i % 3], "time": start + dt.timedelta(hours=i), "response": "no_response"}
        for i in range(200)
    ]
    lead = {**leads[0], "created": start}
    full = {**lead, "history": events}
    (long,) = ask(client, [full])
    for shown in (12, 60):
        (window,) = ask(client, [{**lead, "history": events[-shown:], "history_length": 200}])
        same(long, window)
    (other,) = ask(client, [{**lead, "history": [{**events[0], "action": "wait"}, *events[1:]]}])
    same(long, other)
    (together, *_) = ask(client, [full, *leads[1:10]])
    same(long, together)


def test_what_was_never_seen_in_training_works(client: Client, leads, vocabulary: tuple[str, ...]) -> None:
    event = {"action": "serenade", "time": "2026-01-01T10:00:00Z", "response": "née ü ☂"}
    strange = {"state": "Atlantis", "enquiry": "☂ " * 500, "age": -1e30, "history": [event] * 3}
    answers = ask(client, [strange, {**leads[0], "history": [*leads[0]["history"], event]}, leads[1]])
    for answer in answers:
        assert {a.action for a in answer.actions} <= set(vocabulary)
        assert all(math.isfinite(a.probability) and math.isfinite(a.priority) for a in answer.actions)
    (alone,) = ask(client, [leads[1]])
    same(alone, answers[2])


def test_times_move_together_without_a_change(client: Client, leads) -> None:
    """Only the calendar may matter, and whole weeks leave it as it is."""
    lead = next(lead for lead in leads if len(lead["history"]) > 2)
    week = dt.timedelta(weeks=1)

    def later(text: str) -> dt.datetime:
        return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) + week

    moved = {**lead, "created": later(lead["created"])}
    moved["history"] = [{**event, "time": later(event["time"])} for event in lead["history"]]
    here, there = ask(client, [lead, moved])
    same(here, there)


def test_rest_and_grpc_say_the_same(client: Client, leads, server: Running) -> None:
    chosen = leads[:20]
    longest = max(len(lead["history"]) for lead in chosen)

    def filled(lead: dict[str, Any], key: str, missing: Any) -> list[Any]:
        values = [event[key] for event in lead["history"]]
        return values + [missing] * (longest - len(values))

    def moment(text: str) -> int:
        return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) if text else 0

    instances = []
    for lead in chosen:
        row: dict[str, Any] = {
            names.HISTORY_ACTION: filled(lead, "action", ""),
            names.HISTORY_TIME: [moment(time) for time in filled(lead, "time", "")],
            names.history("response"): filled(lead, "response", ""),
            names.HISTORY_LENGTH: len(lead["history"]),
            names.JOURNEY_START: moment(lead["created"]),
            names.ALLOWED_ACTIONS: [""],
        }
        for feature in client.features():
            if feature.name not in row:
                value = lead.get(feature.name)
                row[feature.name] = (math.nan if value is None else value) if feature.dtype == 1 else value or ""
        instances.append(row)
    body = json.dumps({"signature_name": "predict_columns", "instances": instances}).encode()
    url = f"{server.url}/v1/models/{MODEL}:predict"
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as response:
        predictions = json.load(response)["predictions"]
    for answer, row in zip(ask(client, chosen), predictions, strict=True):
        numbers = zip(row["probabilities"], row["priorities"], strict=True)
        received = {a: (p, v / 100) for a, (p, v) in zip(row["actions"], numbers, strict=True) if a}
        assert set(received) == set(by_action(answer))
        for action, values in by_action(answer).items():
            assert values == pytest.approx(received[action], abs=TOLERANCE)


def test_the_command_says_what_the_client_says(
    client: Client, leads, recommended: RecommendedRun, server: Running, tmp_path: Path
) -> None:
    output = tmp_path / "answers.jsonl"
    done = aiqleads(
        *("recommend", str(recommended.events), "--leads", str(recommended.leads), "--dataset", DATASET),
        *("--server", server.grpc_address, "--timeout", "60", "--output", str(output), "--top", "100"),
    )
    assert done.code == 0, done.output
    rows = {row["lead_id"]: row for row in map(json.loads, output.read_text().splitlines())}
    assert set(rows) == {lead["lead_id"] for lead in leads}
    for lead, answer in zip(leads[:200], ask(client, leads[:200]), strict=True):
        row = rows[lead["lead_id"]]
        assert row["events"] == len(lead["history"])
        received = {a["action"]: (a["probability"], a["priority"] / 100) for a in row["actions"]}
        assert set(received) == set(by_action(answer))
        for action, values in by_action(answer).items():
            assert values == pytest.approx(received[action], abs=TOLERANCE)


def test_a_check_asks_the_pushed_model(recommended: RecommendedRun) -> None:
    done = aiqleads("serve", "--root", str(recommended.root), "--check")
    assert done.code == 0, done.output
    assert "5 leads asked over gRPC" in done.output and "gRPC and REST agree" in done.output


def test_a_decision_of_the_pipeline_is_answered_as_the_same_lead_from_the_client(
    client: Client, leads, recommended: RecommendedRun
) -> None:
    """What the model learned from and what callers send mean the same."""
    (split,) = (recommended.root / "artifacts").glob("*/*ExampleGen/examples/*/Split-test")
    records = read_records(sorted(split.iterdir()), 100)
    known = {lead["lead_id"]: lead for lead in leads}
    asked = []
    for record in records:
        features = Example.FromString(record).features.feature
        lead = known[features["lead_id"].bytes_list.value[0].decode()]
        events = sorted(lead["history"], key=lambda event: event["time"])
        asked.append({**lead, "history": events[: features[names.HISTORY_LENGTH].int64_list.value[0]]})
    (answers,) = client.recommend_examples([without_features(records, ["lead_id", *names.NOT_INPUTS])])
    for one, other in zip(answers, ask(client, asked), strict=True):
        same(one, other)


def test_every_event_has_its_share_of_the_answer(client: Client, leads) -> None:
    """What Shapley values promise: with the bias they sum to the answer; events are told apart by their place."""
    chosen = [*sorted(leads, key=lambda lead: -len(lead["history"]))[:5], *leads[:5], {**leads[0], "history": []}]
    answers = client.explain_actions(chosen, ignore=True)
    for lead, answer in zip(chosen, answers, strict=True):
        total = answer.bias + sum(reason.contribution for reason in answer.reasons)
        assert math.exp(total) == pytest.approx(answer.probability, rel=1e-3)
        lead_reason, *events = answer.reasons
        assert lead_reason.name == "(lead)"
        if events and events[0].position is None:
            assert events.pop(0).name == "(earlier events)"
        history = sorted(lead["history"], key=lambda event: event["time"])
        assert [e.position for e in events] == list(range(-len(events), 0))
        assert [e.name for e in events] == [event["action"] for event in history[len(history) - len(events) :]]
    assert answers[-1].reasons[1:] == ()


@pytest.mark.parametrize("format_", ["csv", "jsonl", "table"])
def test_the_command_explains_as_the_client(
    client: Client, leads, recommended: RecommendedRun, server: Running, tmp_path: Path, format_: str
) -> None:
    output, few = tmp_path / "answers", [lead["lead_id"] for lead in leads[:12]]
    done = aiqleads(
        *("recommend", str(recommended.events), "--leads", str(recommended.leads), "--dataset", DATASET),
        *("--server", server.grpc_address, "--timeout", "60", "--output", str(output), "--format", format_),
        *("--explain", *(part for lead in few for part in ("--lead", lead))),
    )
    assert done.code == 0, done.output
    known = {lead["lead_id"]: lead for lead in leads}
    if format_ == "table":
        shown = [line.strip() for line in output.read_text().splitlines() if line.startswith(" " * 16)]
        assert len(shown) == sum(min(3, 1 + len(known[lead]["history"])) for lead in few)
        assert all("times likelier" in line or "times less likely" in line for line in shown)
        return
    found: dict[str, list[tuple[str, int | None, float]]] = {}
    if format_ == "csv":
        with open(output, newline="") as file:
            for row in csv.DictReader(file):
                found[row["lead_id"]] = [
                    (row[f"reason_{i}"], int(row[f"event_{i}"] or 0) or None, float(row[f"contribution_{i}"]))
                    for i in (1, 2, 3)
                    if row.get(f"reason_{i}")
                ]
    else:
        for line in map(json.loads, output.read_text().splitlines()):
            found[line["lead_id"]] = [(r["name"], r["event"], r["contribution"]) for r in line["reasons"]]
    assert set(found) == set(few)
    order = list(found)
    for lead, answer in zip(order, client.explain_actions([known[i] for i in order], ignore=True), strict=True):
        values = {(r.name, r.position): r.contribution for r in answer.reasons}
        assert len(found[lead]) == min(3, len(values))
        for name, position, contribution in found[lead]:
            assert contribution == pytest.approx(values[name, position], abs=1e-3)
