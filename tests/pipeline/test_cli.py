"""The command line itself: quick, and clear about mistakes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config import PROJECT
from tests.pipeline.command import CONFIG, aiqleads

HEAVY = ("tensorflow", "tfx", "xgboost", "pandas", "pyarrow", "numpy", "apache_beam", "pydantic")


def test_importing_the_command_imports_nothing_heavy() -> None:
    code = f"import sys, pipeline.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip() == "[]"


def test_the_first_line_of_a_run_does_not_wait_for_tfx() -> None:
    code = "import sys, pipeline.console, pipeline.run; print([m for m in ('tensorflow', 'tfx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_in_under_half_a_second() -> None:
    def seconds() -> float:
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "--help"], capture_output=True, text=True, cwd=PROJECT, check=True
        )
        assert "aiqleads" in done.stdout or "Usage" in done.stdout
        return time.perf_counter() - begin

    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "Missing argument"),
        (["run", "configs/lead_scorin.yaml"], "no such file"),
        (["run", CONFIG, "--dataset", "nowhere"], "no file configs/datasets/nowhere.yaml"),
        (["run", CONFIG, "--set", "model.max_deph=3"], "did you mean 'max_depth'?"),
        (["run", CONFIG, "--set", "model.max_depth=99"], "less than or equal to 12; received 99"),
        (["run", CONFIG, "--set", "model.max_depth=deep"], "received 'deep'"),
        (["run", CONFIG, "--set", "max_depth"], "expected key=value"),
        (["run", CONFIG, "--set", "gate.drift=maybe"], "'stop', 'warn' or 'off'; received 'maybe'"),
        (["run", CONFIG, "--set", "evaluation.min={auk: 0.7}"], "did you mean 'auc'?"),
        (["run", CONFIG, "--set", "dataset.split.test=1.5"], "less than 1; received 1.5"),
        (["bench", "nothing"], "expected one of"),
        (["data", "generate", "--rows", "0", "--out", "x"], "Invalid value for '--rows'"),
        (["data", "generate", "--rows", "9", "--out", "x", "--start", "soon"], "expected a date as YYYY-MM-DD"),
        (["data", "generate", "--rows", "9", "--out", "x", "--drift", "agee:+1"], "age"),
        (["data", "generate", "--rows", "9", "--out", "x", "--faults", "nonsense=1"], "nonsense"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_mistake_on_the_command_line_exits_4_with_an_explanation(arguments: list[str], expected: str) -> None:
    done = aiqleads(*arguments)
    assert done.code == 4, done.output
    assert expected in done.output
    assert "Traceback" not in done.output


def test_a_root_that_cannot_be_written_exits_4(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = aiqleads("run", CONFIG, "--root", str(blocked / "root"))
    assert done.code == 4
    assert "cannot be written" in done.output


def test_generate_says_what_it_wrote(tmp_path: Path) -> None:
    done = aiqleads("data", "generate", "--rows", "300", "--seed", "1", "--out", str(tmp_path))
    assert done.code == 0
    assert "300 leads" in done.output
    assert {p.name for p in tmp_path.iterdir()} == {"leads.csv", "events.csv", "truth.csv", "truth_events.csv"}
