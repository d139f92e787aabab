"""Folds of the lead-scoring model, from tf.Examples on disk to a report."""

from __future__ import annotations

import itertools
import shutil

import lead_table
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from modules.lead_scoring.cross_validation import cross_validate
from modules.lead_scoring.fold_files import key_columns, prepare_folds
from modules.lead_scoring.folds import fit_fold
from modules.lead_scoring.learn import learn
from modules.lead_scoring.settings import LeadScoringSettings
from modules.transform_batches import files_of
from modules.transform_config import TransformConfig
from modules.validation import records
from modules.validation.folds import HELD_OUT, Inner, assign
from modules.validation.settings import ValidationSettings
from modules.validation.workers import fit_all

ROWS = {"train": 900, "validation": 300, "calibration": 300}
SETTINGS = LeadScoringSettings(learning_rate=0.3, max_depth=3, num_rounds=20, early_stopping_rounds=5, nthread=1)
INNER = Inner(validation=0.7 / 0.8 * 0.2, calibration=0.1 / 0.8)
"""Shares of what is not test, as the dataset's split (0.2 and 0.1) and the model's validation_split give them."""
CONFIG = TransformConfig(dataset=lead_table.DATASET, model=SETTINGS)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Files of 1,500 leads, by split."""
    root = tmp_path_factory.mktemp("folds")
    lead_table.write_examples(root, ROWS)
    return {split: [f"{root}/Split-{split}/*"] for split in ROWS}


def every(patterns):
    return [pattern for split in patterns.values() for pattern in split]


def first_fold(patterns, settings, folder, config=CONFIG):
    return next(prepare_folds(patterns, lead_table.schema(), config, settings, folder))


def rewrite(patterns, settings, out):
    """Copies the files; what the first fold holds out gets other labels and other features, but keeps id and time."""
    files = files_of(every(patterns))
    found = records.scan(files, lead_table.schema(), key_columns(settings, lead_table.DATASET))
    held_out = iter(assign(settings, found.keys, INNER)[:, 0] == HELD_OUT)
    out.mkdir()
    changed = 0
    for number, file in enumerate(files):
        with tf.io.TFRecordWriter(str(out / f"{number}")) as writer:
            for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
                example = tf.train.Example.FromString(record)
                if next(held_out):
                    changed += 1
                    features = example.features.feature
                    label = features["converted"].int64_list
                    label.value[0] = 1 - label.value[0]
                    features["income"].float_list.value[:] = [1e6]
                    features["job"].bytes_list.value[:] = [b"astronaut"]
                    features["message"].bytes_list.value[:] = [b"moon moon rocket"]
                    features["visits"].float_list.value[:] = []
                writer.write(example.SerializeToString())
    return [f"{out}/*"], changed


@pytest.mark.parametrize(
    "settings",
    [ValidationSettings(folds=3, method="random"), ValidationSettings(folds=3, method="time", gap_days=1)],
    ids=["random", "time"],
)
def test_nothing_of_the_rows_held_out_reaches_the_model(table, tmp_path, settings):
    other, changed = rewrite(table, settings, tmp_path / "other")
    found = [
        fit_fold(first_fold(patterns, settings, tmp_path / name), SETTINGS, keep_booster=True)
        for name, patterns in (("as_it_was", every(table)), ("changed", other))
    ]
    assert changed == found[0].rows["held_out"] > 300
    assert found[0].booster == found[1].booster
    assert found[0].columns == found[1].columns
    assert found[0].rows == found[1].rows
    assert found[1].metrics["auc"] < 0.5 < 0.65 < found[0].metrics["auc"]


def test_a_fold_is_what_transform_and_trainer_make_of_its_rows(table, tmp_path):
    """The rows of a fold, written as an Examples artifact, go through TFX's executor."""
    import tensorflow_transform as tft

    from modules.lead_scoring.spools import spools
    from modules.transform_features import transformed_features, vocabulary_names
    from modules.vocabulary import read_vocabularies
    from pipeline.components.transform_executor import Executor

    settings = ValidationSettings(folds=3)
    fold = first_fold(every(table), settings, tmp_path / "fold")
    found = records.scan(files_of(every(table)), lead_table.schema(), key_columns(settings, lead_table.DATASET))
    files = records.split(found, assign(settings, found.keys, INNER), tmp_path / "rows")[0]
    root = tmp_path / "artifact"
    for split in lead_table.SPLITS:
        (root / f"Split-{split}").mkdir(parents=True)
        for number, file in enumerate(files["held_out" if split == "test" else split]):
            shutil.copy(file, root / f"Split-{split}" / f"{number:05d}")
    (root / "schema").mkdir()
    (root / "schema" / "schema.pbtxt").write_text(str(lead_table.schema()))
    graph = lead_table.run_transform(Executor, root, tmp_path / "graph", SETTINGS)
    output = tft.TFTransformOutput(graph)
    features = transformed_features(CONFIG, read_vocabularies(output, vocabulary_names(CONFIG)))
    (tmp_path / "spools").mkdir()
    patterns = {"held_out" if split == "test" else split: [f"{root}/Split-{split}/*"] for split in lead_table.SPLITS}
    expected = spools(patterns, output, features, CONFIG, tmp_path / "spools")
    assert fold.features == features
    assert set(fold.spools) == set(expected)
    for part, spool in expected.items():
        np.testing.assert_array_equal(np.concatenate(list(fold.spools[part])), np.concatenate(list(spool)))
        np.testing.assert_array_equal(fold.spools[part].labels, spool.labels)


