"""A whole run: from a CSV file to a blessed, pushed model, and what a second one does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import compare
from modules.ingest.report import read_report
from tests.pipeline.command import BARE, CONFIG, QUICK, PushedRun, aiqleads, run_pipeline

COMPONENTS = (
    "ColumnarExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "Evaluator",
    "InfraCheck",
    "Pusher",
)
pytestmark = pytest.mark.slow


def versions(root: Path) -> list[Path]:
    return sorted((root / "serving" / "lead-scoring").glob("[0-9]*"))


def examples(root: Path) -> Path:
    (folder,) = (root / "artifacts").glob("*/ColumnarExampleGen/examples/*")
    return folder


def test_the_run_pushes_a_model_and_shows_one_line_per_component(pushed: PushedRun) -> None:
    assert pushed.done.code == 0, pushed.done.output
    lines = [line for line in pushed.done.output.splitlines() if line.startswith(" ✓ ")]
    assert [line.split()[1] for line in lines if line.split()[1] in COMPONENTS] == list(COMPONENTS)
    assert "blessed" in pushed.done.output
    assert re.search(r"L\d{9}", pushed.done.output), "the pushed model answers a few leads by id"
    (version,) = versions(pushed.root)
    assert version.name.isdigit()
    assert str(version) in pushed.done.output.replace("\n", "")


def test_nothing_that_libraries_print_reaches_the_terminal(pushed: PushedRun) -> None:
    for noise in ("WARNING", "INFO:", "tensorflow/", "apache_beam", "Traceback"):
        assert noise not in pushed.done.output
    # The first run's; later tests run more there.
    log = min((pushed.root / "logs").glob("lead-scoring-*.log"))
    assert "Going to run a new execution" in log.read_text()


def test_immature_leads_are_left_out_and_counted(pushed: PushedRun) -> None:
    report = read_report(str(examples(pushed.root)))
    assert report.rows == 12_000
    assert report.immature > 0
    assert report.kept + report.immature == report.rows
    assert f"{report.immature:,} too young for a label" in pushed.done.output


def test_personal_data_is_in_no_artifact(pushed: PushedRun) -> None:
    import gzip

    header, first, *_ = pushed.leads.read_text().splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=False))
    needles = [row["email"].encode(), row["name"].encode(), row["phone"].encode()]
    read = 0
    for path in pushed.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            assert not any(needle in content for needle in needles), path
            read += 1
    assert read > 30


def test_the_version_carries_its_manifest_booster_and_warm_up(pushed: PushedRun) -> None:
    (version,) = versions(pushed.root)
    extra = version / "assets.extra"
    manifest = json.loads((extra / "manifest.json").read_text())
    assert manifest["model_type"] == "lead-scoring"
    assert re.fullmatch(r"[0-9a-f]{16}", manifest["configuration_hash"])
    assert manifest["dataset_version"] == read_report(str(examples(pushed.root))).dataset_version
    assert manifest["configuration"]["config"]["model"]["num_rounds"] == 60
    assert (extra / "booster.ubj").stat().st_size > 1000
    assert (extra / "tf_serving_warmup_requests").stat().st_size > 1000


def test_the_model_is_close_to_the_truth(pushed: PushedRun) -> None:
    (version,) = versions(pushed.root)
    quality = compare(version, examples(pushed.root) / "Split-test", pushed.truth, seed=3)
    assert quality.rows > 1900
    assert quality.auc_ratio > 0.93, quality
    assert quality.ece < 0.04, quality
    assert quality.covered > 0.5, quality


def test_the_server_sees_what_the_evaluator_saw(pushed: PushedRun) -> None:
    from modules.evaluation.verdict import read_verdict

    (evaluation,) = (pushed.root / "artifacts").glob("*/Evaluator/evaluation/*")
    (version,) = versions(pushed.root)
    quality = compare(version, examples(pushed.root) / "Split-test", pushed.truth, seed=3)
    verdict = read_verdict(evaluation)
    assert verdict.candidate["example_count"] == quality.rows
    assert np.isclose(verdict.candidate["auc"], quality.auc, atol=1e-4)


def test_a_second_identical_run_does_nothing(pushed: PushedRun) -> None:
    before = versions(pushed.root)
    again = run_pipeline(pushed.root, pushed.leads)
    assert again.code == 0, again.output
    assert "nothing to do" in again.output
    assert sum("cached" in line for line in again.output.splitlines()) >= len(COMPONENTS)
    assert versions(pushed.root) == before


def test_an_unblessed_model_is_never_pushed_and_the_run_says_which_threshold_failed(pushed: PushedRun) -> None:
    before = versions(pushed.root)
    done = run_pipeline(pushed.root, pushed.leads, "evaluation.min={auc: 0.999}", *BARE)
    assert done.code == 2, done.output
    assert re.search(r"auc 0\.\d+ < 0\.999 \(short by 0\.\d+\) overall", done.output)
    assert versions(pushed.root) == before


def test_a_model_that_is_not_better_than_the_blessed_one_is_not_pushed(pushed: PushedRun) -> None:
    before = versions(pushed.root)
    done = run_pipeline(pushed.root, pushed.leads, "model.num_rounds=2", *BARE)
    assert done.code == 2, done.output
    assert "auc improvement" in done.output
    assert "baseline" in done.output
    assert versions(pushed.root) == before


def test_a_model_that_is_too_slow_to_serve_is_not_pushed(pushed: PushedRun) -> None:
    before = versions(pushed.root)
    done = run_pipeline(pushed.root, pushed.leads, "infra.session={requests: 20, p99_ms: 0.001}")
    assert done.code == 2, done.output
    assert "does not serve" in done.output
    assert "latency" in done.output
    assert versions(pushed.root) == before


def test_materialized_examples_give_the_same_booster(pushed: PushedRun, tmp_path: Path) -> None:
    done = run_pipeline(tmp_path, pushed.leads, "transform.materialize=true", *BARE)
    assert done.code == 0, done.output
    (ours,), (theirs,) = versions(tmp_path), versions(pushed.root)
    booster = Path("assets.extra") / "booster.ubj"
    assert (ours / booster).read_bytes() == (theirs / booster).read_bytes()


def test_a_warm_start_continues_from_the_last_blessed_booster(pushed: PushedRun) -> None:
    before = versions(pushed.root)
    settings = ("model.warm_start=true", "model.num_rounds=5", "evaluation.change={auc: -1}", *BARE)
    done = run_pipeline(pushed.root, pushed.leads, *settings)
    assert done.code == 0, done.output
    (new,) = set(versions(pushed.root)) - set(before)
    first = json.loads((before[0] / "assets.extra" / "manifest.json").read_text())
    manifest = json.loads((new / "assets.extra" / "manifest.json").read_text())
    assert manifest["warm_start"]
    assert manifest["best_iteration"] > first["best_iteration"]


def test_bank_marketing_runs_without_duration(tmp_path: Path, shared_data: Path) -> None:
    settings = [*QUICK, f"dataset.files=['{shared_data}/bank_marketing/bank-additional-full.csv.gz']"]
    settings += ["evaluation.slices=[job]", *BARE]
    sets = [part for setting in settings for part in ("--set", setting)]
    done = aiqleads("run", CONFIG, "--dataset", "bank_marketing", "--root", str(tmp_path), *sets)
    assert done.code == 0, done.output
    report = read_report(str(examples(tmp_path)))
    assert report.rows == report.kept == 41_188
    assert sum(split.positives for split in report.splits.values()) == 4_640
    assert "duration" not in report.ignored_columns
    (version,) = (tmp_path / "serving" / "lead-scoring-bank-marketing").glob("[0-9]*")
    manifest = json.loads((version / "assets.extra" / "manifest.json").read_text())
    assert "duration" not in manifest["features"]
    assert len(manifest["features"]) == 19
