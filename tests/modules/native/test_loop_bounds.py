"""Which graphs may run for any time, because of the values fed to them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from modules.native.loops import bounded
from modules.native.protos import MetaGraphDef, SavedModel

VECTOR = tf.TensorSpec([None], tf.float32, "x")


def judged(path: Path, function, spec=VECTOR) -> bool:
    module = tf.Module()
    module.f = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures=module.f)
    graph = MetaGraphDef()
    graph.CopyFrom(SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0])
    signature = graph.signature_def["serving_default"]
    return bounded(graph, [i.name for i in signature.inputs.values()], [o.name for o in signature.outputs.values()])


def until(x, limit):
    i, total = tf.constant(0.0), tf.zeros_like(x)
    while i < limit:
        i, total = i + 1, total + x
    return total


def ten_times(x):
    return until(x, 10.0)


def as_often_as_a_value_says(x):
    return until(x, tf.reduce_max(x))


def sum_in_a_loop_over_rows(x):
    total = tf.constant(0.0)
    for i in tf.range(tf.shape(x)[0]):
        total += x[i]
    return tf.reshape(total, [1])


def stop_by_what_was_added(x):
    total = tf.constant(0.0)
    while total < 100.0:
        total += tf.reduce_sum(x)
    return tf.reshape(total, [1])


def loop_in_a_branch(x):
    if tf.reduce_sum(x) > 0:
        x = until(x, tf.reduce_max(x))
    return x


def choose_between_fixed_loops(x):
    if tf.reduce_sum(x) > 0:
        x = until(x, 5.0)
    else:
        x = until(x, 7.0)
    return x


@tf.function
def inner(x, n):
    return until(x, n)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x / 2, True),
        (ten_times, True),
        (sum_in_a_loop_over_rows, True),
        (choose_between_fixed_loops, True),
        (lambda x: inner(x, tf.cast(tf.size(x), tf.float32)), True),
        (as_often_as_a_value_says, False),
        (stop_by_what_was_added, False),
        (loop_in_a_branch, False),
        (lambda x: inner(x, x[0]), False),
        (lambda x: tf.map_fn(lambda y: y + 1, x), True),
    ],
)
def test_only_loops_that_fed_values_decide_are_unbounded(function, expected, tmp_path):
    assert judged(tmp_path / "model", function) is expected


def test_loops_of_tensorflow_1_are_unbounded(tmp_path):
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        v1.disable_control_flow_v2()
        try:
            x = v1.placeholder(tf.float32, [None])
            y = v1.while_loop(lambda i: i < tf.reduce_max(x), lambda i: i + 1, [tf.constant(0.0)])
        finally:
            v1.enable_control_flow_v2()
        definition = session.graph.as_graph_def()
    graph = MetaGraphDef()
    graph.graph_def.CopyFrom(definition)
    assert bounded(graph, [x.name], [y.name]) is False
    assert bounded(graph, [x.name], [x.name]) is True
