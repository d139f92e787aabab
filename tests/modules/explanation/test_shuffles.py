"""Shuffling changes one thing and nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import tensorflow as tf

from modules.explanation.sample import decode, encode, first_values, sample_records
from modules.explanation.shuffles import generator, shuffle_events, shuffle_rows


def example(**values) -> bytes:
    found = tf.train.Example()
    for name, value in values.items():
        feature = found.features.feature[name]
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return found.SerializeToString()


def journeys(n: int, seed: int) -> tuple[list[bytes], pa.RecordBatch]:
    random = np.random.default_rng(seed)
    records = []
    for i in range(n):
        events = int(random.integers(0, 6))
        times = np.cumsum(random.integers(1, 1000, events)) + 1_700_000_000
        row = {"lead": b"L%d" % i, "age": float(i)}
        if events:
            row |= {
                "history_action": [b"a%d-%d" % (i, e) for e in range(events)],
                "history_channel": [b"c%d-%d" % (i, e) for e in range(events)],
                "history_time": times.tolist(),
            }
        records.append(example(**row))
    return records, decode(records)


def lists(batch: pa.RecordBatch, name: str) -> list:
    return [values or [] for values in batch.column(name).to_pylist()]


def test_decoding_and_encoding_give_the_same_examples() -> None:
    _, batch = journeys(20, 1)
    again = decode(encode(batch))
    assert set(again.schema.names) == set(batch.schema.names)
    assert all(again.column(name) == batch.column(name) for name in batch.schema.names)


def test_a_feature_is_dealt_out_to_the_rows_and_the_rest_stays() -> None:
    batch = decode([example(age=float(i), job=b"j") if i % 3 else example(job=b"j") for i in range(30)])
    found = shuffle_rows(batch, "age", generator(0, "age", 0))
    before, after = first_values(batch, "age"), first_values(found, "age")
    assert before != after
    assert sorted(before, key=str) == sorted(after, key=str)  # the missing ones, too
    assert found.column("job") == batch.column("job")
    assert shuffle_rows(batch, "unheard of", generator(0, "x", 0)) is batch
    assert first_values(shuffle_rows(batch, "age", generator(0, "age", 0)), "age") == after
    assert first_values(shuffle_rows(batch, "age", generator(0, "age", 1)), "age") != after


def test_an_attribute_of_events_changes_events_and_no_history_its_length() -> None:
    _, batch = journeys(40, 2)
    found = shuffle_events(batch, "channel", generator(0, "channel", 0))
    before, after = lists(batch, "history_channel"), lists(found, "history_channel")
    assert [len(values) for values in before] == [len(values) for values in after]
    assert before != after
    assert sorted(v for values in before for v in values) == sorted(v for values in after for v in values)
    for name in ("history_action", "history_time", "age", "lead"):
        assert found.column(name) == batch.column(name)


def test_time_deals_out_the_gaps() -> None:
    _, batch = journeys(40, 3)
    found = shuffle_events(batch, "time", generator(0, "time", 0))
    before, after = lists(batch, "history_time"), lists(found, "history_time")
    gaps = [sorted(g for times in side for g in np.diff(times).tolist()) for side in (before, after)]
    assert gaps[0] == gaps[1]
    assert [times[:1] for times in before] == [times[:1] for times in after]
    assert before != after
    # A history with an unknown time stays as it is.
    odd = decode([example(history_action=[b"a", b"b"], history_time=[0, 5]) for _ in range(5)])
    assert shuffle_events(odd, "time", generator(0, "time", 0)).column("history_time") == odd.column("history_time")


def test_order_moves_whole_events_within_their_history() -> None:
    _, batch = journeys(40, 4)
    found = shuffle_events(batch, "order", generator(0, "order", 0))
    assert found.column("history_time") == batch.column("history_time")
    actions, channels = lists(found, "history_action"), lists(found, "history_channel")
    assert actions != lists(batch, "history_action")
    for row, (was, action, channel) in enumerate(zip(lists(batch, "history_action"), actions, channels, strict=True)):
        assert sorted(was) == sorted(action), row
        assert [a[1:] for a in action] == [c[1:] for c in channel]


def test_a_sample_is_random_and_always_the_same(tmp_path) -> None:
    for part in range(2):
        with tf.io.TFRecordWriter(str(tmp_path / f"part-{part}.gz"), "GZIP") as out:
            for i in range(500):
                out.write(b"%d" % (500 * part + i))
    sample, total = sample_records([f"{tmp_path}/*"], 200, seed=1)
    numbers = np.array([int(record) for record in sample])
    assert total == 1000 and len(sample) == 200
    assert (np.diff(numbers) > 0).all()
    assert 60 < (numbers < 500).sum() < 140
    assert sample_records([f"{tmp_path}/*"], 200, seed=1)[0] == sample
    assert sample_records([f"{tmp_path}/*"], 200, seed=2)[0] != sample
    assert len(sample_records([f"{tmp_path}/*"], 5000, seed=2)[0]) == 1000
