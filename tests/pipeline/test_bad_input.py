"""What happens to bad input, line by line: exit code, and what the person at the terminal is told."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import PROJECT
from tests.pipeline.command import BARE, CONFIG, QUICK, aiqleads, run_pipeline

pytestmark = pytest.mark.slow

BAD_DATA, GATE = 4, 3


def generate(folder: Path, *options: str, rows: int = 4000) -> Path:
    done = aiqleads("data", "generate", "--rows", str(rows), "--seed", "5", "--out", str(folder), *options)
    assert done.code == 0, done.output
    return folder / "leads.csv"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def curated(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to run in, with a curated schema of the clean table."""
    folder = tmp_path_factory.mktemp("curated")
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = aiqleads("schema", CONFIG, "--root", "root", "--save", "--set", f"dataset.files=['{clean}']")
    finally:
        os.chdir(before)
    assert done.code == 0, done.output
    assert (folder / "schema" / "aiqleads" / "schema.pbtxt").is_file()
    return folder


# --- files and columns -------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = run_pipeline(tmp_path / "root", tmp_path / "nowhere.csv")
    assert done.code == BAD_DATA, done.output
    assert "nowhere.csv" in done.output


@pytest.mark.parametrize("content", ["", "header"])
def test_an_empty_file_or_one_with_only_a_header_is_named(tmp_path: Path, clean: Path, content: str) -> None:
    table = tmp_path / "leads.csv"
    table.write_text(clean.read_text().split("\n", 1)[0] + "\n" if content else "")
    done = run_pipeline(tmp_path / "root", table)
    assert done.code == BAD_DATA, done.output
    assert "leads.csv" in done.output


def edit(clean: Path, target: Path, change: Callable[[list[str], list[list[str]]], list[list[str]]]) -> Path:
    with open(clean, newline="") as source:
        header, *rows = csv.reader(source)
    with open(target, "w", newline="") as out:
        csv.writer(out).writerows(change(header, rows))
    return target


def test_a_missing_label_column_is_named(tmp_path: Path, clean: Path) -> None:
    table = edit(clean, tmp_path / "leads.csv", lambda h, rows: [r[:-1] for r in [h, *rows]])
    done = run_pipeline(tmp_path / "root", table)
    assert done.code == BAD_DATA, done.output
    assert "converted" in done.output


def test_a_label_with_one_class_only_is_refused(tmp_path: Path, clean: Path) -> None:
    table = edit(clean, tmp_path / "leads.csv", lambda h, rows: [h, *([*r[:-1], "0"] for r in rows)])
    done = run_pipeline(tmp_path / "root", table)
    assert done.code == BAD_DATA, done.output
    assert "converted" in done.output


def test_a_missing_feature_column_is_named_with_the_nearest_there_is(tmp_path: Path, clean: Path) -> None:
    table = edit(
        clean,
        tmp_path / "leads.csv",
        lambda h, rows: [["mortgage_rates" if c == "mortgage_rate" else c for c in h], *rows],
    )
    done = run_pipeline(tmp_path / "root", table)
    assert done.code == BAD_DATA, done.output
    assert "mortgage_rate" in done.output
    assert "mortgage_rates" in done.output


def test_an_unknown_column_is_ignored_and_said_once(tmp_path: Path, clean: Path) -> None:
    table = edit(clean, tmp_path / "leads.csv", lambda h, rows: [[*h, "shoe_size"], *([*r, "42"] for r in rows)])
    done = run_pipeline(tmp_path / "root", table, *BARE)
    assert done.code in (0, 2), done.output
    assert done.output.count("shoe_size") == 1


# --- bad rows ----------------------------------------------------------------------------------------------------

FAULTS = "ragged=3,utf8=2,quote=1,text_in_number=visits:2,bad_date=2"


def test_bad_rows_are_quarantined_with_line_and_reason_and_the_run_goes_on(tmp_path: Path) -> None:
    table = generate(tmp_path / "data", "--faults", FAULTS)
    done = run_pipeline(tmp_path / "root", table, "dataset.max_bad_rows=0.02", *BARE)
    assert done.code in (0, 2), done.output
    assert "10 quarantined" in done.output
    (file,) = (tmp_path / "root" / "artifacts").rglob("quarantine*.jsonl")
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(entries) == 10
    assert all(e["line"] > 1 and e["reason"] and "leads.csv" in e["file"] for e in entries)


