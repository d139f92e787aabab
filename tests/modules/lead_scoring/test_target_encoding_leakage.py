"""What target encoding does to a model: nothing where the column says nothing, a gain where it does."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules.encoding.columns import FEATURES, LABEL, TARGET_ENCODED, TransformedFeature
from modules.encoding.target import FIRST, fold_of, rates
from modules.lead_scoring import booster as boosters
from modules.lead_scoring.matrix import Spool
from modules.lead_scoring.settings import LeadScoringSettings
from modules.lead_scoring.spools import out_of_fold, spool
from modules.roc import area_under_roc

ROWS, CATEGORIES, SMOOTHING, FOLDS = 20_000, 5_000, 20.0, 5
SETTINGS = LeadScoringSettings(
    learning_rate=0.1, max_depth=6, num_rounds=30, early_stopping_rounds=None, validation_split=0, nthread=1
)
NUMBER = TransformedFeature("number", "number", "numeric", 0)
COLUMN = TransformedFeature("category", "category", "target", 1)


class Leads:
    """As many rows to train on as to test on; the number says something, the category as much as `strength` says."""

    def __init__(self, seed: int, strength: float = 0.0, rows: int = ROWS, categories: int = CATEGORIES) -> None:
        rng = np.random.default_rng(seed)
        self.number = rng.normal(size=2 * rows).astype(np.float32)
        self.category = rng.integers(0, categories, 2 * rows)
        log_odds = self.number - 1 + strength * rng.normal(size=categories)[self.category]
        self.label = (rng.random(2 * rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
        self.noise = (rng.random(2 * rows) < 0.3).astype(np.int64)
        self.fold = fold_of(tf.constant([b"L%d" % i for i in range(2 * rows)]), FOLDS).numpy()
        self.train, self.test = np.arange(2 * rows) < rows, np.arange(2 * rows) >= rows
        self.categories = categories

    def values(self, label, learned_from):
        """Served and out-of-fold values of every row, learned from some of them."""
        counts = np.zeros((FIRST + self.categories, FOLDS, 2), np.int64)
        np.add.at(counts, (FIRST + self.category[learned_from], self.fold[learned_from], label[learned_from]), 1)
        served, others = rates(counts, SMOOTHING)
        return served[FIRST + self.category], others[FIRST + self.category, self.fold]


def test_auc(folder, leads, label, train_value, test_value, features=(NUMBER, COLUMN)):
    """Area under the ROC curve of rows that the booster never saw."""

    def batches(rows, value):
        matrix = np.stack([leads.number[rows], value[rows].astype(np.float32)], axis=1)
        yield {FEATURES: matrix, TARGET_ENCODED: train_value[rows, None], LABEL: label[rows]}

    train = out_of_fold(batches(leads.train, test_value), features, ["category"])
    booster = boosters.fit(spool("train", train, features, folder), None, features, SETTINGS)
    test = Spool(folder / "test", batches(leads.test, test_value), [f.position for f in features])
    return area_under_roc(booster.margins(test), test.labels)


test_auc.__test__ = False


def test_a_column_of_pure_noise_alone_predicts_nothing(tmp_path):
    found = []
    for seed in range(5):
        leads = Leads(seed)
        served, others = leads.values(leads.noise, leads.train)
        found.append(test_auc(tmp_path, leads, leads.noise, others, served, (COLUMN,)))
    # 20,000 test rows a seed: the mean of five has a standard error of 0.002.
    assert abs(np.mean(found) - 0.5) < 0.01
    # What goes wrong when a table is encoded before it is split.
    everything, _ = leads.values(leads.noise, leads.train | leads.test)
    assert test_auc(tmp_path, leads, leads.noise, everything, everything, (COLUMN,)) > 0.65


def test_a_column_of_pure_noise_takes_nothing_from_a_column_that_says_something(tmp_path):
    without, found, naive = [], [], []
    for seed in range(2):
        leads = Leads(seed)
        served, others = leads.values(leads.label, leads.train)
        without.append(test_auc(tmp_path, leads, leads.label, others, served, (NUMBER,)))
        found.append(test_auc(tmp_path, leads, leads.label, others, served))
        # Each row's own label is part of its value, and trees believe it.
        naive.append(test_auc(tmp_path, leads, leads.label, served, served))
    assert np.mean(found) > np.mean(without) - 0.006
    assert np.mean(naive) < np.mean(without) - 0.08


def test_a_column_of_ids_is_constant_in_training(tmp_path):
    # Nothing is known of an id but its own row. The prior of the other folds would tell the folds apart.
    leads = Leads(0, rows=2_000, categories=4_000)
    leads.category = np.arange(4_000)
    _, others = leads.values(leads.label, leads.train)
    assert len(np.unique(others[leads.train])) == 1
    assert others[0] == np.float32(leads.label[leads.train].mean())


@pytest.mark.parametrize("monotone", [0, 1])
def test_many_categories_that_say_something_are_worth_more_as_rates_than_as_numbers(tmp_path, monotone):
    leads = Leads(3, strength=1.0, categories=1_000)
    served, others = leads.values(leads.label, leads.train)
    features = (NUMBER, TransformedFeature("category", "category", "target", 1, monotone=monotone))
    index = leads.category.astype(np.float32)
    number = test_auc(tmp_path, leads, leads.label, index, index)
    assert test_auc(tmp_path, leads, leads.label, others, served, features) > number + 0.03