@pytest.fixture(scope="module")
def fold(table, tmp_path_factory):
    return first_fold(every(table), ValidationSettings(folds=3), tmp_path_factory.mktemp("fold"))


def test_metrics_are_those_of_scikit_learn_on_the_rows_held_out(fold):
    result = fit_fold(fold, SETTINGS)
    own = {part: spool for part, spool in fold.spools.items() if part != "held_out"}
    learned = learn(own, fold.features, SETTINGS)
    margins = learned.margins_of(fold.spools["held_out"])
    probability, labels = learned.calibration(margins)["probability"], fold.spools["held_out"].labels
    assert result.metrics["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, probability))
    assert result.metrics["average_precision"] == pytest.approx(
        sklearn_metrics.average_precision_score(labels, probability)
    )
    assert result.metrics["brier_score"] == pytest.approx(sklearn_metrics.brier_score_loss(labels, probability))
    assert result.rounds == learned.fitted.best_iteration + 1
    assert result.positives["held_out"] == labels.sum()


@pytest.mark.slow
def test_processes_find_what_this_one_finds(table, tmp_path):
    settings = ValidationSettings(folds=2, repeats=2)
    prepared = list(prepare_folds(every(table), lead_table.schema(), CONFIG, settings, tmp_path))
    assert [fold.index for fold in prepared] == [0, 1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold-0", "fold-1", "fold-2", "fold-3"]
    there = {result.index: result for _, result in fit_all(prepared, fit_fold, (SETTINGS, 0.5, True), 2)}
    rows = []
    for fold in prepared:
        here = fit_fold(fold, SETTINGS, keep_booster=True)
        assert here.booster == there[fold.index].booster
        assert here.metrics == there[fold.index].metrics
        rows.append(here.rows["held_out"])
    assert rows[0] + rows[1] == rows[2] + rows[3] == sum(ROWS.values())
    assert there[0].booster != there[2].booster, "another repeat, other folds"


def test_folds_by_time_say_what_they_held_out_and_left_out(table, tmp_path):
    settings = ValidationSettings(folds=2, method="time", gap_days=1, workers=1)
    report = cross_validate(table, lead_table.schema(), CONFIG, settings, tmp_path)
    assert not list(tmp_path.iterdir())
    assert report.splits == tuple(ROWS) and report.rows == sum(ROWS.values())
    assert report.metrics["auc"].mean == pytest.approx(np.mean([part.metrics["auc"] for part in report.parts]))
    assert report.roc[0] == (0.0, 0.0) and report.roc[-1] == (1.0, 1.0)
    spans = [(part.held_out_from, part.held_out_until) for part in report.parts]
    assert spans == sorted(spans)
    assert all(first[1] < second[0] for first, second in itertools.pairwise(spans))
    trained = [part.rows["train"] for part in report.parts]
    assert trained == sorted(trained)
    for part in report.parts:
        assert part.left_out + sum(part.rows.values()) == report.rows
    # The table has three leads an hour at first, one for each split, so a day's gap leaves 3 x 24 of them out.
    assert report.parts[0].left_out >= 24


def test_without_validation_rows_every_fold_trains_all_rounds(table, tmp_path):
    model = SETTINGS.model_copy(update={"validation_split": 0.0, "early_stopping_rounds": None})
    config = TransformConfig(dataset=lead_table.DATASET, model=model)
    fold = first_fold(every(table), ValidationSettings(folds=3), tmp_path, config)
    assert set(fold.spools) == {"train", "calibration", "held_out"}
    assert fit_fold(fold, model).rounds == 20
