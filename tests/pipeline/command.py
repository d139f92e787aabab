"""Runs the `aiqleads` command inside the test process, which has TFX imported already."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli import main
from pipeline.config import PROJECT

CONFIG = str(PROJECT / "configs" / "lead_scoring.yaml")
RECOMMENDATION = str(PROJECT / "configs" / "recommendation.yaml")
QUICK = (
    "model.num_rounds=60",
    "model.learning_rate=0.1",
    "model.nthread=1",
    "evaluation.min={auc: 0.6}",
    "evaluation.max={}",
    "evaluation.per_slice={}",
    "evaluation.slices=[source]",
    "infra.session={requests: 50, p99_ms: 500}",
)
"""Settings that make a run of a few thousand leads quick; thresholds are those of a quick model."""

BARE = ("infra.kind=off", "importance=null")
"""For runs of which only the verdict matters."""

QUICK_RECOMMENDATION = (
    "model.embedding_dim=16",
    "model.hidden_layers=[32]",
    "model.epochs=3",
    "model.learning_rate=0.005",
    "evaluation.min={}",
    "evaluation.max={}",
    "evaluation.baseline_margin=-0.2",
    "infra.session={requests: 50, p99_ms: 500}",
)
"""The same for the recommendation model."""


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    output: str


@dataclass(frozen=True)
class PushedRun:
    """A finished run: where it lies, what it read, and what it said."""

    root: Path
    leads: Path
    truth: Path
    done: Done


@dataclass(frozen=True)
class RecommendedRun:
    """A finished run of the recommendation model: where it lies, the folder of the tables it read, what it said."""

    root: Path
    data: Path
    done: Done

    @property
    def events(self) -> Path:
        return self.data / "events.csv"

    @property
    def leads(self) -> Path:
        return self.data / "leads.csv"


def aiqleads(*arguments: str) -> Done:
    """Exit code, and everything that reached the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile("w+b") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        # Descriptors for what C++ and the command itself write, streams because pytest has replaced Python's.
        with open(os.dup(1), "w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                code = main(list(arguments))
            finally:
                out.flush()
                for descriptor, original in zip((1, 2), saved, strict=True):
                    os.dup2(original, descriptor)
                    os.close(original)
        file.seek(0)
        return Done(code, file.read().decode())


def run_pipeline(root: Path, leads: Path, *settings: str, options: tuple[str, ...] = ()) -> Done:
    """`aiqleads run` on a CSV file of the marketplace, quick settings first."""
    chosen = [*QUICK, f"dataset.files=['{leads}']", *settings]
    sets = [part for setting in chosen for part in ("--set", setting)]
    return aiqleads("run", CONFIG, "--root", str(root), *sets, *options)


def run_recommendation(root: Path, data: Path, *settings: str, options: tuple[str, ...] = ()) -> Done:
    """`aiqleads run` on the journeys of a folder of the marketplace, quick settings first."""
    files = (f"dataset.events.files=['{data / 'events.csv'}']", f"dataset.leads.files=['{data / 'leads.csv'}']")
    sets = [part for setting in (*QUICK_RECOMMENDATION, *files, *settings) for part in ("--set", setting)]
    return aiqleads("run", RECOMMENDATION, "--root", str(root), *sets, *options)
