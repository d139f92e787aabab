"""Loaded models that the tests of this folder share, and makers of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow as tf  # Before the C library is loaded: both then share it.

from serving.servable import Servable, ServableId
from tests.serving.saved_models import half_plus, half_plus_two_v1

LoadedModel = Callable[[str, Path, int], Servable]


@pytest.fixture(scope="session")
def half_plus_servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    """TensorFlow 2: y = x / 2 + 2."""
    servable = Servable(ServableId("half_plus", 3), half_plus(tmp_path_factory.mktemp("half_plus"), 3))
    yield servable
    servable.close()


@pytest.fixture(scope="session")
def v1_servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    """TensorFlow 1, with signatures for Classify and Regress."""
    servable = Servable(ServableId("v1", 1), half_plus_two_v1(tmp_path_factory.mktemp("v1"), 1))
    yield servable
    servable.close()


@pytest.fixture(scope="session")
def two_inputs_servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    """TensorFlow 1: `sum` = a + b, where b need not be sent: the signature gives it 10; `required` without default."""
    path = tmp_path_factory.mktemp("two_inputs") / "1"
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        a, b = v1.placeholder(tf.float32, name="a"), v1.placeholder(tf.float32, name="b")
        total = tf.add(a, b, name="total")
        build, info = v1.saved_model.signature_def_utils.build_signature_def, v1.saved_model.build_tensor_info
        inputs, outputs = {"a": info(a), "b": info(b)}, {"sum": info(total), "again": info(total)}
        signature = build(inputs, outputs, "tensorflow/serving/predict")
        signature.defaults["b"].CopyFrom(tf.make_tensor_proto([10.0]))
        required = build(inputs, outputs, "tensorflow/serving/predict")
        other = build(inputs, outputs, "somebody/elses/method")
        builder = v1.saved_model.builder.SavedModelBuilder(str(path))
        signatures = {"serving_default": signature, "required": required, "other": other}
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()
    servable = Servable(ServableId("two_inputs", 1), path)
    yield servable
    servable.close()
