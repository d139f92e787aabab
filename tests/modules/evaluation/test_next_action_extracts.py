"""Reading next-action predictions out of TFMA's extracts, and refusals of what cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow_model_analysis.api import types

from modules.errors import ConfigError, DataError
from modules.evaluation.aggregation import Source
from modules.evaluation.next_action_metrics import NextActionAggregation
from modules.evaluation.next_action_statistics import COLUMNS

PROBABILITIES = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], np.float32)


def extracts(**changed):
    """A batch of three decisions; `changed` replaces predictions, labels, transformed or raw features."""
    gaps = types.VarLenTensorValue(
        values=np.array([1, 0]), indices=np.array([[0, 0], [2, 0]]), dense_shape=np.array([3, 1])
    )
    made = {
        "predictions": {"probabilities": PROBABILITIES, "conversion": PROBABILITIES / 2},
        "labels": np.array([0, 1, -1]),
        "transformed_features": {
            "label": np.array([0, 1, -1]),
            "majority": np.array([0, 0, 0]),
            "last_action": np.array([1, 1, -1]),
            "prefix": np.array([1, 0, 1]),
        },
        "features": {"outcome": gaps, "history_length": np.array([[4], [5], [6]])},
    }
    for key, value in changed.items():
        made[key] = {**made[key], **value} if isinstance(value, dict) else value
    return made


def read(batch, source=None):
    return dict(zip(COLUMNS, NextActionAggregation().read(batch, source or Source("")).T, strict=True))


def test_a_batch_with_gaps_becomes_rows():
    got = read(extracts())
    assert got["label"].tolist() == [0, 1, -1]
    assert got["rank"].tolist() == [1, 2, np.inf]
    assert got["history_length"].tolist() == [4, 5, 6]
    np.testing.assert_array_equal(got["outcome"], [1, np.nan, 0])
    np.testing.assert_array_equal(got["conversion"], [0.375, 0.25, np.nan])
    assert got["last_action"].tolist() == [1, 1, -1]


def test_a_model_among_several_is_read_under_its_name():
    batch = extracts()
    other = extracts(labels=np.array([1, 1, 1]), transformed_features={"majority": np.array([1, 1, 1])})
    nested = {
        key: {"candidate": batch[key], "baseline": other[key]}
        for key in ("predictions", "labels", "transformed_features")
    }
    nested["features"] = batch["features"]
    got = read(nested, Source("baseline", nested=True))
    assert got["label"].tolist() == [1, 1, 1]
    assert got["majority"].tolist() == [1, 1, 1]
    assert read(nested, Source("candidate", nested=True))["label"].tolist() == [0, 1, -1]


def test_outcome_and_length_may_be_absent_altogether():
    got = read(extracts(features={"outcome": None, "history_length": None}))
    assert np.isnan(got["outcome"]).all() and np.isnan(got["history_length"]).all()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"predictions": {"probabilities": PROBABILITIES * 2}}, DataError, "3 of 3 rows are not: the first has values"),
        ({"predictions": {"probabilities": PROBABILITIES * np.nan}}, DataError, "must be a distribution"),
        ({"predictions": {"conversion": PROBABILITIES[:, :1]}}, DataError, r"shapes are \[3, 2\] and \[3, 1\]"),
        ({"labels": np.array([0, 2, 1])}, DataError, "'label' must be the index of one of the 2 actions .* first is 2"),
        ({"labels": np.array([0, 1])}, DataError, "needs one label, but a batch of 3 examples has 2"),
        ({"transformed_features": {"prefix": np.array([0, -2, 1])}}, DataError, "'prefix' must be the index"),
        ({"features": {"outcome": np.array([[2], [0], [1]])}}, DataError, "'outcome' must be 0, 1 or absent, but 1 of"),
        ({"features": {"outcome": np.array([[0, 0]] * 3)}}, DataError, "may have one value of 'outcome', but some"),
        ({"transformed_features": None}, ConfigError, "from the model's preprocessing functions, but they have"),
        ({"predictions": PROBABILITIES}, ConfigError, "reads the model's output 'probabilities'"),
    ],
)
def test_what_cannot_be_read_is_refused(changed, error, message):
    with pytest.raises(error, match=message):
        NextActionAggregation().read(extracts(**changed), Source(""))


def test_a_certain_conversion_probability_that_is_none_is_refused():
    aggregation = NextActionAggregation()
    table = aggregation.read(extracts(predictions={"conversion": PROBABILITIES * 8}), Source(""))
    with pytest.raises(DataError, match=r"Predictions must be probabilities in \[0, 1\]"):
        aggregation.build_groups(np.zeros(3, np.int64), 1, table)


def test_weights_are_refused():
    with pytest.raises(DataError, match="Decisions have no weights"):
        NextActionAggregation().read(extracts(), Source("", weighted=True))
