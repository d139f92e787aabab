"""What the node Importance wrote in the shared runs: complete, and in agreement with the Evaluator and the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modules.evaluation.verdict import read_verdict
from modules.explanation.report import ImportanceReport
from modules.lead_scoring.manifest import Manifest
from tests.pipeline.command import PushedRun, RecommendedRun


def first(root: Path, pattern: str) -> Path:
    """Of the shared run itself; other tests add runs that are not blessed to the same folder."""
    return min((root / "artifacts").glob(pattern), key=lambda path: int(path.name))


def test_every_feature_of_a_lead_is_measured(pushed: PushedRun) -> None:
    report = ImportanceReport.read(first(pushed.root, "*/Importance/importance/*"))
    verdict = read_verdict(first(pushed.root, "*/Evaluator/evaluation/*"))
    manifest = Manifest.load(first(pushed.root, "*/Trainer/model/*") / "Format-Serving")
    assert (report.model_type, report.split, report.rows) == (
        "lead-scoring",
        "test",
        verdict.candidate["example_count"],
    )
    assert {feature.name for feature in report.features} == set(manifest.features)
    assert report.metrics["auc"] == pytest.approx(
        verdict.candidate["auc"], abs=0.03 if report.sampled < report.rows else 1e-3
    )
    assert sum(feature.gain_share or 0 for feature in report.features) == pytest.approx(1, abs=1e-6)
    ranked = [feature.permutation[report.ranked_by].mean for feature in report.features]
    assert ranked == sorted(ranked, reverse=True) and ranked[0] > 0.01
    contributions = np.array([sample.contributions for sample in report.sample])
    np.testing.assert_allclose(contributions.sum(axis=0) + report.bias, report.margins, atol=1e-4)
    sampled = {sample.feature: np.abs(sample.contributions).mean() for sample in report.sample}
    for feature in report.features:
        if feature.splits == 0:
            assert feature.gain_share == 0 and sampled.get(feature.name, 0) == 0
    assert report.lines()[0] in pushed.done.output


def test_every_attribute_of_an_event_is_measured(recommended: RecommendedRun) -> None:
    report = ImportanceReport.read(first(recommended.root, "*/Importance/importance/*"))
    verdict = read_verdict(first(recommended.root, "*/Evaluator/evaluation/*"))
    assert report.model_type == "recommendation"
    assert report.rows == verdict.candidate["example_count"]
    assert report.metrics["log_loss"] == pytest.approx(verdict.candidate["log_loss"], rel=0.1)
    events = {feature.name for feature in report.features if feature.level == "event"}
    assert {"action", "response"} <= events
    assert all(set(feature.permutation) == set(report.metrics) for feature in report.features)
    assert report.lines()[0] in recommended.done.output
