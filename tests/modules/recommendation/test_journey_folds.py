"""Folds of the recommendation model: leads stay together, and every fold has its own Transform and network."""

from __future__ import annotations

import journey_examples
import numpy as np
import pytest

from modules.recommendation.cross_validation import cross_validate
from modules.recommendation.settings import RecommendationSettings
from modules.recommendation.transform_layout import JourneyTransformConfig
from modules.validation.settings import NextActionValidationSettings

SETTINGS = RecommendationSettings(
    text_words=3, embedding_dim=8, num_heads=2, hidden_layers=[8], epochs=1, batch_size=32, validation_split=0.2
)


@pytest.mark.slow
def test_leads_stay_together_and_all_decisions_are_held_out(tmp_path):
    rows = journey_examples.random_rows(240, seed=5)
    for i, row in enumerate(rows):
        row["lead_id"] = b"L%d" % (i // 4)
    journey_examples.write_examples(tmp_path / "data", rows)
    report = cross_validate(
        {"train": [f"{tmp_path}/data/Split-train/*"]},
        journey_examples.schema(),
        JourneyTransformConfig(dataset=journey_examples.DATASET, model=SETTINGS),
        NextActionValidationSettings(folds=2),
        tmp_path / "folds",
    )
    assert (report.rows, report.folds, report.group) == (240, 2, "lead")
    assert [part.rows["held_out"] for part in report.parts] == [120, 120]
    for part in report.parts:
        assert part.metrics["example_count"] <= 120
        assert 0 <= part.metrics["accuracy"] <= 1
        assert part.metrics["log_loss"] > 0
        assert np.isfinite(part.metrics["accuracy_over_baseline"])
        assert part.rounds == 1
    assert report.lines()[0].startswith("folds      2 folds by lead, 95 % intervals: accuracy 0.")
    assert not list((tmp_path / "folds").iterdir())
