"""`aiqleads serve --check` with several models under the root."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from modules.serving_check.signatures import read_signatures
from modules.serving_check.warmup import write_warmup
from pipeline.serve_check import known_leads, without_padding
from tests.pipeline.command import aiqleads
from tests.serving import journey_model
from tests.serving.client_models import lead_model
from tests.serving.journey_model import JourneyModel, probabilities
from tests.serving.saved_models import half_plus


def warmed(version: Path, name: str, records: list[bytes]) -> Path:
    signatures = read_signatures(version)
    asked = [s for n, s in signatures.items() if n in ("serving_default", "predict_columns")]
    write_warmup(version / "assets.extra" / "tf_serving_warmup_requests", name, asked, records, (1, 64), ())
    return version


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    lead_model(root / "serving" / "lead-scoring", 4)
    warmed(root / "serving" / "lead-scoring" / "4", "lead-scoring", journey_model.records(64))
    version = journey_model.save(root / "serving" / "recommendation" / "2")
    warmed(version, "recommendation", journey_model.records(64))
    return root


def test_both_models_are_asked_over_both_transports(root: Path) -> None:
    done = aiqleads("serve", "--root", str(root), "--check")
    assert done.code == 0, done.output
    assert "lead-scoring, recommendation, ready after" in done.output
    assert "lead-scoring version 4: 5 leads asked over gRPC" in done.output
    assert "recommendation version 2: 5 leads asked over gRPC" in done.output
    rows = [re.split(r"\s*│\s*", line)[1:-1] for line in done.output.splitlines() if line.startswith("│")]
    journeys = [row for row in rows if len(row) == 9 and row[0].isdigit()]
    assert len(journeys) == 5
    for row in journeys:
        assert (row[3], row[5], row[7]) == (row[4], row[6], row[8])
    # The lead in row 13 i of the examples has 13 i % 7 events, of which the last four are known.
    assert [row[1] for row in journeys] == [str(i * 64 // 5 % 7) for i in range(5)]
    assert "gRPC and REST agree; stopped" in done.output


def test_known_leads_are_as_long_as_their_histories(root: Path) -> None:
    leads = [without_padding(lead) for lead in known_leads(root / "serving" / "recommendation", 64)]
    lengths = [min(i % 7, journey_model.LENGTH) for i in range(64)]
    for lead, length in zip(leads, lengths, strict=True):
        lists = ("history_action", "history_time", "history_response", "history_amount")
        assert {len(lead[name]) for name in lists} == {length}
        assert lead["allowed_actions"] is None
    assert known_leads(root / "serving" / "recommendation", 1)[0]["history_action"] == [""] * journey_model.LENGTH


def test_a_model_that_cannot_be_asked_does_not_hide_the_others(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "serving" / "lead-scoring", tmp_path / "serving" / "lead-scoring")
    half_plus(tmp_path / "serving" / "halving", 1)
    journey_model.save(tmp_path / "serving" / "recommendation" / "1")
    done = aiqleads("serve", "--root", str(tmp_path), "--check")
    assert done.code == 0, done.output
    text = " ".join(done.output.split())
    assert "lead-scoring version 4: 5 leads asked" in text
    assert text.count("not asked") == 2 and "no version has warm-up requests with single features to ask about" in text
    shutil.rmtree(tmp_path / "serving" / "lead-scoring")
    done = aiqleads("serve", "--root", str(tmp_path), "--check")
    assert done.code == 1 and "no pushed model could be asked" in done.output


def test_a_next_best_action_without_any_action_is_shown_as_none(tmp_path: Path) -> None:
    class Silent(JourneyModel):
        def allowed(self, row):
            return super().allowed(row) & (row["age"] > 50)[:, None]

    version = journey_model.save(tmp_path / "serving" / "recommendation" / "1", Silent())
    warmed(version, "recommendation", journey_model.records(64))
    done = aiqleads("serve", "--root", str(tmp_path), "--check")
    assert done.code == 0, done.output
    rows = [re.split(r"\s*│\s*", line)[1:-1] for line in done.output.splitlines() if line.startswith("│")]
    shown = [row[3:5] for row in rows if row[0].isdigit()]
    assert ["-", "-"] in shown and any(row[0] in probabilities() for row in shown)
