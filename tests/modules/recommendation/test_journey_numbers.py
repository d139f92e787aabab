from __future__ import annotations

import journey_examples
import numpy as np
import pytest
import tensorflow as tf
from journey_examples import CONFIG, DATASET, example, random_rows
from sklearn.preprocessing import StandardScaler
from tensorflow_transform.graph_context import TFGraphContext

from modules.errors import ConfigError
from modules.features import Feature, Kind
from modules.journeys import names
from modules.recommendation.numbers import LIMIT, analysed, analyzers, learned_of, number_columns, number_names
from modules.recommendation.preprocessing import analysis, preprocessing_fn
from modules.recommendation.transform_layout import layout_of
from modules.transform_batches import parse_raw

NAN = float("nan")


def row(name: str, **options) -> Feature:
    return Feature(name=name, kind=Kind.NUMERIC, **options)


def learn(rows, values: dict[str, list[float]]):
    """What the analysis pass finds in these values."""
    columns = analysed(rows, {name: tf.constant(v, tf.float32) for name, v in values.items()})
    learned = {}
    for analyzer, column in zip(analyzers(rows), columns, strict=True):
        merge = analyzer.combiner()
        reduced = [t.numpy() for t in analyzer.reduce(column)]
        found = merge.extract_output(merge.add_input(merge.create_accumulator(), reduced))
        learned[analyzer.name] = analyzer.write(found, "", 0)
    return learned


def encode(feature: Feature, training: list[float], asked: list[float]) -> np.ndarray:
    """Columns of one row, its options learned from `training`: float32 [asked, columns]."""
    learned = learn([feature], {feature.name: training})
    values = tf.constant(asked, tf.float32, [len(asked), 1])
    return number_columns(values, [feature], tf.constant([[NAN, NAN]]), learned).numpy()


def test_a_logarithm_is_standardised():
    # sign(x) log(1 + |x|) of the training values is 0, ln 4, -ln 4 and, missing, nothing: deviation ln 4 sqrt(2/3).
    deviation = np.log(4) * np.sqrt(2 / 3)
    found = encode(row("x", scaling="log"), [0, 3, -3, NAN, np.inf], [0, 3, 15, -3, NAN, -np.inf, 1e30])
    expected = [0, np.log(4) / deviation, np.log(16) / deviation, -np.log(4) / deviation, 0, 0, LIMIT]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[:, 1], [0, 0, 0, 0, 1, 1, 0])


def test_a_skewed_amount_equals_scikit_learn():
    rng = np.random.default_rng(0)
    values = rng.lognormal(8, 1.5, 5000).astype(np.float32)
    expected = StandardScaler().fit_transform(np.log1p(values.astype(np.float64))[:, None])[:, 0]
    found = encode(row("x", scaling="log"), values.tolist(), values.tolist())[:, 0]
    np.testing.assert_allclose(found, np.clip(expected, -LIMIT, LIMIT), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scaling": "min_max"}, [0, 0.25, 1, LIMIT, 0]),
        ({"scaling": "none"}, [10, 20, 50, 1010, 0]),
        ({"scaling": "quantile"}, [0, 0.25, 1, 1, 0]),
        ({"scaling": "none", "fill": -1.0}, [10, 20, 50, 1010, -1]),
        ({"scaling": "none", "fill": "median"}, [10, 20, 50, 1010, 30]),
        ({"scaling": "min_max", "fill": "mean"}, [0, 0.25, 1, LIMIT, 0.5]),
        # Mean 30, deviation sqrt(200).
        ({"fill": 50.0}, [-(2**0.5), -(0.5**0.5), 2**0.5, LIMIT, 2**0.5]),
        ({"scaling": "log", "fill": 10.0}, None),
    ],
)
def test_other_scalings_and_what_stands_for_a_missing_number(options, expected):
    found = encode(row("x", **options), [10, 20, 30, 40, 50, NAN], [10, 20, 50, 1010, NAN])
    if expected is None:
        # A number that stands for missing is one of the feature's own unit.
        assert found[4, 0] == found[0, 0]
    else:
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[:, 1], [0, 0, 0, 0, 1])


def test_clipping_comes_before_scaling_and_is_told():
    feature = row("x", clip=(0.25, 0.75))
    # The quartiles of 0, 10, 20, 30, 1000 are 10 and 30: clipped, they are 10, 10, 20, 30, 30, of deviation 8.944.
    found = encode(feature, [0, 10, 20, 30, 1000], [-5, 10, 20, 30, 31, NAN])
    np.testing.assert_allclose(found[:, 0], np.array([-10, -10, 0, 10, 10, 0]) / 80**0.5, rtol=1e-6)
    np.testing.assert_array_equal(found[:, 1:], [[0, 1], [0, 0], [0, 0], [0, 0], [0, 1], [1, 0]])
    assert number_names([row("a"), feature]) == ("a", "x", "a=?", "x=?", "x#clipped")


