"""The signature `explain` of an exported model against its booster."""

from __future__ import annotations

import lead_table
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import xgboost as xgb

from modules.lead_scoring.manifest import Manifest
from modules.serving_check.c_session import ask
from modules.serving_check.signatures import read_signatures
from modules.transform_batches import TransformedBatches

NAMES = lead_table.DATASET.table.names
SCORES = ("score", "probability", "probability_low", "probability_high", "confidence")


def by_feature(answer: dict[str, np.ndarray]) -> np.ndarray:
    """Contributions in the order of the feature table, float32 [n, k]."""
    place = {name.encode(): i for i, name in enumerate(NAMES)}
    found = np.zeros_like(answer["contribution"])
    where = np.vectorize(place.__getitem__, otypes=[np.int64])(answer["feature"])
    np.put_along_axis(found, where, answer["contribution"], axis=1)
    return found


def native(trained, records, tmp_path) -> np.ndarray:
    """The booster's own approximate contributions, columns added up by raw feature, and the bias: [n, k + 1]."""
    file = tmp_path / "data-0"
    with tf.io.TFRecordWriter(str(file)) as out:
        for record in records:
            out.write(record)
    graph = tft.TFTransformOutput(trained.transform_graph)
    columns = Manifest.load(trained.model).columns
    matrix = np.concatenate([b["features"] for b in TransformedBatches([str(file)], graph, ["features"])])
    booster = xgb.Booster(model_file=str(trained.model / "assets.extra" / "booster.ubj"))
    data = xgb.DMatrix(matrix[:, [c.position for c in columns]], feature_names=booster.feature_names)
    found = booster.predict(data, pred_contribs=True, approx_contribs=True)
    result = np.zeros((len(records), len(NAMES) + 1))
    result[:, -1] = found[:, -1]
    for column, values in zip(columns, found.T[:-1], strict=True):
        result[:, NAMES.index(column.source)] += values
    return result


def test_contributions_are_those_of_the_booster_by_raw_feature(trained, served, tmp_path):
    records = trained.leads["test"].examples()
    found = served("explain", examples=records)
    assert {k: (v.dtype, v.shape) for k, v in found.items()} == {
        "feature": (np.dtype(object), (500, 6)),
        "contribution": (np.dtype(np.float32), (500, 6)),
        "bias": (np.dtype(np.float32), (500,)),
        "margin": (np.dtype(np.float32), (500,)),
        **dict.fromkeys(SCORES, (np.dtype(np.float32), (500,))),
    }
    wanted = native(trained, records, tmp_path)
    np.testing.assert_allclose(by_feature(found), wanted[:, :-1], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["bias"], wanted[:, -1], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["bias"] + found["contribution"].sum(axis=1), found["margin"], rtol=0, atol=1e-4)


def test_reasons_come_by_size_and_name_every_raw_feature_once(trained, served):
    found = served("explain", examples=trained.leads["test"].examples())
    assert (np.diff(np.abs(found["contribution"]), axis=1) <= 0).all()
    assert {tuple(sorted(row)) for row in found["feature"]} == {tuple(sorted(name.encode() for name in NAMES))}
    # Equal ones stand in the order of the feature table.
    place = {name.encode(): i for i, name in enumerate(NAMES)}
    for names, values in zip(found["feature"], found["contribution"], strict=True):
        ties = np.flatnonzero(np.abs(values[1:]) == np.abs(values[:-1]))
        assert all(place[names[i]] < place[names[i + 1]] for i in ties)


def test_what_is_explained_is_what_is_served(trained, served):
    records = trained.leads["test"].examples()
    found, scored = served("explain", examples=records), served("serving_default", examples=records)
    for name in SCORES:
        np.testing.assert_array_equal(found[name], scored[name])


@pytest.mark.parametrize("rows", [0, 1, 12, 13, 200])
def test_reasons_do_not_depend_on_the_batch(trained, served, rows):
    records = trained.leads["test"].examples()
    whole, part = served("explain", examples=records), served("explain", examples=np.array(records[:rows], object))
    for name in ("feature", "contribution", "bias", "margin"):
        assert part[name].shape == (rows, *whole[name].shape[1:])
        np.testing.assert_array_equal(part[name], whole[name][:rows])


def test_the_c_library_gives_the_same_reasons(trained, served):
    records = np.array([b"", *trained.leads["test"].examples()[:20]], object)
    (found,) = ask(trained.model, [(read_signatures(trained.model)["explain"], {"examples": records})])
    for name, values in served("explain", examples=records).items():
        if name == "feature":
            np.testing.assert_array_equal(found[name], values)
        else:
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-7)
