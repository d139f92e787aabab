"""`aiqleads report` on the shared runs of both models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.report.find import find_run
from pipeline.report.source import RunSource
from tests.pipeline.command import PushedRun, RecommendedRun, aiqleads
from tests.pipeline.report.chromium import Browser
from tests.pipeline.report.outline import Outline

LEAD_SECTIONS = [
    "summary", "data", "training", "curves", "thresholds", "slices", "importance", "selection", "cross-validation",
    "tuning", "blessing", "model-card", "lineage",
]  # fmt: skip
JOURNEY_SECTIONS = [
    "summary", "data", "training", "ranking", "conversion", "slices", "importance", "cross-validation", "tuning",
    "policy", "blessing", "model-card", "lineage",
]  # fmt: skip


@pytest.fixture(scope="module")
def lead_report(pushed: PushedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "lead.html"
    done = aiqleads("report", "--root", str(pushed.root), "--out", str(out))
    assert done.code == 0, done.output
    assert str(out) in done.output
    return out


@pytest.fixture(scope="module")
def journey_report(recommended: RecommendedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "journeys.html"
    done = aiqleads("report", "--root", str(recommended.root), "--out", str(out))
    assert done.code == 0, done.output
    return out


@pytest.mark.parametrize(("report", "sections"), [("lead_report", LEAD_SECTIONS), ("journey_report", JOURNEY_SECTIONS)])
def test_every_section_is_there_and_in_the_contents(report, sections, request):
    path = request.getfixturevalue(report)
    assert path.stat().st_size < 8_000_000
    outline = Outline(path.read_text())
    assert outline.sections == sections
    assert outline.links == ["#content", *(f"#{name}" for name in sections)]
    assert all(len(outline.text[name]) > 40 for name in sections)


def test_figures_are_those_of_the_evaluator(pushed: PushedRun, lead_report: Path):
    verdict = RunSource(find_run(pushed.root)).verdict
    text = Outline(lead_report.read_text()).text
    assert f"{verdict.candidate['auc']:.4f}" in text["summary"]
    for name in ("true_positives", "false_negatives"):
        assert f"{verdict.candidate[name]:,.0f}" in text["thresholds"]
    for part in verdict.slices:
        assert f"{part.examples:,}" in text["slices"]


def test_the_curves_end_where_the_evaluator_says(pushed: PushedRun):
    source = RunSource(find_run(pushed.root))
    metrics, bins = source.verdict.candidate, source.overall().bins
    assert bins.total == metrics["example_count"]
    assert bins.rate == pytest.approx(metrics["mean_label"])
    # A dozen leads of 2,000 share an interval.
    assert bins.auc() == pytest.approx(metrics["auc"], abs=0.002)
    found = bins.metric_interval("auc", metrics["auc"])
    assert found.low < metrics["auc"] < found.high


def test_what_a_run_does_not_have_is_said_in_a_line(lead_report: Path):
    text = Outline(lead_report.read_text()).text
    assert "set validation.folds" in text["cross-validation"]
    assert "set tuning" in text["tuning"]
    assert "set model.selection" in text["selection"]


def test_ids_names_and_addresses_of_leads_are_nowhere(pushed: PushedRun, lead_report: Path, journey_report: Path):
    import csv

    with open(pushed.leads, newline="") as file:
        rows = [row for _, row in zip(range(3000), csv.DictReader(file), strict=False)]
    personal = {row[c] for row in rows for c in ("lead_id", "email", "phone", "name") if len(row.get(c) or "") > 5}
    assert len(personal) > 3000
    for path in (lead_report, journey_report):
        page = path.read_text()
        page = page[: page.index("<script>")]  # plotly.js comes behind, and holds no data
        assert not [value for value in personal if value in page]


def test_lineage_names_every_step_behind_the_pushed_model(pushed: PushedRun, lead_report: Path):
    found = find_run(pushed.root)
    text = Outline(lead_report.read_text()).text["lineage"]
    for node in ("ColumnarExampleGen", "Transform", "Trainer", "Evaluator", "InfraCheck", "Pusher"):
        assert node in text
    assert found.run.version in text
    assert str(pushed.root) not in lead_report.read_text()


def test_a_run_is_found_by_version_and_by_time(pushed: PushedRun):
    found = find_run(pushed.root)
    assert found.servable == "lead-scoring" and found.run.finished
    assert find_run(pushed.root, "lead-scoring", found.run.version).run.id == found.run.id
    assert find_run(pushed.root, None, found.run.id[:16]).run.version == found.run.version


def test_the_default_path_is_named_after_the_version(pushed: PushedRun):
    done = aiqleads("report", "--root", str(pushed.root))
    path = pushed.root / "reports" / f"lead-scoring-{find_run(pushed.root).run.version}.html"
    assert done.code == 0 and path.is_file()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "12345"), "there is: lead-scoring"),
        (("--dataset", "aiqleads"), "belong to a model file"),
        (("configs/recommendation.yaml",), "expected ML Metadata"),
    ],
)
def test_a_run_that_is_not_there_is_said_to_be_so(pushed: PushedRun, arguments, said):
    done = aiqleads("report", *arguments, "--root", str(pushed.root))
    assert done.code == 4 and said in done.output and "Traceback" not in done.output


def test_no_run_at_all(tmp_path: Path):
    done = aiqleads("report", "--root", str(tmp_path))
    assert done.code == 4 and "run the pipeline first" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("report", ["lead_report", "journey_report"])
def test_a_browser_shows_every_section_and_asks_nobody(report, request, tmp_path):
    path = request.getfixturevalue(report)
    browser = Browser(tmp_path / "profile")
    try:
        for width, scheme in ((1300, "light"), (390, "dark")):
            browser.open(path, width=width, scheme=scheme)
            assert browser.problems() == []
            assert browser.requests() == [path.as_uri()]
            sizes = json.loads(
                browser.js(
                    "JSON.stringify([...document.querySelectorAll('section, section h2, figure.plot, .drawing')]"
                    ".map(e => [e.id || e.textContent.slice(0, 30), e.offsetWidth, e.offsetHeight]))"
                )
            )
            assert [size for size in sizes if size[1] < 40 or size[2] < 15] == []
            undrawn = browser.js(
                "[...document.querySelectorAll('.drawing')].filter(e => !e.querySelector('svg.main-svg')).map(e => "
                "e.id)"
            )
            assert undrawn == []
            assert browser.js("document.querySelectorAll('.drawing').length") >= 10
            assert browser.js("document.documentElement.scrollWidth") <= width
    finally:
        browser.close()


def test_help_is_quick_and_needs_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys; from pipeline.cli import main; main(['report', '--help']); "
        "print([m for m in ('plotly', 'tensorflow', 'ml_metadata', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert re.search("finished run", done.stdout)


def test_a_report_imports_neither_tensorflow_nor_beam(pushed: PushedRun, tmp_path: Path):
    import subprocess
    import sys

    code = (
        "import sys; from pipeline.cli import main; "
        f"main(['report', '--root', {str(pushed.root)!r}, '--out', {str(tmp_path / 'r.html')!r}]); "
        "print([m for m in ('tensorflow', 'apache_beam', 'tfx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]"), done.stdout
