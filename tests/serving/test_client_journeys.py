"""The client on leads with histories, against a real server and a model whose answers a person can check."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.native.protos import Example
from serving.client import Client, ClientError, Feature, Features, LeadError, RankedAction
from serving.client.journeys import flattened, seconds
from tests.serving import journey_model
from tests.serving.journey_model import ACTIONS, DAY, INPUTS, priority, probabilities
from tests.serving.running import Running, serve

START = 1_772_355_600  # 2026-03-01T09:00:00Z
FEATURES = Features(Feature(n, s.dtype.as_datatype_enum, many=len(s.shape) > 1) for n, s in INPUTS.items())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served") / "recommendation"
    journey_model.save(folder / "3")
    with serve("--model_name=recommendation", f"--model_base_path={folder}", "--enable_batching") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Client]:
    with Client(server.grpc_address, model="recommendation", timeout=30) as client:
        yield client


def event(action: str, time: object = START, **attributes: object) -> dict[str, object]:
    return {"action": action, "time": time, **attributes}


def test_a_lead_with_a_history_gets_its_actions_ranked(client: Client) -> None:
    history = [
        event("email", "2026-03-01T09:00:00Z", response="opened"),
        event("email", dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC), amount=2.5),
        event("wait", START + 2 * DAY),
    ]
    (answer,) = client.recommend([{"state": "CA", "age": 45, "history": history}])
    expected = {"email": 3 / 6, "wait": 2 / 6, "call": 1 / 6}
    known = {"age": 45, "state": "CA", "amounts": [2.5], "length": 3, "days": 2}
    assert answer.actions == tuple(
        RankedAction(a, pytest.approx(p, rel=1e-6), pytest.approx(priority(a, **known), rel=1e-5))
        for a, p in expected.items()
    )
    assert (answer.next_best_action, answer.model, answer.version) == ("email", "recommendation", 3)


def test_events_are_put_in_order_by_their_times(client: Client) -> None:
    history = [event("email", START + i, amount=float(i), response="declined" if i < 3 else None) for i in range(6)]
    history += [event("call", START + 6)]
    forwards, backwards = client.recommend([{"history": history}, {"history": history[::-1]}])
    assert forwards == backwards
    assert {a.action: a.probability for a in forwards.actions} == pytest.approx(
        probabilities(["email", "email", "email", "call"]), rel=1e-6
    )
    best = {a.action: a.priority for a in forwards.actions}
    assert best == pytest.approx({a: priority(a, amounts=[3, 4, 5], length=7) for a in ACTIONS}, rel=1e-5)


def test_events_of_one_moment_keep_the_order_in_which_they_were_given() -> None:
    history = [event("b", 5), event("a", 5), event("c", 4)]
    (lead,) = flattened([{"history": history}], FEATURES)
    assert lead["history_action"] == [b"c", b"b", b"a"] and list(lead["history_time"]) == [4, 5, 5]


@pytest.mark.parametrize("lead", [{}, {"history": []}, {"history": None}, {"history": math.nan}, {"history": ()}])
def test_a_lead_without_events_gets_an_answer(client: Client, lead: dict) -> None:
    (answer,) = client.recommend([lead])
    assert [a.action for a in answer.actions] == list(ACTIONS)
    assert [a.priority for a in answer.actions] == pytest.approx([priority(a) for a in ACTIONS], rel=1e-5)


@pytest.mark.parametrize("allowed", [["wait"], ("email", "wait", "fax"), "wait", {"call"}])
def test_actions_that_are_not_allowed_never_come_back(client: Client, allowed) -> None:
    (answer,) = client.recommend([{"history": [event("call")] * 3, "allowed_actions": allowed}])
    some = {allowed} if isinstance(allowed, str) else set(allowed)
    expected = probabilities(["call"] * 3, sorted(some))
    assert {a.action: a.probability for a in answer.actions} == pytest.approx(expected, rel=1e-6)
    assert answer.next_best_action == answer.actions[0].action in some


def test_if_nothing_is_allowed_there_is_no_next_best_action(client: Client) -> None:
    (answer,) = client.recommend([{"history": [event("call")], "allowed_actions": ["fax"]}])
    assert (answer.next_best_action, answer.actions) == ("", ())


def test_the_journey_begins_when_the_lead_came_in_or_with_its_first_event() -> None:
    history = [event("call", START + DAY), event("email", START + 2 * DAY)]
    leads = [
        {"history": history},
        {"history": history, "created": START},
        {"history": history, "created": dt.date(2026, 3, 1)},
        {"history": history, "created": None},
        {"history": history, "created": pd.NaT},
        {"history": history, "journey_start": 7},
        {"history": [], "created": "2026-03-01 10:00:00+01:00"},
        {"history": history, "history_length": 30},
        {"history": []},
    ]
    flat = flattened(leads, FEATURES)
    midnight = START - 9 * 3600
    first = START + DAY
    starts = [first, START, midnight, first, first, 7, START, None, None]
    assert [lead.get("journey_start") for lead in flat] == starts
    assert [lead["history_length"] for lead in flat] == [2, 2, 2, 2, 2, 2, 0, 30, 0]


def test_lists_under_the_models_own_names_give_the_same_answer(client: Client) -> None:
    history = [event("call", START, response="declined"), event("email", START + DAY, amount=3)]
    lists = {
        "history_action": ["call", "email"], "history_time": [START, START + DAY],
        "history_response": ["declined", None], "history_amount": [None, 3.0],
        "history_length": 2, "journey_start": START,
    }  # fmt: skip
    first, second = client.recommend([{"state": "CA", "history": history}, {"state": "CA", **lists}])
    assert first == second
    assert first.actions[0].priority == pytest.approx(
        priority(first.actions[0].action, state="CA", amounts=[3], declined=True, length=2, days=1), rel=1e-5
    )


def test_many_leads_of_any_iterable_come_back_in_order(server: Running) -> None:
    leads = [{"history": [event(ACTIONS[i % 3], START + j) for j in range(i % 9)]} for i in range(50)]
    expected = [probabilities([ACTIONS[i % 3]] * (i % 9)) for i in range(50)]
    with Client(server.grpc_address, model="recommendation", timeout=30, max_batch=7) as client:
        answers = client.recommend(lead for lead in leads)
        chunks = [
            FEATURES.examples(FEATURES.columns(flattened(part, FEATURES)), len(part)) for part in (leads[:3], leads[3:])
        ]
        again = list(client.recommend_examples(chunks))
    assert [{a.action: a.probability for a in answer.actions} for answer in answers] == [
        pytest.approx(e, rel=1e-6) for e in expected
    ]
    assert [len(chunk) for chunk in again] == [3, 47]
    for one, other in zip([*again[0], *again[1]], answers, strict=True):
        assert [a.action for a in one.actions] == [a.action for a in other.actions]
        assert [a.priority for a in one.actions] == pytest.approx([a.priority for a in other.actions], rel=1e-6)


def test_an_answer_to_examples_needs_a_signature_that_takes_them(server: Running) -> None:
    with (
        Client(server.grpc_address, model="nothing") as client,
        pytest.raises(ClientError, match=r"Latest\(nothing\)"),
    ):
        list(client.recommend_examples([[b""]]))


@pytest.mark.parametrize(
    ("lead", "message"),
    [
        ({"histroy": []}, "lead 1: unknown feature 'histroy'; did you mean 'history'?"),
        ({"history": "call"}, "lead 1, history: expected a list of events, received 'call' (str)"),
        ({"history": event("call")}, "lead 1, history: expected a list of events, received {'action'"),
        ({"history": ["call"]}, "lead 1, history[0]: expected a mapping, received 'call' (str)"),
        (
            {"history": [event("call"), event("call", respones="x")]},
            "lead 1, history[1]: unknown feature of an event 'respones'; did you mean 'response'?",
        ),
        (
            {"history": [event("call", agent=7)]},
            "lead 1, history[0]: unknown feature of an event 'agent'; an event has: action, amount, response, time.",
        ),
        ({"history": [event("call"), {"time": 1}]}, "lead 1, history[1].action: expected an action, received none"),
        ({"history": [event("")]}, "lead 1, history[0].action: expected an action, received none"),
        ({"history": [event("call", None)]}, "history[0].time: expected the event's time as a datetime, ISO 8601 text"),
        ({"history": [event("call", "yesterday")]}, "seconds since 1970; received 'yesterday' (str)"),
        ({"history": [event("call", 1000 * START)]}, "after the year 9999; are these milliseconds?"),
        ({"history": [event("call", True)]}, "history[0].time: expected the event's time"),
        ({"created": "soon"}, "lead 1, created: expected a moment as a datetime, ISO 8601 text or seconds since 1970"),
        (
            {"history": [event("b", 2), event("a", 1, amount="3")]},
            "lead 1, history[1].amount: expected a number, received '3' (str); write it without quotes",
        ),
        ({"history": [event("a", response=5)]}, "lead 1, history[0].response: expected text, received 5 (int)"),
        (
            {"history": [event("a")], "history_action": ["a"]},
            "lead 1, history: expected a history or lists, received both: history, history_action",
        ),
        ({"history": [event("a")] * 3, "history_length": 2}, "history_length: expected the number of all events, at l"),
        (
            {"history_action": ["a", "b"], "history_time": [1]},
            "lead 1, history_time: expected an entry per event, 2 as in history_action; received 1",
        ),
        ({"history_response": ["a"]}, "history_response: expected an entry per event, 0 as in history_action"),
        ({"history_action": ["a", None]}, "lead 1, history_action[1]: expected a list without gaps"),
        ({"history_action": ["a", 5], "state": "CA"}, "lead 1, history_action[1]: expected text, received 5 (int)"),
        ({"allowed_actions": []}, "lead 1, allowed_actions: expected at least one action; without the key all"),
        ({"allowed_actions": ["", None]}, "lead 1, allowed_actions: expected at least one action"),
        ({"allowed_actions": 3}, "lead 1, allowed_actions: expected at least one action"),
        (7, "lead 1: expected a mapping of features, received 7 (int)"),
    ],
)
def test_what_cannot_be_sent_is_named(client: Client, lead: object, message: str) -> None:
    with pytest.raises(LeadError) as caught:
        client.recommend([{}, lead, {}])  # type: ignore[list-item]
    assert message in str(caught.value)
    assert caught.value.index == 1 and caught.value.exit_code == 4


def test_keys_of_events_are_ignored_only_on_request(client: Client) -> None:
    plain = {"history": [event("call")]}
    other = {"lead_id": "x", "history": [event("call", agent=7)]}
    assert client.recommend([other], ignore=["lead_id", "agent"]) == client.recommend([plain])
    assert client.recommend([other], ignore=True) == client.recommend([plain])
    with pytest.raises(LeadError, match="'agent'"):
        client.recommend([other], ignore=["lead_id"])


def test_a_feature_of_the_lead_keeps_its_name_even_if_it_is_called_history() -> None:
    features = Features([Feature("history", 7), Feature("history_action", 7, many=True)])
    lead = {"history": "bad debts", "history_action": ["call"]}
    assert flattened([lead], features) == [lead]
    text = Features([*FEATURES, Feature("created", 7)])
    (flat,) = flattened([{"created": "by phone", "history": [event("call", START)]}], text)
    assert flat["created"] == "by phone" and flat["journey_start"] == START


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (START, START),
        (START + 0.9, START),
        (-0.5, -1),
        (np.int64(START), START),
        (np.float32(16.5), 16),
        ("2026-03-01T09:00:00", START),
        ("2026-03-01T09:00:00.999Z", START),
        ("2026-03-01 10:00+01:00", START),
        ("20260301T090000Z", START),
        ("1969-12-31T23:59:59.5Z", -1),
        (dt.datetime(2026, 3, 1, 9), START),
        (dt.datetime(2026, 3, 1, 4, tzinfo=dt.timezone(dt.timedelta(hours=-5))), START),
        (pd.Timestamp("2026-03-01T09:00:00.5Z"), START),
        (dt.date(1970, 1, 2), DAY),
    ],
)
def test_a_moment_is_understood_in_every_usual_form(value: object, expected: int) -> None:
    assert seconds(value) == expected


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5), st.floats(width=32, allow_infinity=False))))
def test_lists_hold_the_events_sorted_by_time_with_nothing_lost(rows: list) -> None:
    history = [{"action": a, "time": t, "amount": x} for a, t, x in rows]
    (lead,) = flattened([{"history": history}], FEATURES)
    (record,) = FEATURES.examples(FEATURES.columns([lead]), 1)
    features = Example.FromString(record).features.feature
    expected = sorted(rows, key=lambda row: row[1])
    assert list(features["history_action"].bytes_list.value) == [a.encode() for a, _, _ in expected]
    assert list(features["history_time"].int64_list.value) == [t for _, t, _ in expected]
    np.testing.assert_array_equal(features["history_amount"].float_list.value, [x for _, _, x in expected])
    assert list(features["history_response"].bytes_list.value) == [b""] * len(rows)
    assert list(features["history_length"].int64_list.value) == [len(rows)]
