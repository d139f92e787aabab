from __future__ import annotations

import functools
import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.transform import labels

from modules.analysis import MOMENTS, VOCABULARY_FILES, Analysis, learn
from modules.moments import Moments
from modules.vocabulary import Vocabulary, VocabularySpec
from pipeline.components.transform_executor import Executor

SPEC = {"word": tf.io.VarLenFeature(tf.string), "number": tf.io.VarLenFeature(tf.float32)}


def columns(records):
    parsed = tf.io.parse_example(records, SPEC)
    return [parsed["word"].values], [parsed["number"].values]


ANALYSIS = Analysis((Vocabulary(VocabularySpec("word", top_k=2)), Moments("number")), columns)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as out:
        for word, number in rows:
            example = tf.train.Example()
            example.features.feature["word"].bytes_list.value.append(word)
            example.features.feature["number"].float_list.value.append(number)
            out.write(example.SerializeToString())


@pytest.fixture
def rows():
    return [(b"b", 0.1), (b"a", 1e6), (b"c", 3.0), (b"c", -7.25), (b"", 2.0), (b"b", 1e-3), (b"a", 5.5)]


def test_one_pass_learns_words_and_numbers_alike_from_one_file_and_from_three(tmp_path, rows):
    write(tmp_path / "one" / "data", rows)
    for part in range(3):
        write(tmp_path / "three" / f"data-{part}", rows[part::3])
    found, numbers = {}, np.array([number for _, number in rows], np.float32).astype(np.float64)
    for name in ("one", "three"):
        learned = learn([str(tmp_path / name / "*")], ANALYSIS, str(tmp_path / f"{name}-learned"), beam.Pipeline)
        with open(learned[VOCABULARY_FILES]["word"], "rb") as words:
            found[name] = words.read()
        assert learned[MOMENTS]["number"] == pytest.approx([np.mean(numbers), np.std(numbers)], rel=1e-12)
    # Two of each: ties by falling bytes, and the vocabulary holds two.
    assert found == {"one": b"c\nb\n", "three": b"c\nb\n"}


def test_nothing_to_learn_needs_no_pass(tmp_path):
    learned = learn([str(tmp_path / "*")], Analysis((), columns), str(tmp_path / "x"), beam.Pipeline)
    assert learned == {VOCABULARY_FILES: {}, MOMENTS: {}} and not (tmp_path / "x").exists()


def bound(executor, module):
    inputs = {
        labels.MODULE_FILE: None,
        labels.MODULE_PATH: None,
        labels.PREPROCESSING_FN: f"{module}.preprocessing_fn",
        labels.CUSTOM_CONFIG: json.dumps({"some": "setting"}),
    }
    return executor._GetPreprocessingFn(inputs, {})


def test_a_module_says_beside_its_function_what_to_learn(tmp_path, rows, monkeypatch):
    write(tmp_path / "data", rows)
    executor = Executor(Executor.Context(tmp_dir=str(tmp_path), unique_id="1", beam_pipeline_args=[]))
    executor._patterns, executor._folder = [str(tmp_path / "data")], str(tmp_path / "learned")
    function = "def preprocessing_fn(inputs, custom_config):\n    return inputs\n"
    (tmp_path / "plain_module.py").write_text(function)
    (tmp_path / "learning_module.py").write_text(
        f"from {__name__} import ANALYSIS\n{function}\ndef analysis(custom_config):\n    return ANALYSIS\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    plain = bound(executor, "plain_module")
    assert isinstance(plain, functools.partial) and plain.keywords == {"custom_config": {"some": "setting"}}
    found = bound(executor, "learning_module").keywords["custom_config"]
    assert found["some"] == "setting" and set(found[MOMENTS]) == {"number"}
    with open(found[VOCABULARY_FILES]["word"], "rb") as words:
        assert words.read() == b"c\nb\n"
