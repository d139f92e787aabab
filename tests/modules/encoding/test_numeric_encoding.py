from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, QuantileTransformer, StandardScaler

from modules.encoding import numeric
from modules.errors import ConfigError
from modules.features import Feature
from modules.transform_features import transformed_features
from tests.modules.encoding.encoded import config_of, encode, learn_from, transform

NAN = np.nan


def number(name: str, **options) -> Feature:
    return Feature(name=name, kind="numeric", **options)


@pytest.fixture(scope="module")
def skewed() -> np.ndarray:
    """700 numbers with ties and a long tail, 20 missing: float32."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.lognormal(0, 1, 500), rng.integers(0, 4, 200), [NAN] * 20]).astype(np.float32)
    rng.shuffle(values)
    return values


ROWS = (
    number("plain"),
    number("z", scaling="z_score"),
    number("unit", scaling="min_max"),
    number("place", scaling="quantile"),
    number("log", scaling="log"),
    number("five", buckets=5, monotone=1),
    number("edges", buckets=(1, 2.5)),
    number("clip", clip=(0.05, 0.9)),
    number("mean", fill="mean"),
    number("median", fill="median", clip=(0, 0.8), scaling="z_score", monotone=-1),
    number("nine", fill=-9, buckets=(0, 1)),
)


@pytest.fixture(scope="module")
def found(skewed) -> dict[str, np.ndarray]:
    return encode(config_of(*ROWS), {row.name: skewed for row in ROWS})


def test_scaling_is_that_of_scikit_learn(skewed, found):
    x = skewed.astype(np.float64)[:, None]
    there = x[~np.isnan(x[:, 0])]
    np.testing.assert_array_equal(found["plain"], skewed)
    np.testing.assert_allclose(found["z"], StandardScaler().fit(there).transform(x)[:, 0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["unit"], MinMaxScaler().fit(there).transform(x)[:, 0], rtol=1e-6)
    quantiles = QuantileTransformer(n_quantiles=len(there)).fit(there)
    np.testing.assert_allclose(found["place"], quantiles.transform(x)[:, 0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["log"], np.log1p(x)[:, 0], rtol=1e-7)


def test_buckets_are_those_of_scikit_learn_and_numpy(skewed, found):
    missing = np.isnan(skewed)
    bins = KBinsDiscretizer(5, encode="ordinal", strategy="quantile")
    expected = bins.fit_transform(skewed[~missing].astype(np.float64)[:, None])[:, 0]
    np.testing.assert_array_equal(found["five"][~missing], expected)
    np.testing.assert_array_equal(found["edges"][~missing], np.digitize(skewed[~missing], [1, 2.5]))
    assert np.isnan(found["five"][missing]).all() and np.isnan(found["edges"][missing]).all()


def test_clip_comes_first_then_fill_then_scaling(skewed, found):
    missing, there = np.isnan(skewed), skewed[~np.isnan(skewed)].astype(np.float64)
    low, high = np.quantile(there, [0.05, 0.9])
    np.testing.assert_allclose(found["clip"], np.clip(skewed, low, high), rtol=1e-7)
    np.testing.assert_array_equal(found["clip#clipped"], (skewed < low) | (skewed > high))
    imputed = SimpleImputer().fit_transform(skewed.astype(np.float64)[:, None])[:, 0]
    np.testing.assert_allclose(found["mean"], imputed, rtol=1e-6)
    np.testing.assert_array_equal(found["mean=?"], missing)
    clipped = np.clip(skewed.astype(np.float64), there.min(), np.quantile(there, 0.8))
    expected = (np.where(missing, np.nanmedian(clipped), clipped) - np.nanmean(clipped)) / np.nanstd(clipped)
    np.testing.assert_allclose(found["median"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["nine"], np.digitize(np.where(missing, -9, skewed), [0, 1]))
    assert "clip=?" not in found and "mean#clipped" not in found and found["nine=?"].sum() == missing.sum()


def test_columns_say_how_they_were_made():
    config = config_of(*ROWS)
    columns = {c.name: c for c in transformed_features(config, {})}
    assert [c.position for c in columns.values()] == list(range(len(columns))) == list(range(11 + 2 + 3))
    assert columns["five"].encoding == "bucket" and columns["five"].monotone == 1
    assert columns["median"].encoding == "numeric" and columns["median"].monotone == -1
    for name, encoding in (("median#clipped", "clipped"), ("median=?", "missing")):
        assert (columns[name].encoding, columns[name].source, columns[name].monotone) == (encoding, "median", 0)


def test_new_values_beyond_those_of_training_by_hand():
    rows = (
        number("unit", scaling="min_max"),
        number("place", scaling="quantile"),
        number("log", scaling="log"),
        number("pair", buckets=2),
        number("cut", clip=(0.25, 0.75)),
        number("big", scaling="z_score"),
    )
    config = config_of(*rows)
    train = {row.name: [1.0, 2.0, 2.0, 2.0, 5.0] for row in rows}
    new = [-3.0, 1.0, 1.5, 2.0, 3.5, 5.0, 7.0, NAN, np.inf, 3e38]
    found = transform(config, learn_from(config, train), {row.name: new for row in rows})
    np.testing.assert_allclose(found["unit"][:9], [-1, 0, 0.125, 0.25, 0.625, 1, 1.5, NAN, NAN])
    # Equal values share the middle of their places, 1/4, 2/4 and 3/4; between two, the way is linear.
    np.testing.assert_allclose(found["place"], [0, 0, 0.125, 0.5, 0.875, 1, 1, NAN, NAN, 1])
    np.testing.assert_allclose(found["log"][:8], [*(np.sign(new[:7]) * np.log1p(np.abs(new[:7]))), NAN], rtol=1e-7)
    np.testing.assert_array_equal(found["pair"], [0, 0, 0, 1, 1, 1, 1, NAN, NAN, 1])
    # The quartiles are 2 and 2.
    np.testing.assert_array_equal(found["cut"], [2] * 7 + [NAN, NAN, 2])
    np.testing.assert_array_equal(found["cut#clipped"], [1, 1, 1, 0, 1, 1, 1, 0, 0, 1])
    assert np.isfinite(found["big"][[0, 9]]).all()


def test_constant_and_empty_columns_stay_finite():
    rows = tuple(
        number(f"{name}{i}", **options)
        for i in (0, 1)
        for name, options in {
            "z": {"scaling": "z_score", "fill": "mean"},
            "unit": {"scaling": "min_max", "fill": "median"},
            "place": {"scaling": "quantile", "clip": (0.1, 0.9)},
            "pair": {"buckets": 3},
        }.items()
    )
    train = {row.name: [7.0, 7.0, NAN] if row.name.endswith("0") else [NAN] * 3 for row in rows}
    config = config_of(*rows)
    found = transform(config, learn_from(config, train), {row.name: [7.0, 8.0, NAN] for row in rows})
    np.testing.assert_array_equal(found["z0"], [0, 1, 0])
    np.testing.assert_array_equal(found["unit0"], [0, 1, 0])
    np.testing.assert_array_equal(found["place0"], [1, 1, NAN])
    np.testing.assert_array_equal(found["pair0"], [0, 0, NAN])
    # Nothing was learned: 0 fills, nothing is clipped and there is one bucket.
    np.testing.assert_array_equal(found["z1"], [7, 8, 0])
    np.testing.assert_array_equal(found["unit1"], [7, 8, 0])
    np.testing.assert_array_equal(found["place1#clipped"], [0, 0, 0])
    np.testing.assert_array_equal(found["pair1"], [0, 0, NAN])


def test_a_heavy_smallest_value_has_no_empty_bucket_below_it():
    config = config_of(number("x", buckets=4))
    learned = learn_from(config, {"x": [0.0] * 6 + [1.0, 2.0, 3.0, 4.0]})
    # Quartiles 0, 0 and 1.75.
    assert learned[numeric.NUMBERS]["x"] == {"boundaries": [1.75]}


def test_what_is_learned_does_not_depend_on_the_batches(skewed):
    config = config_of(*ROWS)
    columns = {row.name: skewed for row in ROWS}
    assert learn_from(config, columns) == learn_from(config, columns, batches=9)


def test_ratios_by_hand():
    ratio = Feature(name="share", kind="ratio", of=("n", "d"), monotone=1)
    filled = Feature(name="again", kind="ratio", of=("d", "n"), fill=-1, buckets=(0.5,))
    columns = {
        "n": [1.0, 3.0, -4.0, NAN, 0.0, 1e30, NAN, 5.0],
        "d": [4.0, 0.0, -8.0, 2.0, 0.0, 1e-30, NAN, np.inf],
    }
    config = config_of(ratio, number("n"), number("d", clip=(0, 0.5)), filled)
    found = encode(config, columns)
    # A divisor of 0 and a quotient beyond float32 are missing.
    np.testing.assert_array_equal(found["share"], [0.25, NAN, 0.5, NAN, NAN, NAN, NAN, NAN])
    np.testing.assert_array_equal(found["again=?"], [0, 0, 0, 1, 1, 0, 1, 1])
    np.testing.assert_array_equal(found["again"], [1, 0, 1, 0, 0, 0, 0, 0])
    made = {c.name: c for c in transformed_features(config, {})}
    assert made["share"].raw == ("n", "d") and made["share"].monotone == 1 and made["share"].source == "share"


def test_values_of_any_rank_are_transformed_alike(skewed):
    learned = learn_from(config_of(*ROWS), {row.name: skewed for row in ROWS})[numeric.NUMBERS]
    flat = np.repeat(skewed[:60, None], len(ROWS), axis=1)
    wide = numeric.transform(tf.constant(flat), ROWS, learned)
    deep = numeric.transform(tf.constant(flat.reshape(5, 12, len(ROWS))), ROWS, learned)
    for a, b in zip(wide, deep, strict=True):
        np.testing.assert_array_equal(a, tf.reshape(b, a.shape))


def test_without_the_analysis_pass_the_error_names_the_features():
    config = config_of(number("x", scaling="z_score"), number("y"))
    with pytest.raises(ConfigError, match=r"what 'x' needs is learned by the analysis pass of pipeline\.components"):
        transform(config, {}, {"x": [1.0], "y": [1.0]})
