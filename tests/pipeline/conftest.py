"""One pipeline run that many tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipeline.command import Done, aiqleads, run_pipeline


@dataclass(frozen=True)
class PushedRun:
    """A finished run: where it lies, what it read, and what it said."""

    root: Path
    leads: Path
    truth: Path
    done: Done


@pytest.fixture(scope="session")
def marketplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12,000 leads of the synthetic marketplace."""
    folder = tmp_path_factory.mktemp("marketplace")
    done = aiqleads("data", "generate", "--rows", "12000", "--seed", "3", "--out", str(folder))
    assert done.code == 0, done.output
    return folder


@pytest.fixture(scope="session")
def pushed(marketplace: Path, tmp_path_factory: pytest.TempPathFactory) -> PushedRun:
    """The whole pipeline, from CSV to a pushed model."""
    root = tmp_path_factory.mktemp("root")
    done = run_pipeline(root, marketplace / "leads.csv")
    return PushedRun(root, marketplace / "leads.csv", marketplace / "truth.csv", done)
