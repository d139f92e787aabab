from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "lead_scoring"))
import lead_table

from modules.analysis import VOCABULARY_FILES
from modules.errors import ConfigError, DataError
from modules.lead_scoring.settings import LeadScoringSettings
from modules.preprocessing import preprocessing_fn, tokenize
from modules.transform_config import TransformConfig
from modules.transform_features import matrix_width, transformed_features
from modules.vocabulary import EMPTY_VOCABULARY, MergeCounts, VocabularySpec, select_words

WORDS = {"job": ["nurse", "admin"], "message": ["price", "loan"], "region": ["r1"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("words")
    for name, words in WORDS.items():
        (folder / name).write_text("".join(f"{w}\n" for w in words))
    return {name: str(folder / name) for name in WORDS}


def transform(files, settings=None, sparse=False, **columns):
    """Runs preprocessing_fn on dense or sparse inputs; features not given are missing."""
    model = settings or LeadScoringSettings()
    rows = len(next(iter(columns.values())))
    config = {**lead_table.custom_config(model), VOCABULARY_FILES: files}
    inputs = {}
    for feature in lead_table.DATASET.table:
        numeric = feature.kind == "numeric"
        values = columns.get(feature.name, [np.nan if numeric else b""] * rows)
        tensor = tf.constant(values, tf.float32 if numeric else tf.string)
        if sparse:
            kept = tf.where(~tf.math.is_nan(tensor) if numeric else tensor != "")
            tensor = tf.SparseTensor(tf.pad(kept, [[0, 0], [0, 1]]), tf.gather_nd(tensor, kept), [rows, 1])
        inputs[feature.name] = tensor
    inputs["converted"] = tf.ones([rows], tf.int64)
    with tft_context():
        outputs = tf.function(lambda: preprocessing_fn(inputs, config))()
    names = [(f.position, f.name) for f in transformed_features(TransformConfig.from_custom_config(config), WORDS)]
    matrix = outputs["features"].numpy()
    return {name: matrix[:, position] for position, name in names}, matrix, outputs


def tft_context():
    import contextlib

    from tensorflow_transform.graph_context import TFGraphContext

    stack = contextlib.ExitStack()
    stack.enter_context(TFGraphContext(tf.Module(), None, None))
    return stack


@pytest.mark.parametrize("sparse", [False, True])
def test_each_kind_by_hand(files, sparse):
    found, matrix, outputs = transform(
        files,
        sparse=sparse,
        income=[1.5, np.nan, np.inf],
        job=[b"admin", b"", b"pilot"],
        message=[b"LOAN, loan: Price!", b"", b"hello"],
        region=[b"r1", b"r9", b""],
    )
    nan = np.nan
    np.testing.assert_array_equal(found["income"], [1.5, nan, nan])
    np.testing.assert_array_equal(found["age"], [nan, nan, nan])
    np.testing.assert_array_equal(found["job"], [1, nan, 4])  # out of vocabulary is vocabulary_size, 4
    np.testing.assert_array_equal(found["region"], [0, 1000, nan])
    np.testing.assert_array_equal(found["message:price"], [1, 0, 0])
    np.testing.assert_array_equal(found["message:loan"], [1, 0, 0])
    np.testing.assert_array_equal(found["message#words"], [3, nan, 1])
    assert matrix.dtype == np.float32 and outputs["label"].dtype == tf.int64


def test_one_hot_by_hand(files):
    found, matrix, _ = transform(files, LeadScoringSettings(categorical="one_hot"), job=[b"admin", b"", b"pilot"])
    np.testing.assert_array_equal(found["job=nurse"], [0, np.nan, 0])
    np.testing.assert_array_equal(found["job=admin"], [1, np.nan, 0])
    np.testing.assert_array_equal(found["job=?"], [0, np.nan, 1])
    config = TransformConfig(dataset=lead_table.DATASET, model=LeadScoringSettings(categorical="one_hot"))
    # 3 numbers; 4 jobs and 64 regions, each with a column for the rest; 5 words and their number.
    assert matrix.shape[1] == matrix_width(config) == 3 + 5 + 65 + 6
    assert "job=pilot" not in found and len(found) == 3 + 3 + 2 + 3


def test_words_are_lower_case_letters_digits_and_apostrophes():
    found = tokenize(tf.constant(["Don't call 555-1234!", "ÄRGER über\tPreis", "", " ... "]))
    assert found.to_list() == [
        [b"don't", b"call", b"555", b"1234"],
        ["ärger".encode(), "über".encode(), b"preis"],
        [],
        [],
    ]


def test_a_feature_missing_from_the_schema_is_named():
    with pytest.raises(DataError, match=r"'income'.*it has converted"):
        preprocessing_fn({"converted": tf.ones([1])}, lead_table.custom_config(LeadScoringSettings()))


def test_custom_config_round_trips_and_needs_the_dataset():
    config = TransformConfig(dataset=lead_table.DATASET, model=LeadScoringSettings(max_depth=3))
    assert TransformConfig.from_custom_config(config.to_custom_config()) == config
    with pytest.raises(ConfigError, match="needs 'dataset'"):
        TransformConfig.from_custom_config({"model": "{}"})


def test_vocabulary_order_limit_and_filter_by_hand():
    words = [b"b", b"a", b"c", b"", b"x\ny", b"rare"]
    table = pa.table({"word": pa.array(words, pa.large_binary()), "count": pa.array([2, 2, 5, 9, 9, 1], pa.int64())})
    assert select_words(table, VocabularySpec("f", top_k=9)) == [b"c", b"b", b"a", b"rare"]
    assert select_words(table, VocabularySpec("f", top_k=2, min_count=2)) == [b"c", b"b"]
    assert select_words(table.slice(3, 2), VocabularySpec("f", top_k=2)) == [EMPTY_VOCABULARY]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=2), max_size=20), max_size=6))
