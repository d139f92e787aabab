from __future__ import annotations

from pathlib import Path

import journey_examples
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from journey_examples import CONFIG, DATASET, LENGTH, example, random_rows
from tensorflow_transform.graph_context import TFGraphContext

from modules.analysis import MOMENTS, VOCABULARY_FILES
from modules.errors import DataError
from modules.journeys import names
from modules.recommendation import clock
from modules.recommendation.clock_graph import clock_codes
from modules.recommendation.layout import FIRST_WORD, MISSING, UNKNOWN
from modules.recommendation.preprocessing import preprocessing_fn
from modules.recommendation.transform_layout import JourneyTransformConfig, layout, layout_of
from modules.transform_batches import parse_raw

VOCABULARIES = {
    "action": ["call", "email", "visit"],
    "history_channel": ["web", "phone"],
    "history_agent": ["a1", "a2"],
    "source": ["portal"],
    "city": ["c1", "c2"],
    "message": ["price", "visit"],
}
STANDARDS = {"history_minutes": [10.0, 5.0], "history_offer": [0.0, 1e6], "income": [3e4, 1e4], "year": [2010.0, 5.0]}
TIMES = [1_700_000_000, 1_700_000_060, 1_700_090_000]


@pytest.fixture(scope="module")
def transform(tmp_path_factory):
    """Rows -> outputs of preprocessing_fn, with the vocabularies and moments above."""
    folder = tmp_path_factory.mktemp("words")
    for name, words in VOCABULARIES.items():
        (folder / name).write_text("".join(f"{word}\n" for word in words))
    files = {name: str(folder / name) for name in VOCABULARIES}
    custom_config = {**CONFIG.to_custom_config(), VOCABULARY_FILES: files, MOMENTS: STANDARDS}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def run(records):
        with TFGraphContext(tf.Module(), None, None):
            return preprocessing_fn(parse_raw(records, journey_examples.raw_feature_spec()), custom_config)

    return lambda rows: {k: v.numpy() for k, v in run(tf.constant([example(r) for r in rows], tf.string)).items()}


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    return journey_examples.transformed(tmp_path_factory)


