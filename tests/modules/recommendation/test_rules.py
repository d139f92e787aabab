"""Which actions may be recommended, against a reference that looks at one request at a time."""

from __future__ import annotations

import numpy as np
import policy_reference
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.errors import ConfigError
from modules.features import Feature, Kind
from modules.journeys import names
from modules.journeys.dataset import EventTable, JourneyDataset, Outcome
from modules.recommendation.rules import allowed_tensor, check_policy, features_of_rules, requested_tensor
from modules.recommendation.settings import ActionRule, PolicySettings

ACTIONS = ("call", "email", "visit", "ärger")
DATASET = JourneyDataset(
    name="toy",
    events=EventTable(
        files=("e.csv",),
        lead="id",
        time="t",
        action="a",
        features=(Feature(name="response", kind=Kind.CATEGORICAL), Feature(name="minutes", kind=Kind.NUMERIC)),
    ),
    features=(Feature(name="source", kind=Kind.CATEGORICAL), Feature(name="income", kind=Kind.NUMERIC)),
    outcome=Outcome(column="won"),
)

word = st.sampled_from(["", "yes", "no", "né"])
action = st.sampled_from(["", *ACTIONS])


@st.composite
def rules(draw) -> ActionRule:
    words = st.lists(word, min_size=1, max_size=2, unique=True).map(tuple)
    after = draw(st.fixed_dictionaries({}, optional={"response": words, "action": st.tuples(action)}))
    where = draw(st.fixed_dictionaries({}, optional={"source": words}))
    forbid = draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3, unique=True))
    return ActionRule(forbid=tuple(forbid), after=after, where=where, last_event_only=draw(st.booleans()))


policies = st.builds(
    PolicySettings,
    allow=st.lists(st.sampled_from(ACTIONS), max_size=3, unique=True).map(tuple),
    rules=st.lists(rules(), max_size=3).map(tuple),
)


@st.composite
def requests(draw) -> dict:
    history = draw(st.lists(action, max_size=4))
    responses = draw(st.lists(word, min_size=len(history), max_size=len(history)))
    encode = lambda words: [w.encode() for w in words]  # noqa: E731
    return {
        names.HISTORY_ACTION: encode(history),
        names.history("response"): encode(responses),
        "source": draw(word).encode(),
        names.ALLOWED_ACTIONS: encode(draw(st.lists(st.sampled_from(["", "unheard of", *ACTIONS]), max_size=3))),
    }


def padded(lists) -> tf.Tensor:
    width = max(map(len, lists), default=0)
    cells = [[*found, *[b""] * (width - len(found))] for found in lists]
    return tf.reshape(tf.constant([c for row in cells for c in row], tf.string), [len(lists), width])


def in_graph(policy: PolicySettings, rows: list[dict]) -> np.ndarray:
    history = {
        "action": padded([r[names.HISTORY_ACTION] for r in rows]),
        "response": padded([r[names.history("response")] for r in rows]),
    }
    length = tf.constant([len(r[names.HISTORY_ACTION]) for r in rows], tf.int64)
    lead = {"source": tf.constant([r["source"] for r in rows], tf.string)}
    allowed = allowed_tensor(policy, ACTIONS, history, length, lead)
    named = [(i, a) for i, r in enumerate(rows) for a in r[names.ALLOWED_ACTIONS] if a]
    known = {a.encode(): i for i, a in enumerate(ACTIONS)}
    classes = tf.constant([known.get(a, -1) for _, a in named], tf.int64)
    owners = tf.constant([i for i, _ in named], tf.int64)
    return (allowed & requested_tensor(classes, owners, tf.constant(len(rows)), len(ACTIONS))).numpy()


@settings(max_examples=150, deadline=None)
@given(policies, st.lists(requests(), max_size=5))
def test_graph_and_reference_allow_the_same_actions(policy, rows):
    found = in_graph(policy, rows)
    assert found.shape == (len(rows), len(ACTIONS))
    assert found.tolist() == [policy_reference.allowed_one(policy, ACTIONS, row) for row in rows]