def test_counts_do_not_depend_on_how_the_words_are_dealt_out(batches):
    combine = MergeCounts(1)
    accumulators = []
    for batch in batches:
        distinct, counts = np.unique(np.array(batch, object), return_counts=True)
        accumulators.append(combine.add_input(combine.create_accumulator(), [distinct, counts]))
    (table,) = combine.extract_output(combine.merge_accumulators(accumulators))
    found = dict(zip(table["word"].to_pylist(), table["count"].to_pylist(), strict=True))
    everything = [word for batch in batches for word in batch]
    assert found == {word: everything.count(word) for word in everything}


@pytest.mark.slow
def test_fast_pass_stock_transform_and_tft_vocabulary_agree(tmp_path):
    from tfx.components.transform import executor as stock

    from pipeline.components.transform_executor import Executor

    model = LeadScoringSettings()
    leads = lead_table.write_examples(tmp_path / "data", {"train": 400})["train"]
    fast = lead_table.run_transform(Executor, tmp_path / "data", tmp_path / "fast", model)
    slow = lead_table.run_transform(stock.Executor, tmp_path / "data", tmp_path / "slow", model)
    outputs = [tft.TFTransformOutput(path) for path in (fast, slow)]
    for name in ("job", "message", "region"):
        assert Path(outputs[0].vocabulary_file_by_name(name)).is_relative_to(tmp_path / "fast")
        first, second = (o.vocabulary_by_name(name) for o in outputs)
        assert first == second, name
    job = leads.columns["job"]
    counts = {w: int((job == w).sum()) for w in set(job) - {b""}}
    assert outputs[0].vocabulary_by_name("job") == sorted(counts, key=lambda w: (counts[w], w), reverse=True)[:4]
    records = tf.constant(leads.examples())
    from modules.transform_batches import parse_raw

    matrices = [
        o.transform_features_layer()(parse_raw(records, o.raw_feature_spec()))["features"].numpy() for o in outputs
    ]
    np.testing.assert_array_equal(*matrices)
    assert outputs[0].transformed_metadata.schema == outputs[1].transformed_metadata.schema