def test_a_decision_by_hand(transform):
    row = {
        names.HISTORY_ACTION: [b"email", b"", b"fly"],
        names.HISTORY_TIME: TIMES,
        "history_channel": [b"phone", b"", b"fax"],
        "history_agent": [b"a2"],
        "history_minutes": [20.0, np.nan, -1000.0],
        "history_offer": [0.0, np.inf, 1e6, 7.0],
        "journey_start": TIMES[0] - 60,
        "income": 35_000.0,
        "source": b"portal",
        "message": b"A PRICE! visit, price",
        names.NEXT_ACTION: b"visit",
        names.OUTCOME: 0,
        names.DECISION_TIME: TIMES[2] + 5,
    }
    found = {name: values[0] for name, values in transform([row]).items()}
    times = clock.codes(np.array([TIMES]), np.array([3]), np.array([TIMES[0] - 60]))
    np.testing.assert_array_equal(found["event_codes"][:, :3], [[4, 4, 4], [1, 1, 1], [2, 2, 1], [0, 0, 0], [0, 0, 0]])
    for column, name in enumerate(("gap", "age", "hour", "weekday"), 3):
        np.testing.assert_array_equal(found["event_codes"][:, column], [*times[name][0], 0, 0])
    np.testing.assert_array_equal(
        found["event_numbers"],
        [[2, 0, 0, 0], [0, 0, 1, 1], [-5, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    )
    np.testing.assert_array_equal(found["lead_codes"], [FIRST_WORD, MISSING])
    np.testing.assert_array_equal(found["lead_numbers"], [0.5, 0, 0, 1, 1, 1, 0])
    assert (found["length"], found["history_length"], found["start"]) == (3, 3, TIMES[0] - 60)
    assert (found["next_action"], found["outcome"], found["decision_time"]) == (2, 0, TIMES[2] + 5)
    assert found["training_positions"] == 0


def test_a_decision_about_which_nothing_is_known(transform):
    found = {name: values[0] for name, values in transform([{}]).items()}
    assert not found["event_codes"].any() and not found["event_numbers"].any()
    np.testing.assert_array_equal(found["lead_codes"], [MISSING, MISSING])
    np.testing.assert_array_equal(found["lead_numbers"], [0, 0, 1, 1, 0, 0, 0])
    assert (found["length"], found["history_length"], found["start"], found["next_action"]) == (0, 0, 0, -1)
    assert np.isnan(found["outcome"])


def test_no_decision_at_all(transform):
    shapes = {name: values.shape for name, values in transform([]).items()}
    assert shapes["event_codes"] == (0, LENGTH, 7) and shapes["event_numbers"] == (0, LENGTH, 4)
    assert shapes["lead_codes"] == (0, 2) and shapes["lead_numbers"] == (0, 7) and shapes["length"] == (0,)


def test_of_a_long_list_the_last_events_count(transform):
    count = LENGTH + 3
    times = [TIMES[0] + 1000 * i for i in range(count)]
    row = {
        names.HISTORY_ACTION: [b"call", b"email"] * (count // 2),
        names.HISTORY_TIME: times,
        "history_minutes": [float(i) for i in range(count)],
        "history_agent": [b"a1"] * (count - 1),
    }
    lists = {name: values[-LENGTH:] for name, values in row.items()}
    lists["history_agent"] = [b"a1"] * (LENGTH - 1)
    both = transform([row, lists | {names.JOURNEY_START: times[0], names.HISTORY_LENGTH: count}])
    for name, values in both.items():
        np.testing.assert_array_equal(values[0], values[1], err_msg=name)
    assert both["length"][0] == LENGTH and both["history_length"][0] == count and both["start"][0] == times[0]


def test_events_without_a_time_have_unknown_clocks(transform):
    row = {names.HISTORY_ACTION: [b"call", b"call", b"call"], names.HISTORY_TIME: [TIMES[0], 0, TIMES[2]]}
    codes = transform([row, row | {names.HISTORY_TIME: None}])["event_codes"][:, :3, 3:]
    assert (codes[1] == UNKNOWN).all() and (codes[0, 1] == UNKNOWN).all()
    # The gap needs the event before as well, the age does not.
    assert codes[0, 2, 0] == UNKNOWN and (codes[0, 2, 1:] != UNKNOWN).all() and (codes[0, 0] != UNKNOWN).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_decisions_equal_a_row_by_row_reference(transform, seed):
    rows = random_rows(12, seed)
    found = transform(rows)
    for i, row in enumerate(rows):
        for name, values in reference(row).items():
            np.testing.assert_allclose(found[name][i], values, rtol=1e-5, atol=1e-6, err_msg=f"{name} of {row}")


@settings(max_examples=50, deadline=None)
@given(data=st.data(), events=st.integers(0, 6))
def test_clock_in_the_graph_equals_clock_in_numpy(data, events):
    span = st.integers(1, 2**33)
    edges = sorted({*clock.GAP_BOUNDARIES, *clock.AGE_BOUNDARIES})
    times = data.draw(hnp.arrays(np.int64, (4, events), elements=span))
    start = data.draw(hnp.arrays(np.int64, 4, elements=span))
    if events > 1:
        times[0, 1] = times[0, 0] + data.draw(st.sampled_from(edges))
    expected = clock.codes(times, np.full(4, events), start)
    found = clock_codes(tf.constant(times, shape=[4, events]), tf.constant(start)).numpy()
    for column, codes in enumerate(clock.COLUMNS):
        np.testing.assert_array_equal(found[:, :, column], expected[codes.name], err_msg=codes.name)


def test_layout_names_every_column_of_the_outputs(transform):
    found, outputs = layout_of(CONFIG, VOCABULARIES), transform([{}])
    assert [c.name for c in found.event_codes] == [
        *("action", "history_channel", "history_agent"),
        *("gap", "age", "hour", "weekday"),
    ]
    assert [c.size for c in found.event_codes[:3]] == [6, 5, 5] and [c.size for c in found.lead_codes] == [4, 5]
    assert found.lead_numbers == (
        *("income", "year", "income=?", "year=?"),
        *("message:price", "message:visit", "message:#2"),
    )
    assert found.event_numbers == ("history_minutes", "history_offer", "history_minutes=?", "history_offer=?")
    for name in ("event_codes", "event_numbers", "lead_codes", "lead_numbers"):
        assert outputs[name].shape[-1] == len(getattr(found, name)), name
    assert found.actions == ("call", "email", "visit") and found.length == LENGTH


def test_without_any_action_there_is_no_layout():
    with pytest.raises(DataError, match="no action was found in the training part of 'toy'"):
        layout_of(CONFIG, VOCABULARIES | {"action": []})


def test_features_missing_from_the_schema_or_of_fixed_shape_are_named():
    sparse = tf.sparse.from_dense(tf.zeros([1, 0]))
    inputs = {f.name: sparse for f in DATASET.feature_columns}
    with pytest.raises(DataError, match=r"no feature 'history_time' of dataset 'toy'"):
        preprocessing_fn(inputs, CONFIG.to_custom_config())
    with pytest.raises(DataError, match=r"gives 'history_action' a shape"):
        fixed = inputs | {names.HISTORY_TIME: sparse, names.HISTORY_ACTION: tf.zeros([1, 3])}
        preprocessing_fn(fixed, CONFIG.to_custom_config())


def test_a_lead_feature_may_not_take_the_name_of_the_actions():
    renamed = DATASET.features[0].model_copy(update={"name": "action"})
    with pytest.raises(ValueError, match="feature 'action': the name is taken"):
        JourneyTransformConfig(dataset=DATASET.model_copy(update={"features": (renamed,)}))


def test_the_analysis_counts_what_it_says(transformed):
    _, output, rows = transformed
    lists = [r for r in rows if r[names.TRAINING_POSITIONS] > 0]

    def words(name, among, extra=()):
        found = [w for r in among for w in (r[name] if isinstance(r[name], list) else [r[name]] if r[name] else [])]
        found = [w for w in [*found, *extra] if w]
        return sorted(set(found), key=lambda w: (found.count(w), w), reverse=True)

    labels = [r[names.NEXT_ACTION] for r in rows if r[names.NEXT_ACTION]]
    lists_with = {name: [r for r in lists if r[name]] for name in (names.HISTORY_ACTION, "history_channel")}
    expected = words(names.HISTORY_ACTION, lists_with[names.HISTORY_ACTION], labels)
    assert output.vocabulary_by_name("action") == expected
    assert output.vocabulary_by_name("history_channel") == words("history_channel", lists_with["history_channel"])[:3]
    assert output.vocabulary_by_name("source") == words("source", rows)


def test_standardised_numbers_have_mean_0_and_deviation_1(transformed):
    _graph, output, rows = transformed
    records = tf.constant([example(r) for r in rows])
    found = output.transform_features_layer()(parse_raw(records, output.raw_feature_spec()))
    numbers = found["lead_numbers"].numpy()
    year = numbers[numbers[:, 3] == 0, 1]
    assert abs(year.mean()) < 1e-5 and abs(year.std() - 1) < 1e-5
    assert (numbers[numbers[:, 3] == 1, 1] == 0).all() and 0.05 < numbers[:, 3].mean() < 0.2


def test_a_request_needs_no_label(transformed):
    _, output, rows = transformed
    spec = {k: v for k, v in output.raw_feature_spec().items() if k not in names.NOT_INPUTS}
    layer = output.transform_features_layer()
    records = tf.constant([example(r) for r in rows])
    found, everything = layer(parse_raw(records, spec)), layer(parse_raw(records, output.raw_feature_spec()))
    assert set(everything) - set(found) == {"next_action", "outcome", "decision_time", "training_positions"}
    for name, values in found.items():
        np.testing.assert_array_equal(values, everything[name])


@pytest.mark.slow
def test_fast_pass_and_stock_transform_agree(transformed, tmp_path):
    from tfx.components.transform import executor as stock

    graph, output, _rows = transformed
    slow = tft.TFTransformOutput(
        journey_examples.run_transform(stock.Executor, Path(graph).parent / "data", tmp_path / "stock")
    )
    for spec in CONFIG.vocabularies():
        assert output.vocabulary_by_name(spec.name) == slow.vocabulary_by_name(spec.name), spec.name
    assert layout(CONFIG, output) == layout(CONFIG, slow)
    records = tf.constant([example(r) for r in random_rows(100, seed=9)])
    found, expected = (o.transform_features_layer()(parse_raw(records, o.raw_feature_spec())) for o in (output, slow))
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, atol=1e-6, err_msg=name)
    assert output.transformed_metadata.schema == slow.transformed_metadata.schema


def reference(row):
    """What preprocessing_fn says of one decision, event by event."""

    def items(name):
        return list(row.get(name) or [])

    actions = items(names.HISTORY_ACTION)
    first, length = max(len(actions) - LENGTH, 0), min(len(actions), LENGTH)

    def code(word, vocabulary):
        known = [w.encode() for w in VOCABULARIES[vocabulary]]
        return MISSING if not word else FIRST_WORD + known.index(word) if word in known else UNKNOWN

    def number(value, name):
        if value is None or not np.isfinite(value):
            return 0.0, 1.0
        mean, deviation = STANDARDS[name]
        return float(np.clip((value - mean) / deviation, -5, 5)), 0.0

    def at(name, i):
        values = items(name)
        return values[i] if i < len(values) else None

    times = items(names.HISTORY_TIME)
    start = row.get(names.JOURNEY_START) or (times[0] if times else 0)
    codes, numbers = np.zeros((LENGTH, 7), int), np.zeros((LENGTH, 4))
    for slot in range(length):
        i = first + slot
        codes[slot, :3] = [
            code(actions[i], "action"),
            *(code(at(f, i), f) for f in ("history_channel", "history_agent")),
        ]
        time = at(names.HISTORY_TIME, i)
        before = at(names.HISTORY_TIME, i - 1) if slot else start
        codes[slot, 3:] = UNKNOWN
        if time:
            one = clock.codes(np.array([[before or time, time]]), np.array([2]), np.array([start]))
            codes[slot, 3:] = [one[c.name][0, 1] for c in clock.COLUMNS]
            codes[slot, 3] = codes[slot, 3] if before else UNKNOWN
        pairs = [number(at(f, i), f) for f in ("history_minutes", "history_offer")]
        numbers[slot] = [*(v for v, _ in pairs), *(m for _, m in pairs)]
    pairs = [number(row.get(f), f) for f in ("income", "year")]
    words = (row.get("message") or b"").decode().lower().replace("?", " ").replace("!", " ").split()
    labels = [w.encode() for w in VOCABULARIES["action"]]
    label, outcome = row.get(names.NEXT_ACTION), row.get(names.OUTCOME)
    return {
        "event_codes": codes,
        "event_numbers": numbers,
        "lead_codes": [code(row.get(f), f) for f in ("source", "city")],
        "lead_numbers": [
            *(v for v, _ in pairs),
            *(m for _, m in pairs),
            *(float(w in words) for w in VOCABULARIES["message"]),
            0.0,
        ],
        "length": length,
        "history_length": max(len(actions), row.get(names.HISTORY_LENGTH) or 0),
        "start": start,
        "next_action": labels.index(label) if label in labels else -1,
        "outcome": np.nan if outcome is None else outcome,
        "decision_time": row.get(names.DECISION_TIME) or 0,
        "training_positions": row.get(names.TRAINING_POSITIONS) or 0,
    }