def one(policy: PolicySettings, history=(), responses=(), source=b"", allowed=()) -> list[str]:
    row = {
        names.HISTORY_ACTION: list(history),
        names.history("response"): list(responses),
        "source": source,
        names.ALLOWED_ACTIONS: list(allowed),
    }
    return [action for action, ok in zip(ACTIONS, in_graph(policy, [row])[0], strict=True) if ok]


def test_no_call_after_an_opt_out_however_long_ago():
    policy = PolicySettings(rules=(ActionRule(forbid=("call",), after={"response": ("opted out",)}),))
    assert one(policy, [b"call"], [b"fine"]) == ["call", "email", "visit", "ärger"]
    assert one(policy, [b"call", b"email"], [b"opted out", b""]) == ["email", "visit", "ärger"]
    last = PolicySettings(rules=(policy.rules[0].model_copy(update={"last_event_only": True}),))
    assert "call" in one(last, [b"call", b"email"], [b"opted out", b""])
    assert "call" not in one(last, [b"email", b"call"], [b"", b"opted out"])


def test_conditions_of_a_rule_hold_for_one_event_together():
    rule = ActionRule(
        forbid=("visit",), after={"action": ("call",), "response": ("no",)}, where={"source": ("web", "")}
    )
    policy = PolicySettings(rules=(rule,))
    assert "visit" in one(policy, [b"call", b"email"], [b"yes", b"no"])
    assert "visit" not in one(policy, [b"call", b"email"], [b"no", b"yes"])
    assert "visit" in one(policy, [b"call"], [b"no"], source=b"shop")
    assert "visit" not in one(policy, [b"call"], [b"no"], source=b"web")


def test_a_rule_without_conditions_always_holds():
    assert one(PolicySettings(rules=(ActionRule(forbid=("call", "visit")),))) == ["email", "ärger"]


def test_lists_of_settings_and_request_are_met_together():
    policy = PolicySettings(allow=("call", "email"))
    assert one(policy) == ["call", "email"]
    assert one(policy, allowed=[b"email", b"visit", b""]) == ["email"]
    assert one(policy, allowed=[b""]) == ["call", "email"]
    assert one(policy, allowed=[b"unheard of"]) == []


def test_a_policy_may_only_name_what_the_data_hold():
    check_policy(PolicySettings(allow=ACTIONS), DATASET, ACTIONS)
    rules = (
        ActionRule(forbid=("emial",), after={"action": ("visit",)}),
        ActionRule(forbid=("call",), after={"action": ("letter",)}),
    )
    with pytest.raises(ConfigError, match="names 3 actions that the training part of 'toy' does not hold") as caught:
        check_policy(PolicySettings(allow=("fax",), rules=rules), DATASET, ACTIONS)
    assert caught.value.details == [
        "policy.allow: 'fax'",
        "policy.rules[0].forbid: 'emial' (did you mean 'email'?)",
        "policy.rules[1].after.action: 'letter'",
        "known actions: call, email, visit, ärger",
    ]
    assert "so rare" in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (ActionRule(forbid=("call",), after={"respons": ("no",)}), r"rules\[0\].after names 'respons' \(did you mean"),
        (ActionRule(forbid=("call",), after={"minutes": ("3",)}), "categorical features action, response"),
        (ActionRule(forbid=("call",), where={"income": ("3",)}), "categorical features source"),
    ],
)
def test_a_rule_may_only_look_at_categorical_features(rule, message):
    with pytest.raises(ConfigError, match=message):
        check_policy(PolicySettings(rules=(rule,)), DATASET, ACTIONS)


def test_without_outcomes_only_likelihood_can_rank():
    dataset = DATASET.model_copy(update={"outcome": None})
    check_policy(PolicySettings(kind="likelihood"), dataset, ACTIONS)
    with pytest.raises(ConfigError, match=r"has no `outcome`; set policy\.kind to likelihood"):
        check_policy(PolicySettings(), dataset, ACTIONS)


def test_features_of_rules_are_listed_once_and_without_the_action():
    rules = (
        ActionRule(forbid=("call",), after={"response": ("no",), "action": ("call",)}, where={"source": ("web",)}),
        ActionRule(forbid=("email",), after={"response": ("yes",)}),
    )
    assert features_of_rules(PolicySettings(rules=rules)) == (("response",), ("source",))
