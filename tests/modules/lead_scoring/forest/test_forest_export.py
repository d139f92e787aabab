"""The compiled trees inside a SavedModel, loaded the way TensorFlow Serving loads it."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from forest_boosters import Shape, native_margin, probing_rows, random_booster
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from modules.lead_scoring.forest.compile import compile_forest


def save(folder: Path, booster) -> tf.Module:
    module = tf.Module()
    module.forest = compile_forest(booster)
    features = module.forest.arrays.num_features
    signature = [tf.TensorSpec([None, features], tf.float32, name="x")]
    module.margin = tf.function(lambda x: {"margin": module.forest.margin(x)}, input_signature=signature)
    module.probability = tf.function(
        lambda x: {"probability": tf.sigmoid(module.forest.margin(x))}, input_signature=signature
    )
    tf.saved_model.save(
        module, str(folder), signatures={"serving_default": module.margin, "probability": module.probability}
    )
    return module


def test_the_session_loader_runs_every_signature(tmp_path: Path) -> None:
    booster = random_booster(Shape(trees=30, depth=6, features=7, seed=3))
    save(tmp_path, booster)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(tmp_path))
        for rows in (0, 1, 9, 600):
            x = probing_rows(np.float32([0, 1, -1]), rows, 7, rows)
            for name, output, link in (
                ("serving_default", "margin", lambda margin: margin),
                ("probability", "probability", lambda margin: 1 / (1 + np.exp(-margin))),
            ):
                signature = meta.signature_def[name]
                got = session.run(signature.outputs[output].name, {signature.inputs["x"].name: x})
                np.testing.assert_allclose(got, link(native_margin(booster, x)), rtol=0, atol=1e-5)


def test_tables_are_stored_once_and_only_stock_operations_are_used(tmp_path: Path) -> None:
    booster = random_booster(Shape(trees=300, depth=6, features=20, split_chance=0.95, seed=4))
    nodes = save(tmp_path, booster).forest.arrays.num_nodes
    size = (tmp_path / "saved_model.pb").stat().st_size
    assert size < 500_000 + 40 * nodes  # bytes; two signatures
    model = SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    operations = {node.op for node in graph.node} | {
        node.op for function in graph.library.function for node in function.node_def
    }
    assert not operations & {"PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaLaunch", "VarHandleOp"}
    assert len(operations) > 20


def test_a_graph_of_tensorflow_1_can_hold_the_trees() -> None:
    booster = random_booster(Shape(trees=5, depth=3, features=3, seed=5))
    forest = compile_forest(booster)
    rows = probing_rows(np.float32([0, 1]), 100, 3, 5)
    eager = forest.margin(tf.constant(rows)).numpy()
    for _ in range(2):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            margin = forest.margin(tf.constant(rows))
            np.testing.assert_array_equal(session.run(margin), eager)
    np.testing.assert_array_equal(eager, native_margin(booster, rows))
