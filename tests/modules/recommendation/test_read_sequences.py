from __future__ import annotations

from pathlib import Path

import journey_examples
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from journey_examples import CONFIG, LENGTH, example

from modules.errors import DataError
from modules.journeys import names
from modules.journeys.dataset import EventTable, JourneyDataset
from modules.recommendation.read import decisions, read_sequences
from modules.recommendation.transform_layout import JourneyTransformConfig, layout
from modules.transform_batches import parse_raw

INPUTS = ("event_codes", "event_numbers", "lead_codes", "lead_numbers", "length", "next_action", "outcome")


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    graph, output, rows = journey_examples.transformed(tmp_path_factory)
    pattern = str(Path(graph).parent / "data" / "Split-train" / "*")
    return [pattern], output, rows, layout(CONFIG, output)


def test_decisions_are_what_the_transform_layer_says_row_by_row(transformed):
    patterns, output, rows, columns = transformed
    found = decisions(patterns, output, columns)
    assert len(found) == len(rows)
    layer, spec = output.transform_features_layer(), output.raw_feature_spec()
    for i in range(0, len(rows), 7):
        one = layer(parse_raw(tf.constant([example(rows[i])]), spec))
        for name in INPUTS:
            np.testing.assert_array_equal(getattr(found, name)[i], one[name][0], err_msg=f"{name} of row {i}")
        assert found.time[i] == (int(one["start"][0]) or rows[i][names.DECISION_TIME])
    assert (found.positions == 1).all()


def test_types_are_small_and_arrays_read_only(transformed):
    patterns, output, _, columns = transformed
    found = decisions(patterns, output, columns)
    assert found.event_codes.dtype == found.lead_codes.dtype == np.int16
    assert {a.dtype for a in (found.length, found.next_action, found.positions)} == {np.dtype(np.int32)}
    assert {a.dtype for a in (found.event_numbers, found.lead_numbers, found.outcome)} == {np.dtype(np.float32)}
    assert found.time.dtype == np.int64
    assert not found.event_codes.flags.writeable


def test_causal_training_reads_the_rows_that_stand_in_it(transformed):
    patterns, output, rows, columns = transformed
    found, everything = read_sequences(patterns, output, columns, causal=True), decisions(patterns, output, columns)
    kept = np.array([row[names.TRAINING_POSITIONS] > 0 for row in rows])
    assert 0 < kept.sum() < len(rows)
    for name in (*INPUTS, "time"):
        np.testing.assert_array_equal(getattr(found, name), getattr(everything, name)[kept], err_msg=name)
    positions = np.array([row[names.TRAINING_POSITIONS] for row in rows])[kept]
    np.testing.assert_array_equal(found.positions, np.minimum(positions, found.length + 1))


def test_arrays_leave_no_file_behind(transformed, tmp_path):
    patterns, output, _rows, columns = transformed
    found = decisions(patterns, output, columns, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (found.length <= LENGTH).all() and found.event_codes[:, :, 0].any()


def test_no_file_and_no_row_in_causal_training_are_errors(transformed, tmp_path):
    _, output, rows, columns = transformed
    with pytest.raises(DataError, match=r"no examples at .*nowhere"):
        decisions([str(tmp_path / "nowhere" / "*")], output, columns)
    none = [row | {names.TRAINING_POSITIONS: 0} for row in rows[:3]]
    journey_examples.write_examples(tmp_path, none)
    pattern = [str(tmp_path / "Split-train" / "*")]
    assert len(decisions(pattern, output, columns)) == 3
    with pytest.raises(DataError, match="stands in causal training"):
        read_sequences(pattern, output, columns, causal=True)


def test_an_empty_split_is_no_decisions(transformed, tmp_path):
    _, output, _, columns = transformed
    journey_examples.write_examples(tmp_path, [])
    found = decisions([str(tmp_path / "Split-train" / "*")], output, columns)
    assert len(found) == 0 and found.event_codes.shape == (0, LENGTH, len(columns.event_codes))


def test_journeys_of_actions_and_times_alone(tmp_path):
    """No attribute of an event, no feature of a lead, no outcome: three of the network's inputs have no columns."""
    from pipeline.components.transform_executor import Executor

    dataset = JourneyDataset(
        name="bare", events=EventTable(files=("events.csv",), lead="lead_id", time="time", action="action")
    )
    config = JourneyTransformConfig(dataset=dataset)
    rows = [
        {
            names.HISTORY_ACTION: [b"a"] * i,
            names.HISTORY_TIME: [1_700_000_000 + i for i in range(i)],
            names.NEXT_ACTION: b"b" if i == 3 else b"a",
            names.TRAINING_POSITIONS: i + 1 if i == 3 else 0,
        }
        for i in range(4)
    ]
    journey_examples.write_examples(tmp_path / "data", rows)
    output = tft.TFTransformOutput(
        journey_examples.run_transform(Executor, tmp_path / "data", tmp_path / "graph", config)
    )
    columns = layout(config, output)
    # Six labels and events say a (three of each; the lists of the one row that counts), one says b.
    assert columns.actions == ("a", "b")
    assert columns.event_numbers == columns.lead_codes == columns.lead_numbers == ()
    found = read_sequences([str(tmp_path / "data" / "Split-train" / "*")], output, columns, causal=True)
    assert found.event_numbers.shape == (1, 40, 0) and found.lead_codes.shape == found.lead_numbers.shape == (1, 0)
    assert found.event_codes[0, :4, 0].tolist() == [3, 3, 3, 0]
    assert (found.next_action[0], found.positions[0]) == (1, 4) and np.isnan(found.outcome[0])
