"""Small SavedModels for the server's tests, in the manner of TensorFlow Serving's half_plus_two."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1


def half_plus(folder: Path, version: int, b: float = 2.0) -> Path:
    """TensorFlow 2, y = x / 2 + b for x and y float [n]: `serving_default`, and the multi-input ones of `Many`."""

    class HalfPlus(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = tf.Variable(0.5), tf.Variable(b)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def serving_default(self, x):
            return {"y": self.a * x + self.b}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, "x"),
                tf.TensorSpec([None], tf.int64, "i"),
                tf.TensorSpec([None], tf.string, "s"),
            ]
        )
        def many(self, x, i, s):
            """All inputs back, under other names, and binary under a name that ends in _bytes."""
            return {"x_out": x + self.b, "i_out": i + 1, "s_out": s, "raw_bytes": s}

    module = HalfPlus()
    path = folder / str(version)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serving_default, "many": module.many})
    return path


def half_plus_two_v1(folder: Path, version: int, b: float = 2.0) -> Path:
    """TensorFlow 1, as tensorflow_serving/servables/tensorflow/testdata/saved_model_half_plus_two.py.

    `serving_default` (predict, x float [n, 1] -> y), `regress_x_to_y`, `regress_x_to_y2` (y2 = x / 2 + 3),
    `regress_x2_to_y3` (tensor in, not examples), `classify_x_to_y` (scores only); examples hold a float feature `x`.
    """
    path = folder / str(version)
    with v1.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, name="tf_example")
        features = {"x": tf.io.FixedLenFeature([1], tf.float32), "x2": tf.io.FixedLenFeature([1], tf.float32, [0.0])}
        parsed = tf.io.parse_example(serialized, features)
        x = tf.identity(parsed["x"], name="x")
        a, c = v1.get_variable("a", initializer=0.5), v1.get_variable("c", initializer=3.0)
        intercept = v1.get_variable("b", initializer=b)
        y, y2 = tf.add(a * x, intercept, name="y"), tf.add(a * x, c, name="y2")
        y3 = tf.add(a * parsed["x2"], c, name="y3")
        build, info = v1.saved_model.signature_def_utils.build_signature_def, v1.saved_model.build_tensor_info
        regress, classify = "tensorflow/serving/regress", "tensorflow/serving/classify"
        signatures = {
            "serving_default": build({"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict"),
            "regress_x_to_y": build({"inputs": info(serialized)}, {"outputs": info(y)}, regress),
            "regress_x_to_y2": build({"inputs": info(serialized)}, {"outputs": info(y2)}, regress),
            "regress_x2_to_y3": build({"inputs": info(parsed["x2"])}, {"outputs": info(y3)}, regress),
            "classify_x_to_y": build({"inputs": info(serialized)}, {"scores": info(y)}, classify),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.builder.SavedModelBuilder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()
    return path


def vocabulary_model(folder: Path, version: int, words: list[str]) -> Path:
    """TensorFlow 2 with a table and an asset: `word` string [n] -> `id` int64 [n], -1 for an unknown word."""

    class Lookup(tf.Module):
        def __init__(self, asset: str) -> None:
            super().__init__()
            source = tf.lookup.TextFileInitializer(asset, tf.string, 0, tf.int64, 1, delimiter="\t")
            self.table = tf.lookup.StaticHashTable(source, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "word")])
        def serving_default(self, word):
            return {"id": self.table.lookup(word)}

    folder.mkdir(parents=True, exist_ok=True)
    asset = folder / f".words-{version}.tsv"
    asset.write_text("".join(f"{word}\t{i}\n" for i, word in enumerate(words)))
    module = Lookup(str(asset))
    path = folder / str(version)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serving_default})
    asset.unlink()
    return path


def slow_model(folder: Path, version: int) -> Path:
    """TensorFlow 2: counts to the largest x in a loop of small matrix products, answers y = x; x float [n]."""

    class Slow(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def serving_default(self, x):
            matrix = tf.eye(16) * (1 + 0 * tf.reduce_max(x))
            step, product = tf.constant(0.0), matrix
            while step < tf.reduce_max(x):
                step, product = step + 1, tf.linalg.matmul(product, matrix)
            return {"y": x + 0 * product[0, 1]}

    module = Slow()
    path = folder / str(version)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serving_default})
    return path
