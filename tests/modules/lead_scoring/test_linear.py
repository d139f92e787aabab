"""The linear term: against scikit-learn, in the graph against NumPy, and in front of the trees."""

from __future__ import annotations

import lead_table
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import xgboost as xgb
from scipy import special

from modules.encoding.columns import TransformedFeature
from modules.errors import ConfigError
from modules.lead_scoring import linear
from modules.lead_scoring.calibration import Calibration
from modules.lead_scoring.learn import learn
from modules.lead_scoring.linear import LINEAR, LinearTerm
from modules.lead_scoring.linear_graph import LinearGraph
from modules.lead_scoring.manifest import Manifest
from modules.lead_scoring.matrix import Spool
from modules.lead_scoring.settings import LeadScoringSettings, LinearSettings
from modules.transform_batches import TransformedBatches
from tests.modules.sessions import GraphSession

FEATURES = (
    TransformedFeature("rate", "rate", "numeric", 0),
    TransformedFeature("year", "year", "numeric", 1),
    TransformedFeature("job", "job", "index", 2),
    TransformedFeature("both", "both", "hash", 3, raw=("job", "rate")),
)


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of the four columns with missing values, float32 [n, 4], and labels that a line explains."""
    random = np.random.default_rng(seed)
    matrix = np.stack(
        [random.normal(3, 2, n), random.integers(2000, 2020, n), random.integers(0, 5, n), random.integers(0, 3, n)],
        axis=1,
    ).astype(np.float32)
    log_odds = (
        0.5 * matrix[:, 0] - 0.1 * (matrix[:, 1] - 2010) + np.array([1, 0, -1, 0.5, -2])[matrix[:, 2].astype(int)]
    )
    labels = (random.random(n) < special.expit(log_odds - 1.5)).astype(np.float32)
    matrix[random.random((n, 4)) < 0.1] = np.nan
    return matrix, labels


def spool(folder, name: str, matrix: np.ndarray, labels: np.ndarray) -> Spool:
    cuts = np.array_split(np.arange(len(labels)), 3)
    batches = [{"features": matrix[c], "label": labels[c]} for c in cuts]
    return Spool(folder / name, batches, range(matrix.shape[1]))


@pytest.mark.parametrize("l2", [0.1, 10.0])
def test_margins_are_those_of_scikit_learn(tmp_path, l2):
    from sklearn.linear_model import LogisticRegression

    matrix, labels = rows(2000, 1)
    weights = np.random.default_rng(2).uniform(0.5, 2, 2000)
    parts = np.array_split(np.arange(2000), 2)
    spools = [spool(tmp_path, str(i), matrix[p], labels[p]) for i, p in enumerate(parts)]
    term = linear.fit(spools, FEATURES, LinearSettings(l2=l2), [weights[p] for p in parts])

    columns = []
    for place in (0, 1):
        x = matrix[:, place].astype(np.float64)
        there = ~np.isnan(x)
        mean = np.average(x[there], weights=weights[there])
        deviation = x[there].std()  # not weighted
        columns += [np.where(there, (x - mean) / deviation, 0), ~there]
    for place, size in ((2, 5), (3, 3)):
        columns += [matrix[:, place] == value for value in range(size)] + [np.isnan(matrix[:, place])]
    design = np.stack(columns, axis=1).astype(np.float64)
    reference = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=5000).fit(design, labels, sample_weight=weights)
    np.testing.assert_allclose(term.margins(matrix), reference.decision_function(design), atol=2e-3)


def test_effects_have_the_mean_zero_and_add_up_to_the_margin(tmp_path):
    matrix, labels = rows(1500, 3)
    term = linear.fit([spool(tmp_path, "a", matrix, labels)], FEATURES, LinearSettings())
    effects = term.effects(matrix)
    np.testing.assert_allclose(effects.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(term.bias + effects.sum(axis=1), term.margins(matrix), atol=1e-5)
    assert LinearTerm.model_validate_json(term.model_dump_json()) == term


def test_a_line_goes_on_beyond_what_it_has_seen(tmp_path):
    matrix, labels = rows(1500, 4)
    term = linear.fit([spool(tmp_path, "a", matrix, labels)], FEATURES, LinearSettings())
    later = np.array([[3, year, 0, 0] for year in (2020, 2030, 2040)], np.float32)
    margins = term.margins(later)
    np.testing.assert_allclose(margins[1] - margins[0], margins[2] - margins[1], rtol=1e-4)
    assert margins[0] - margins[1] > 0.5
    unknown = term.margins(np.array([[3, 2010, 99, 0], [3, 2010, 1234, 0]], np.float32))
    assert unknown[0] == unknown[1]


def test_the_graph_computes_what_numpy_does(tmp_path):
    matrix, labels = rows(1500, 5)
    term = linear.fit([spool(tmp_path, "a", matrix, labels)], FEATURES, LinearSettings())
    graph = LinearGraph(term, ["job", "rate", "year"])
    strange = np.concatenate([matrix, np.array([[1e6, -1e6, 77, 4], [np.nan] * 4], np.float32)])
    effects = graph.effects(tf.constant(strange))
    np.testing.assert_allclose(effects.numpy(), term.effects(strange), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(graph.margin(effects).numpy(), term.margins(strange))
    wanted = term.effects(strange)
    by_feature = np.stack([wanted[:, 2] + wanted[:, 3] / 2, wanted[:, 0] + wanted[:, 3] / 2, wanted[:, 1]], axis=1)
    np.testing.assert_allclose(graph.contributions(effects).numpy(), by_feature, rtol=1e-5, atol=1e-5)
    assert graph.margin(graph.effects(tf.zeros([0, 4]))).shape == (0,)


def test_trees_start_from_the_line_and_add_what_it_cannot_say(tmp_path):
    random = np.random.default_rng(6)
    parts = {}
    for split, n in (("train", 3000), ("validation", 1500), ("calibration", 1500)):
        matrix, _ = rows(n, int(random.integers(1000)))
        # A product: nothing of it is linear.
        x, year = np.nan_to_num(matrix[:, 0], nan=3) - 3, np.nan_to_num(matrix[:, 1], nan=2010) - 2010
        labels = (random.random(n) < special.expit(0.2 * x * year - year * 0.3)).astype(np.float32)
        parts[split] = spool(tmp_path, split, matrix, labels)
    settings = {"learning_rate": 0.2, "max_depth": 3, "num_rounds": 100, "early_stopping_rounds": 10, "nthread": 1}
    plain = learn(parts, FEATURES, LeadScoringSettings(**settings))
    both = learn(parts, FEATURES, LeadScoringSettings(**settings, linear={}))
    twice = learn(parts, FEATURES, LeadScoringSettings(**settings, linear={}, refit=True))
    again = learn(parts, FEATURES, LeadScoringSettings(**settings, linear={}, refit="all"))
    assert plain.linear is None and both.linear is not None
    held_out = parts["calibration"]
    np.testing.assert_array_equal(both.margins_of(held_out), both.margins["calibration"])
    line = both.linear.margins(np.concatenate(list(held_out)))
    trees = both.fitted.booster.inplace_predict(np.concatenate(list(held_out)), predict_type="margin")
    np.testing.assert_allclose(both.margins["calibration"], line + trees, atol=1e-6)
    assert both.metrics["validation"]["auc"] > plain.metrics["validation"]["auc"] - 0.01
    loss_of_the_line = -np.mean(np.log(special.expit(line * (2 * held_out.labels - 1))))
    assert both.metrics["calibration"]["logloss"] < loss_of_the_line - 0.05
    # Fitted to all rows: other trees, as many rounds, the calibration that was found before.
    assert again.fitted.best_iteration == both.fitted.best_iteration
    assert again.calibration.to_json() == twice.calibration.to_json()
    assert bytes(again.fitted.booster.save_raw()) != bytes(twice.fitted.booster.save_raw())


def test_terms_say_who_reads_a_column(tmp_path):
    matrix, labels = rows(2000, 7)
    part = spool(tmp_path, "a", matrix, labels)
    features = [
        TransformedFeature(f.name, f.source, f.encoding, f.position, terms=terms)
        for f, terms in zip(FEATURES, ("linear", "both", "trees", "trees"), strict=True)
    ]
    parts = {"train": part, "validation": part, "calibration": part}
    found = learn(parts, features, LeadScoringSettings(num_rounds=5, linear={}))
    assert [f.name for f in found.features] == ["year", "job", "both"]
    assert [c.name for c in found.linear.columns] == ["rate", "year"]
    with pytest.raises(ConfigError, match="no column is left for the trees"):
        learn(parts, features[:1], LeadScoringSettings(num_rounds=5, linear={}))
    with pytest.raises(ConfigError, match=r"model\.linear has no column"):
        learn(
            {k: s.choose([2, 3]) for k, s in parts.items()}, features[2:], LeadScoringSettings(num_rounds=5, linear={})
        )


def test_warm_start_excludes_a_linear_term():
    with pytest.raises(ValueError, match="warm_start continues from trees alone"):
        LeadScoringSettings(warm_start=True, linear={})


def test_the_exported_model_answers_with_both(trained, tmp_path):
    settings = LeadScoringSettings(**{**trained.settings.model_dump(), "linear": {}})
    model = lead_table.run_trainer(trained.examples, trained.transform_graph, tmp_path, settings)
    served = GraphSession(model)
    extra = model / "assets.extra"
    term = LinearTerm.model_validate_json((extra / LINEAR).read_text())
    booster = xgb.Booster(model_file=str(extra / "booster.ubj"))
    calibration = Calibration.from_json((extra / "calibration.json").read_text())
    records = trained.leads["test"].examples()
    file = tmp_path / "data-0"
    with tf.io.TFRecordWriter(str(file)) as out:
        for record in records:
            out.write(record)
    graph = tft.TFTransformOutput(trained.transform_graph)
    matrix = np.concatenate([b["features"] for b in TransformedBatches([str(file)], graph, ["features"])])
    trees = booster.inplace_predict(
        matrix[:, [c.position for c in Manifest.load(model).columns]], predict_type="margin"
    )
    line = term.margins(matrix[:, [c.position for c in term.columns]])
    answer = served("explain", examples=records)
    np.testing.assert_allclose(answer["margin"], trees + line, atol=1e-5)
    np.testing.assert_allclose(answer["bias"] + answer["contribution"].sum(axis=1), answer["margin"], atol=1e-4)
    scored = served("serving_default", examples=records)
    np.testing.assert_allclose(scored["probability"], calibration(trees + line)["probability"], atol=1e-5)
    none = served("explain", examples=np.array([], object))
    assert none["contribution"].shape == (0, len(lead_table.DATASET.table))
