"""Target encoding from files of leads to what the booster is trained on, and to what is served."""

from __future__ import annotations

import apache_beam as beam
import lead_table
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.runners.portability import fn_api_runner
from tensorflow_transform.graph_context import TFGraphContext

from modules.analysis import learn
from modules.dataset import Dataset
from modules.encoding.columns import FEATURES, TARGET_ENCODED
from modules.encoding.target import fold_of
from modules.errors import ConfigError, DataError
from modules.features import Feature, Kind
from modules.lead_scoring.settings import LeadScoringSettings
from modules.lead_scoring.spools import spools
from modules.preprocessing import analysis, preprocessing_fn
from modules.served_transform import ServedTransform
from modules.transform_batches import TransformedBatches, parse_raw
from modules.transform_config import TransformConfig
from modules.transform_features import transformed_features
from modules.transform_graph import write_graph
from tests.modules.sessions import GraphSession

FOLDS, SMOOTHING = 4, 3.0
DATASET: Dataset = lead_table.DATASET.model_copy(
    update={
        "features": (
            Feature(name="pair", kind=Kind.CROSS, of=("job", "region"), encoding="target", smoothing=SMOOTHING),
            Feature(name="income", kind=Kind.NUMERIC),
            Feature(name="job", kind=Kind.CATEGORICAL, encoding="target", smoothing=SMOOTHING, monotone=1),
            Feature(name="region", kind=Kind.CATEGORICAL),
        )
    }
)
CONFIG = TransformConfig(dataset=DATASET, model=LeadScoringSettings(target_folds=FOLDS))


def in_process() -> beam.Pipeline:
    return beam.Pipeline(runner=fn_api_runner.FnApiRunner())


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Files of leads, the Transform graph learned from those to train on, and the leads."""
    root = tmp_path_factory.mktemp("encoded")
    leads = lead_table.write_examples(root / "data", {"train": 1200, "validation": 300}, seed=5)
    files = {split: [str(root / "data" / f"Split-{split}" / "*")] for split in leads}
    custom_config = CONFIG.to_custom_config()
    learned = learn(files["train"], analysis(custom_config), str(root / "learned"), in_process)
    output = write_graph(preprocessing_fn, {**custom_config, **learned}, lead_table.schema(), root / "graph")
    return files, output, leads, learned


def expected(leads, among: np.ndarray, name: str) -> np.ndarray:
    """The value of each category of `among`, from the training leads given, one by one."""
    columns, labels = leads
    prior = labels["all"].mean()
    rows, positives = {}, {}
    for category, label in zip(columns[name], labels["some"], strict=True):
        rows[category] = rows.get(category, 0) + 1
        positives[category] = positives.get(category, 0) + label
    return np.array(
        [(positives.get(c, 0) + SMOOTHING * prior) / (rows.get(c, 0) + SMOOTHING) for c in among], np.float32
    )


def columns_of(leads) -> dict[str, np.ndarray]:
    job, region = leads.columns["job"], leads.columns["region"]
    known = (job != b"") & (region != b"")
    return {"job": job, "pair": np.where(known, job + b"\x1f" + region, b"").astype(object)}


def test_training_rows_get_values_out_of_fold_and_all_others_what_is_served(encoded, tmp_path):
    files, output, leads, _ = encoded
    features = transformed_features(CONFIG, {})
    assert [(f.name, f.encoding, f.monotone) for f in features] == [
        *(("income", "numeric", 0), ("region", "index", 0), ("job", "target", 1), ("pair", "target", 0))
    ]
    rows = spools(files, output, features, CONFIG, tmp_path)
    train, labels = columns_of(leads["train"]), leads["train"].columns["converted"]
    fold = fold_of(tf.constant(leads["train"].columns["lead_id"].tolist()), FOLDS).numpy()
    found = np.concatenate(list(rows["train"]))
    for place, name in ((2, "job"), (3, "pair")):
        for k in range(FOLDS):
            others = {n: c[fold != k] for n, c in train.items()}
            value = expected((others, {"all": labels, "some": labels[fold != k]}), train[name][fold == k], name)
            np.testing.assert_allclose(found[fold == k, place], value, rtol=1e-6, err_msg=f"{name} of fold {k}")
    # Validation rows are no part of what was learned.
    asked = columns_of(leads["validation"])
    found = np.concatenate(list(rows["validation"]))
    for place, name in ((2, "job"), (3, "pair")):
        value = expected((train, {"all": labels, "some": labels}), asked[name], name)
        np.testing.assert_allclose(found[:, place], value, rtol=1e-6, err_msg=name)
    # The other columns are left as they are.
    for split, spool in rows.items():
        (batch,) = TransformedBatches(files[split], output, [FEATURES])
        np.testing.assert_array_equal(np.concatenate(list(spool))[:, :2], batch[FEATURES][:, :2])


def test_what_is_served_knows_neither_ids_nor_labels(encoded, tmp_path):
    files, output, leads, _ = encoded
    spec = output.raw_feature_spec()
    assert {"lead_id", "converted"} <= set(spec)

    class Served(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transform = ServedTransform(output, DATASET.table.names, [FEATURES])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples):
            return self.transform(parse_raw(examples, {name: spec[name] for name in DATASET.table.names}))

    module = Served()
    tf.saved_model.save(module, str(tmp_path / "served"), signatures={"serving_default": module.serve})
    served = GraphSession(tmp_path / "served")
    # Without ids or labels in the request, the same as in training, bit for bit, and in any batch.
    records = np.array(leads["validation"].examples(), object)
    (batch,) = TransformedBatches(files["validation"], output, [FEATURES, TARGET_ENCODED])
    found = served("serving_default", examples=records)[FEATURES]
    np.testing.assert_array_equal(found, batch[FEATURES])
    for chunk in (slice(0, 0), slice(7, 8), slice(10, 13)):
        np.testing.assert_array_equal(served("serving_default", examples=records[chunk])[FEATURES], found[chunk])
    assert (batch[TARGET_ENCODED] != found[:, 2:]).any()
    # The fold's hash and the values out of fold are not even part of the graph.
    functions = served.graph_def.library.function
    ops = {n.op for n in served.graph_def.node} | {n.op for f in functions for n in f.node_def}
    assert "LookupTableFindV2" in ops and "StringToHashBucketStrong" not in ops


def test_an_output_that_needs_more_than_the_request_has_is_refused(encoded):
    output = encoded[1]
    with pytest.raises(
        ValueError, match="target_encoded of Transform depend on more than the features income, job, region"
    ):
        ServedTransform(output, DATASET.table.names, [TARGET_ENCODED])


def test_without_an_id_or_without_the_analysis_pass_the_reason_is_said(encoded):
    inputs = {f.name: tf.constant([0.0] if f.kind is Kind.NUMERIC else ["x"]) for f in DATASET.table}
    custom_config = CONFIG.to_custom_config()
    with pytest.raises(ConfigError, match=r"what 'job', 'pair' needs is learned by the analysis pass"):
        preprocessing_fn(inputs, custom_config)
    with TFGraphContext(tf.Module(), None, None), pytest.raises(DataError, match=r"\(job, pair\) needs the lead's id"):
        preprocessing_fn(inputs, {**custom_config, **encoded[3]})
