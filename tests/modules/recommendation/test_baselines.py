"""The naive predictors against counting by hand, and on real event logs."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.recommendation.baselines import NAMES, baselines_tensor, history_hashes, learn
from modules.recommendation.layout import FIRST_WORD
from modules.recommendation.reference_predictors import decisions, recent_followers, suffix_counts
from modules.recommendation.sequences import Sequences


def journeys(histories, following, positions=None, time=None, longest=None) -> Sequences:
    """Histories are lists of classes (-1: unknown); `following` is the class after the last event."""
    n = len(histories)
    length = np.array([len(h) for h in histories], np.int32)
    longest = longest or max([*length, 1])
    codes = np.zeros((n, longest, 1), np.int32)
    for row, history in enumerate(histories):
        codes[row, : len(history), 0] = [a + FIRST_WORD for a in history]
    return Sequences(
        event_codes=codes,
        event_numbers=np.zeros((n, longest, 0), np.float32),
        length=length,
        lead_codes=np.zeros((n, 0), np.int32),
        lead_numbers=np.zeros((n, 0), np.float32),
        next_action=np.array(following, np.int32),
        outcome=np.full(n, np.nan, np.float32),
        positions=length + 1 if positions is None else np.array(positions, np.int32),
        time=np.zeros(n, np.int64) if time is None else np.array(time, np.int64),
    )


def pairs(sequences: Sequences) -> list[tuple[tuple[int, ...], int]]:
    """(history, answer) of every slot that carries loss, one by one."""
    found = []
    for codes, length, following, positions in zip(
        sequences.event_codes[:, :, 0], sequences.length, sequences.next_action, sequences.positions, strict=True
    ):
        events = [int(c) - FIRST_WORD for c in codes[:length]]
        for slot in range(max(length + 1 - positions, 0), length + 1):
            answer = events[slot] if slot < length else int(following)
            if answer >= 0:
                found.append((tuple(events[:slot]), answer))
    return found


def by_counter(train: Sequences, history: tuple[int, ...], actions: int) -> dict[str, int]:
    """The three predictions for one history, straight from the definitions."""
    total: Counter[int] = Counter()
    after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    exactly: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for seen, answer in pairs(train):
        total[answer] += 1
        after[seen[-1:]][answer] += 1
        exactly[seen][answer] += 1
    best = lambda counts: min(range(actions), key=lambda a: (-counts[a], -total[a], a))  # noqa: E731
    last = best(after[history[-1:]])
    return {
        "majority": best(total),
        "last_action": last,
        "prefix": best(exactly[history]) if exactly[history] else last,
    }


@st.composite
def cases(draw):
    actions = draw(st.integers(1, 4))
    histories = st.lists(st.lists(st.integers(-1, actions - 1), max_size=4), min_size=1, max_size=25)
    learned, asked = draw(histories), draw(histories)
    following = draw(st.lists(st.integers(-1, actions - 1), min_size=len(learned), max_size=len(learned)))
    positions = [draw(st.integers(0, len(h) + 1)) for h in learned]
    return actions, journeys(learned, following, positions, longest=4), journeys(asked, [-1] * len(asked), longest=4)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_predictions_are_those_of_counting_one_by_one(case):
    actions, train, asked = case
    baselines = learn(train, actions, length=4)
    found = baselines(asked.event_codes[:, :, 0], asked.length)
    for row in range(len(asked)):
        history = tuple(int(c) - FIRST_WORD for c in asked.event_codes[row, : asked.length[row], 0])
        assert {name: int(found[name][row]) for name in NAMES} == by_counter(train, history, actions)


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(0, 4))
def test_graph_and_arrays_give_the_same_predictions(case, cut):
    actions, train, asked = case
    baselines = learn(train, actions, length=4)
    # Batches are padded to their own longest history; what lies behind a history is never looked at.
    asked = asked.take(asked.length <= cut)
    codes = asked.event_codes[:, :cut, 0].copy()
    codes[np.arange(cut) >= asked.length[:, None]] = FIRST_WORD
    wanted = baselines(codes, asked.length)
    found = baselines_tensor(baselines, tf.constant(codes, tf.int32), tf.constant(asked.length, tf.int32))
    for name in NAMES:
        assert found[name].dtype == tf.int64
        np.testing.assert_array_equal(found[name].numpy(), wanted[name])


def test_a_prefix_wins_over_the_last_action_and_an_unseen_one_falls_back():
    # After 0, 1: always 2. After 1 in general: mostly 0.
    train = journeys([[0, 1], [2, 1], [1, 1], [2, 1]], [2, 0, 0, 0])
    baselines = learn(train, actions=3, length=2)
    asked = journeys([[0, 1], [2, 1], [], [0]], [-1] * 4)
    found = baselines(asked.event_codes[:, :, 0], asked.length)
    assert found["prefix"].tolist() == [2, 0, 2, 1]
    assert found["last_action"].tolist() == [0, 0, 2, 1]
    assert found["majority"].tolist() == [1] * 4  # 1 occurs 5 times, 0 four times, 2 three times
    assert len(baselines.prefix_keys) == 2  # 0 1 and 1; the others say what the last action says


def test_windows_that_overlap_count_each_decision_once():
    whole = journeys([[0, 1, 0, 1, 1]], [0])
    windows = journeys([[0, 1, 0, 1], [1, 0, 1, 1]], [1, 0], positions=[5, 1])
    assert sorted(a for _, a in pairs(whole)) == sorted(a for _, a in pairs(windows))
    a, b = learn(whole, 2, 5), learn(windows, 2, 5)
    assert a.majority == b.majority == 0  # three of each: vocabulary order
    assert a.last_action.tolist() == b.last_action.tolist()


def test_only_the_most_frequent_prefixes_are_kept():
    # 0 is usually followed by 0; after 1, 0 by 1 (three times) and after 2, 0 by 1 (twice).
    train = journeys([[0] * 9, *[[1, 0]] * 3, *[[2, 0]] * 2], [0, *[1] * 5])
    assert len(learn(train, 3, 9).prefix_keys) == 2
    kept = learn(train, 3, 9, max_prefixes=1)
    asked = journeys([[1, 0], [2, 0]], [-1, -1])
    assert kept(asked.event_codes[:, :, 0], asked.length)["prefix"].tolist() == [1, 0]


def test_histories_of_other_order_or_length_have_other_hashes():
    random = np.random.default_rng(0)
    codes = np.unique(random.integers(FIRST_WORD, FIRST_WORD + 5, (20_000, 9)), axis=0)
    baselines = learn(journeys([[0]], [0]), actions=5, length=9)
    hashes = history_hashes(codes, np.full(len(codes), 9), baselines.position_factors, baselines.code_factors)
    distinct = len(np.unique(codes, axis=0)) + sum(len(np.unique(codes[:, :m], axis=0)) for m in range(9))
    assert len(np.unique(hashes)) == distinct


def test_longest_seen_suffix_decides():
    train = journeys([[0, 1, 2], [3, 1, 2], [3, 1, 2]], [0, 3, 3])
    asked = journeys([[0, 1, 2], [2, 1, 2], [0, 1]], [0, 0, 0], positions=[1, 1, 1])
    # Seen: 0 1 2 -> 0. Not seen: 2 1 2, but 1 2 -> 3. Seen: 0 1 -> 2.
    assert suffix_counts(train, asked, 4).tolist() == [0, 3, 2]
    assert suffix_counts(train, asked, 4, longest=1).tolist() == [3, 3, 2]


def test_recent_journeys_outvote_old_ones():
    day = 86_400
    train = journeys([[0], [0], [0]], [1, 1, 2], time=[0, 0, 20 * day])
    asked = journeys([[0]], [1], positions=[1])
    assert recent_followers(train, asked, 3, half_life_days=10).tolist() == [2]  # 1 against 2 x 1/4
    assert recent_followers(train, asked, 3, half_life_days=40).tolist() == [1]  # 1 against 2 x 0.71


def test_a_hundred_thousand_histories_are_learned_at_once():
    random = np.random.default_rng(1)
    histories = [list(h[: 1 + i % 12]) for i, h in enumerate(random.integers(0, 6, (40_000, 12)))]
    train = journeys(histories, random.integers(0, 6, 40_000))
    baselines = learn(train, 6, 12)
    row, slot, answer = decisions(train)
    assert len(row) == sum(len(h) + 1 for h in histories)
    # Followers of class 3, counted with NumPy.
    codes = train.event_codes[:, :, 0]
    after_three = answer[(slot > 0) & (codes[row, np.maximum(slot - 1, 0)] == 3 + FIRST_WORD)]
    assert baselines.last_action[3 + FIRST_WORD] == np.bincount(after_three).argmax()


def event_log(file, case, activity, order, time=None, time_format=None) -> tuple[Sequences, Sequences, int]:
    """First 80 % of the cases and the rest; all prefixes from one event on, no end symbol."""
    table = pd.read_csv(file, usecols=[c for c in (case, activity, time) if c])
    code, words = pd.factorize(table[activity])
    frequency = np.bincount(code)
    code = np.argsort(np.argsort(-frequency, kind="stable"))[code]
    when = pd.to_datetime(table[time], format=time_format, utc=True).astype("int64") // 10**9 if time else None
    groups = [g.to_numpy() for _, g in pd.Series(code).groupby(pd.factorize(table[case])[0])]
    first = pd.Series(when).groupby(pd.factorize(table[case])[0]).min().to_numpy() if time else np.arange(len(groups))
    if order == "start time":
        by_time = np.argsort(first, kind="stable")
        groups, first = [groups[i] for i in by_time], first[by_time]
    histories = [list(g[:-1]) for g in groups]
    following = [g[-1] if len(g) > 1 else -1 for g in groups]
    positions = [len(h) for h in histories]  # no decision without an event before it
    both = journeys(histories, following, positions, time=first)
    cut = int(len(both) * 0.8)
    return both.take(np.arange(cut)), both.take(np.arange(cut, len(both))), len(words)


def accuracies(train: Sequences, test: Sequences, actions: int) -> dict[str, float]:
    row, slot, answer = decisions(test)
    baselines = learn(train, actions, train.event_codes.shape[1])
    found = baselines(test.event_codes[row, :, 0], slot)
    return {name: round(float((found[name] == answer).mean()), 3) for name in NAMES}


@pytest.mark.slow
def test_known_accuracies_on_bpi_2012(shared_data):
    train, test, actions = event_log(shared_data / "bpi2012/bpi_challenge_2012.csv.gz", "case_id", "activity", "file")
    assert len(decisions(test)[0]) == 45_205
    assert accuracies(train, test, actions) == {"majority": 0.180, "last_action": 0.653, "prefix": 0.793}
    answer = decisions(test)[2]
    assert (suffix_counts(train, test, actions) == answer).mean() == pytest.approx(0.844, abs=0.001)


def test_known_accuracies_on_helpdesk(shared_data):
    file = shared_data / "helpdesk/helpdesk.csv.gz"
    columns = pd.read_csv(file, nrows=1).columns
    case, activity, time = (
        next(c for c in columns if c.lower().startswith(s)) for s in ("case", "activity", "complete")
    )
    train, test, actions = event_log(file, case, activity, "file", time)
    # Ties, of followers or of start times, may be broken in another way: a decision or two.
    assert accuracies(train, test, actions) == pytest.approx(
        {"majority": 0.297, "last_action": 0.797, "prefix": 0.802}, abs=0.0011
    )
    assert (suffix_counts(train, test, actions) == decisions(test)[2]).mean() == pytest.approx(0.801, abs=0.002)
    train, test, actions = event_log(file, case, activity, "start time", time)
    assert len(decisions(test)[0]) == 3495
    assert accuracies(train, test, actions) == pytest.approx(
        {"majority": 0.252, "last_action": 0.630, "prefix": 0.632}, abs=0.0011
    )
    recent = recent_followers(train, test, actions, half_life_days=60)
    assert (recent == decisions(test)[2]).mean() == pytest.approx(0.738, abs=0.01)
