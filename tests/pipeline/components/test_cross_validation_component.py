"""CrossValidation, and the Evaluator that listens to it, by their contracts and executors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.evaluator import executor as stock
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts

from modules.dataset import Dataset, Label
from modules.evaluation import verdict as verdicts
from modules.features import Feature, Kind
from modules.lead_scoring.settings import CalibrationSettings, LeadScoringSettings
from modules.transform_config import TransformConfig
from modules.validation.bounds import BoundsVerdict
from modules.validation.intervals import summarize_folds
from modules.validation.report import CrossValidationReport, FoldReport
from modules.validation.settings import ValidationSettings
from pipeline.components.cross_validation import CrossValidation
from pipeline.components.cross_validation.executor import Executor as CrossValidationExecutor
from pipeline.components.evaluator import Executor

DATASET = Dataset(
    name="leads",
    files=("leads.csv",),
    id="lead_id",
    label=Label(column="converted"),
    features=(Feature(name="income", kind=Kind.NUMERIC),),
)
MODEL = LeadScoringSettings(
    learning_rate=0.3, num_rounds=5, early_stopping_rounds=None, nthread=1, calibration=CalibrationSettings(bins=2)
)
CUSTOM_CONFIG = TransformConfig(dataset=DATASET, model=MODEL).to_custom_config()


def artifact(kind: type[types.Artifact], uri: Path) -> types.Artifact:
    found = kind()
    found.uri = str(uri)
    uri.mkdir(parents=True, exist_ok=True)
    return found


def component(settings: ValidationSettings) -> CrossValidation:
    return CrossValidation(
        examples=types.Channel(type=standard_artifacts.Examples),
        schema=types.Channel(type=standard_artifacts.Schema),
        kind="lead_scoring",
        custom_config=CUSTOM_CONFIG,
        settings=settings,
        splits=("train", "validation", "calibration"),
        threshold=0.5,
    )


def test_bounds_are_no_part_of_what_folds_are_cached_by():
    strict, loose, other = (
        component(settings).exec_properties
        for settings in (
            ValidationSettings(folds=3, min={"auc": 0.9}),
            ValidationSettings(folds=3, max={"log_loss": 0.9}),
            ValidationSettings(folds=4),
        )
    )
    assert strict == loose != other


@pytest.fixture
def examples(tmp_path: Path) -> types.Artifact:
    """300 leads of three splits and 100 of a test split that nobody may read."""
    rng = np.random.default_rng(0)
    found = artifact(standard_artifacts.Examples, tmp_path / "examples")
    found.split_names = artifact_utils.encode_split_names(["train", "validation", "calibration", "test"])
    for k, split in enumerate(("train", "validation", "calibration", "test")):
        folder = tmp_path / "examples" / f"Split-{split}"
        folder.mkdir()
        with tf.io.TFRecordWriter(str(folder / "data-0.gz"), "GZIP") as out:
            for i in range(100):
                income = float(rng.normal())
                example = tf.train.Example()
                features = example.features.feature
                features["lead_id"].bytes_list.value.append(b"%d-%d" % (k, i))
                features["income"].float_list.value.append(income)
                features["converted"].int64_list.value.append(int(income + rng.normal() > 0))
                out.write(b"not an example" if split == "test" else example.SerializeToString())
    return found


@pytest.fixture
def schema(tmp_path: Path) -> types.Artifact:
    found = artifact(standard_artifacts.Schema, tmp_path / "schema")
    content = schema_pb2.Schema()
    for name, kind in (("lead_id", schema_pb2.BYTES), ("income", schema_pb2.FLOAT), ("converted", schema_pb2.INT)):
        content.feature.add(name=name, type=kind)
    (tmp_path / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(content))
    return found


def test_executor_reads_all_but_the_test_split_and_takes_what_the_tuner_found(tmp_path, examples, schema):
    hyperparameters = artifact(standard_artifacts.HyperParameters, tmp_path / "hyperparameters")
    (tmp_path / "hyperparameters" / "best.txt").write_text(json.dumps({"space": [], "values": {"num_rounds": 3}}))
    output = artifact(simple_artifacts.Metrics, tmp_path / "report")
    properties = component(ValidationSettings(folds=2, workers=1, seed=4)).exec_properties
    inputs = {"examples": [examples], "schema": [schema], "hyperparameters": [hyperparameters]}
    CrossValidationExecutor().Do(inputs, {"cross_validation": [output]}, properties)
    report = CrossValidationReport.read(tmp_path / "report")
    assert (report.rows, report.folds, report.method, report.seed) == (300, 2, "stratified", 4)
    assert report.splits == ("train", "validation", "calibration")
    assert report.hyperparameters == {"num_rounds": 3}
    assert [part.rounds for part in report.parts] == [3, 3]
    assert [part.rows["held_out"] for part in report.parts] == [150, 150]
    auc = report.metrics["auc"]
    assert auc.mean > 0.65
    found = [output.get_float_custom_property(name) for name in ("auc", "auc_low", "auc_high")]
    assert found == [auc.mean, auc.low, auc.high]


def evaluate(tmp_path, monkeypatch, bounds, blessed=True):
    """Runs the executor behind an evaluation of TFX with a given outcome."""
    parts = tuple(
        FoldReport(index=i, rows={"train": 60, "calibration": 20, "held_out": 20}, metrics={"auc": auc})
        for i, auc in enumerate((0.70, 0.74, 0.72, 0.76, 0.78))
    )
    CrossValidationReport(
        model_type="lead-scoring",
        method="stratified",
        folds=5,
        confidence=0.95,
        splits=("train",),
        rows=100,
        parts=parts,
        metrics=summarize_folds(parts, 0.95),
    ).write(tmp_path / "report")
    evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation")
    blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")

    def of_tfx(self, input_dict, output_dict, exec_properties):
        Path(output_dict["blessing"][0].uri, "BLESSED" if blessed else "NOT_BLESSED").write_text("")
        output_dict["blessing"][0].set_int_custom_property("blessed", int(blessed))

    monkeypatch.setattr(stock.Executor, "Do", of_tfx)
    Executor().Do(
        {"cross_validation": [artifact(simple_artifacts.Metrics, tmp_path / "report")]},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {"cross_validation_bounds": json.dumps(bounds)},
    )
    return blessing, [path.name for path in Path(blessing.uri).iterdir()]


@pytest.mark.parametrize(
    ("bounds", "blessed", "after"),
    [
        ({"min": {"auc": 0.68}, "max": {}}, True, True),
        ({"min": {"auc": 0.69}, "max": {}}, True, False),
        ({"min": {}, "max": {"auc": 0.79}}, True, False),
        ({"min": {"log_loss": 0.1}, "max": {}}, True, False),
        ({"min": {"auc": 0.68}, "max": {}}, False, False),
        ({"min": {"auc": 0.69}, "max": {}}, False, False),
    ],
)
def test_a_missed_bound_takes_the_blessing_away_and_a_held_one_gives_none(
    tmp_path, monkeypatch, bounds, blessed, after
):
    blessing, files = evaluate(tmp_path, monkeypatch, bounds, blessed)
    assert files == ["BLESSED" if after else "NOT_BLESSED"]
    assert blessing.get_int_custom_property("blessed") == int(after)


def test_the_verdict_names_the_bound_that_was_missed(tmp_path, monkeypatch):
    evaluate(tmp_path, monkeypatch, {"min": {"auc": 0.7}, "max": {}})
    assert (tmp_path / "evaluation" / BoundsVerdict.FILE).is_file()
    bounds = BoundsVerdict.read(tmp_path / "evaluation")
    assert bounds.min == {"auc": 0.7}
    verdict = verdicts.Verdict(
        blessed=False, overall=verdicts.SliceMetrics((), {"auc": 0.8}), missed_bounds=bounds.missed
    )
    assert verdict.reason == "1 threshold missed"
    assert verdict.describe() == [
        "auc 0.681 < 0.700 (short by 0.019) at the lower end of the 95 % interval over 5 folds stratified: "
        "0.681 to 0.799, mean 0.740"
    ]
