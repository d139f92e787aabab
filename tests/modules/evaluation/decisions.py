"""Decisions of a small market and tiny next-action models of stock ops, for the tests of the next-action metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

ACTIONS = ("call", "email", "visit", "offer", "close")
ROWS = 1200
TINY = 15


def make_decisions(rows: int = ROWS) -> pd.DataFrame:
    """Decisions whose next action follows from the last action and from the lead's source.

    One in fifty takes an action that no model knows; the outcome of one in four is not known yet; the source of one in
    ten is missing. The `tiny` source has few decisions.
    """
    random = np.random.default_rng(11)
    length = random.geometric(0.3, rows) - 1
    last = np.where(length > 0, random.integers(0, 5, rows), -1)
    source = random.choice(["web", "phone"], rows)
    source[:TINY] = "tiny"
    source[::10] = ""
    step = np.where(source == "phone", 2, 1)
    following = (last + step) % 5
    action = np.where(random.random(rows) < 0.6, following, random.integers(0, 5, rows))
    word = np.array(ACTIONS, dtype=object)[action]
    word[random.random(rows) < 0.02] = "fax"
    converted = (random.random(rows) < (action + 1) / 8).astype(np.int64)
    return pd.DataFrame(
        {
            "length": length,
            "last": last,
            "source": source,
            "stage": np.where(length == 0, "start", np.where(length < 4, "early", "late")),
            "next_action": word,
            "outcome": np.where(random.random(rows) < 0.25, -1, converted),
        }
    )


def serialize(decisions: pd.DataFrame) -> list[bytes]:
    """The decisions as serialized tf.Examples; histories repeat the last action, at most 8 times."""
    import tensorflow as tf

    records = []
    for d in decisions.itertuples():
        example = tf.train.Example()
        feature = example.features.feature
        history = [ACTIONS[d.last].encode()] * min(d.length, 8)
        feature["history_action"].bytes_list.value.extend(history)
        feature["history_time"].int64_list.value.extend(range(len(history)))
        feature["history_length"].int64_list.value.append(d.length)
        feature["stage"].bytes_list.value.append(d.stage.encode())
        feature["next_action"].bytes_list.value.append(d.next_action.encode())
        if d.source:
            feature["source"].bytes_list.value.append(d.source.encode())
        if d.outcome >= 0:
            feature["outcome"].int64_list.value.append(d.outcome)
        records.append(example.SerializeToString())
    return records


def write_records(records: list[bytes], folder: Path) -> None:
    """Writes the records as one file of a split."""
    import tensorflow as tf

    folder.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(folder / "data-00000-of-00001.gz"), options) as writer:
        for record in records:
            writer.write(record)


def write_schema(folder: Path) -> None:
    """A schema as the pipeline has it: optional scalars, lists of any length."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    kinds = {"history_action": 1, "history_time": 2, "history_length": 2, "stage": 1, "next_action": 1}
    for name, kind in {**kinds, "source": 1, "outcome": 2}.items():
        feature = schema.feature.add(name=name, type=kind)
        if name in ("history_action", "history_time"):
            feature.value_count.min = 0
        else:
            feature.value_count.min = feature.value_count.max = 1
    folder.mkdir(parents=True)
    (folder / "schema.pbtxt").write_text(text_format.MessageToString(schema))


def save_model(folder: Path, *, actions: tuple[str, ...] = ACTIONS, reads_source: bool = True, sharpness: float = 2.0):
    """A model that knows the market: the most probable action follows the last one, by 2 for phone leads.

    Args:
      folder: of the artifact.
      actions: its vocabulary.
      reads_source: False steps by 1 whatever the source, as the last_action baseline does.
      sharpness: logit of the most probable action.
    """
    import tensorflow as tf

    class NextAction(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(list(actions), tf.range(len(actions), dtype=tf.int64)), -1
            )

        def parse(self, examples):
            length = tf.io.FixedLenFeature([], tf.int64)
            parsed = tf.io.parse_example(
                examples,
                {
                    "history_action": tf.io.RaggedFeature(tf.string),
                    "history_length": length,
                    "source": tf.io.FixedLenFeature([], tf.string, ""),
                    "next_action": tf.io.FixedLenFeature([], tf.string, ""),
                },
            )
            history = tf.concat([parsed["history_action"].to_tensor(""), tf.fill([tf.size(examples), 1], "")], 1)
            # Histories repeat one action, so the first one is the last one.
            return parsed, self.table.lookup(history[:, 0])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def distribution(self, examples):
            parsed, last = self.parse(examples)
            step = tf.where(tf.logical_and(reads_source, parsed["source"] == "phone"), 2, 1)
            top = tf.math.floormod(last + tf.cast(step, tf.int64), len(actions))
            # No two actions are equally probable.
            tilt = tf.range(len(actions), dtype=tf.float32) * -0.01
            logits = sharpness * tf.one_hot(top, len(actions)) + tilt
            # Constants, so that equal ones stay equal in batches of every size.
            conversion = tf.constant([[(a + 1) / 8, (a + 1.5) / 8] for a in range(len(actions))], tf.float32)
            rows = tf.gather(conversion, tf.cast(step, tf.int32) - 1, axis=1)
            return {"probabilities": tf.nn.softmax(logits), "conversion": tf.transpose(rows)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def evaluation_features(self, examples):
            parsed, last = self.parse(examples)
            following = tf.math.floormod(last + 1, len(actions))
            return {
                "label": self.table.lookup(parsed["next_action"]),
                "majority": tf.zeros_like(last),
                "last_action": following,
                "prefix": tf.where(parsed["history_length"] > 3, following, -tf.ones_like(last)),
            }

    model = NextAction()
    tf.saved_model.save(
        model,
        str(folder / "Format-Serving"),
        signatures={
            "serving_default": model.distribution,
            "distribution": model.distribution,
            "evaluation_features": model.evaluation_features,
        },
    )