def test_too_many_bad_rows_stop_the_run(tmp_path: Path) -> None:
    table = generate(tmp_path / "data", "--faults", FAULTS)
    done = run_pipeline(tmp_path / "root", table)
    assert done.code == BAD_DATA, done.output
    assert "10" in done.output
    assert "max_bad_rows" in done.output
    assert not (tmp_path / "root" / "serving").exists()


# --- the gate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "column", "numbers"),
    [
        ("new_category=state:0.05", "state", "%"),
        ("missing=age:0.6", "age", "%"),
        ("out_of_range=age:0.02", "age", "%"),
    ],
)
def test_the_gate_stops_anomalies_with_column_and_numbers(
    tmp_path: Path, curated: Path, monkeypatch: pytest.MonkeyPatch, faults: str, column: str, numbers: str
) -> None:
    table = generate(tmp_path / "data", "--faults", faults)
    monkeypatch.chdir(curated)
    done = run_pipeline(tmp_path / "root", table)
    assert done.code == GATE, done.output
    (line, *_) = [text for text in done.output.splitlines() if text.strip().startswith(f"{column}:")]
    assert numbers in line
    assert "Transform" not in done.output
    assert not (tmp_path / "root" / "serving").exists()


def test_the_gate_stops_drift_from_the_last_accepted_run(
    tmp_path: Path, curated: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(curated)
    settings = ("model.num_rounds=5", *BARE)
    first = run_pipeline(tmp_path / "root", clean, *settings)
    assert first.code in (0, 2), first.output
    drifted = generate(tmp_path / "data", "--drift", "mortgage_rate:+2.0")
    done = run_pipeline(tmp_path / "root", drifted, *settings)
    assert done.code == GATE, done.output
    (line, *_) = [text for text in done.output.splitlines() if text.strip().startswith("mortgage_rate:")]
    assert "drift" in line
    assert "above 0.1" in line
    warned = run_pipeline(tmp_path / "root", drifted, *settings, "gate.drift=warn")
    assert warned.code in (0, 2), warned.output


# --- a machine that fails ----------------------------------------------------------------------------------------


def test_a_full_disk_leaves_no_half_version_and_the_next_run_continues(
    tmp_path: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipeline.components.pusher as pusher

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings = ("evaluation.min={}", "evaluation.change={}", *BARE)
    with monkeypatch.context() as patch:
        patch.setattr(pusher, "publish", full)
        done = run_pipeline(tmp_path / "root", clean, *settings)
    assert done.code == 1, done.output
    assert "no space left" in done.output
    assert not list((tmp_path / "root").glob("serving/*/[0-9]*"))
    again = run_pipeline(tmp_path / "root", clean, *settings)
    assert again.code == 0, again.output
    assert [line for line in again.output.splitlines() if "Trainer" in line and "cached" in line]
    assert len(list((tmp_path / "root").glob("serving/lead-scoring/[0-9]*"))) == 1


def test_a_killed_run_continues_where_it_stopped(tmp_path: Path, clean: Path) -> None:
    root = tmp_path / "root"
    settings = [*QUICK, f"dataset.files=['{clean}']", "evaluation.min={}", "evaluation.change={}", *BARE]
    command = [sys.executable, "-m", "pipeline.cli", "run", CONFIG, "--root", str(root)]
    command += [part for setting in settings for part in ("--set", setting)]
    log = tmp_path / "output"
    with open(log, "w") as out:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + 240
        while "Transform" not in log.read_text() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "Transform" in log.read_text(), log.read_text()
    assert "Pusher" not in log.read_text()
    again = run_pipeline(root, clean, "evaluation.min={}", "evaluation.change={}", *BARE)
    assert again.code == 0, again.output
    lines = {line.split()[1]: line for line in again.output.splitlines() if line.startswith(" ✓ ")}
    assert "cached" in lines["ColumnarExampleGen"]
    assert "cached" in lines["StatisticsGen"]
    assert "cached" in lines["Transform"]
    assert "cached" not in lines["Pusher"]
    (version,) = (root / "serving" / "lead-scoring").glob("[0-9]*")
    assert (version / "saved_model.pb").is_file()


def test_two_runs_of_one_model_under_one_root_are_refused(tmp_path: Path, clean: Path) -> None:
    import fcntl

    (tmp_path / "root").mkdir()
    with open(tmp_path / "root" / ".lead-scoring.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_pipeline(tmp_path / "root", clean)
    assert done.code == BAD_DATA
    assert "another run of lead-scoring" in done.output