def test_the_default_is_what_it_was_bit_for_bit_whatever_stands_beside_it():
    rng = np.random.default_rng(1)
    values = rng.normal(5, 20, (400, 3)).astype(np.float32)
    values[rng.random((400, 3)) < 0.2] = NAN
    values[0] = [np.inf, -np.inf, 3e38]
    standards = np.array([[3, 7], [4, 0.5], [0, 1e6]], np.float32)
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.where(finite, np.clip((values - standards[:, 0]) / standards[:, 1], -5, 5), 0)
    default, explicit = [row("a"), row("b"), row("c")], [row(n, scaling="z_score") for n in "abc"]
    for rows in (default, explicit):
        assert analyzers(rows) == [] and learned_of(rows, {}) == {}
        found = number_columns(tf.constant(values), rows, tf.constant(standards), {}).numpy()
        np.testing.assert_array_equal(found, np.concatenate([scaled, ~finite], axis=1).astype(np.float32))
    mixed = [row("a"), row("b", scaling="log", clip=(0, 0.9)), row("c")]
    learned = learn(mixed, {"b": values[:, 1].tolist()})
    beside = number_columns(tf.constant(values), mixed, tf.constant(standards), learned).numpy()
    np.testing.assert_array_equal(beside[:, [0, 2, 3, 4, 5]], found[:, [0, 2, 3, 4, 5]])
    assert beside.shape == (400, 7) and np.isfinite(beside).all()
    assert number_columns(tf.zeros([0, 4, 3]), mixed, tf.constant(standards), learned).shape == (0, 4, 7)


def test_options_need_the_analysis_pass():
    with pytest.raises(ConfigError, match="'x' needs is learned by the analysis pass"):
        learned_of([row("x", scaling="log")], {})


def test_an_option_that_a_network_does_not_know_is_refused():
    rows = (row("income", buckets=4), *DATASET.features[1:])
    with pytest.raises(ValueError, match="features of a journey's lead do not know the option 'buckets'"):
        type(DATASET).model_validate({**DATASET.model_dump(), "features": [f.model_dump() for f in rows]})


def test_numbers_of_events_and_leads_through_transform(tmp_path):
    options = {"minutes": {"clip": (0.0, 0.5)}, "offer": {"scaling": "log"}, "income": {"fill": 1.5, "scaling": "none"}}

    def with_options(rows):
        return tuple(f.model_copy(update=options.get(f.name, {})) for f in rows)

    dataset = DATASET.model_copy(
        update={
            "features": with_options(DATASET.features),
            "events": DATASET.events.model_copy(update={"features": with_options(DATASET.events.features)}),
        }
    )
    config = CONFIG.model_copy(update={"dataset": dataset})
    custom_config = config.to_custom_config()
    todo = analysis(custom_config)
    rows = random_rows(200, seed=4)
    combiner = todo.combiner()
    reduced = tf.nest.map_structure(lambda t: t.numpy(), todo.reduce(tf.constant([example(r) for r in rows])))
    found = combiner.extract_output(combiner.add_input(combiner.create_accumulator(), reduced))
    learned = todo.write(found, str(tmp_path))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def run(records):
        with TFGraphContext(tf.Module(), None, None):
            inputs = parse_raw(records, journey_examples.raw_feature_spec())
            return preprocessing_fn(inputs, {**custom_config, **learned})

    asked = {
        names.HISTORY_ACTION: [b"call", b"call", b"call"],
        "history_minutes": [1e9, 1.0, NAN],
        "history_offer": [0.0, -5.0],
    }
    outputs = {k: v.numpy() for k, v in run(tf.constant([example(asked), example({})])).items()}
    words = {spec.name: ["w"] for spec in config.vocabularies()}
    names_of = layout_of(config, words)
    events = dict(zip(names_of.event_numbers, np.moveaxis(outputs["event_numbers"], 2, 0), strict=True))
    leads = dict(zip(names_of.lead_numbers, outputs["lead_numbers"].T, strict=True))

    counted = [r for r in rows if r[names.TRAINING_POSITIONS] > 0]
    minutes = np.array([v for r in counted for v in r["history_minutes"] or [] if np.isfinite(v)], np.float32)
    median = np.median(minutes)
    clipped = np.minimum(minutes, median)
    np.testing.assert_allclose(
        events["history_minutes"][0],
        [(median - clipped.mean()) / clipped.std(), (1 - clipped.mean()) / clipped.std(), 0, 0, 0],
        rtol=1e-5,
    )
    np.testing.assert_array_equal(events["history_minutes#clipped"][0], [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(events["history_minutes=?"][0], [0, 0, 1, 0, 0])
    offers = np.array([v for r in counted for v in r["history_offer"] or [] if np.isfinite(v)], np.float64)
    logs = np.sign(offers) * np.log1p(np.abs(offers))
    expected = (np.array([0, -np.log(6)]) - logs.mean()) / logs.std()
    np.testing.assert_allclose(events["history_offer"][0], [*expected, 0, 0, 0], rtol=1e-4)
    np.testing.assert_array_equal(leads["income"], [1.5, 1.5])
    np.testing.assert_array_equal(leads["income=?"], [1, 1])
    assert not events["history_minutes"][1].any() and not events["history_minutes#clipped"][1].any()
