"""One Transform and one Trainer run through TFX's executors, shared by all tests of the lead-scoring model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modules.lead_scoring.settings import LeadScoringSettings
from tests.modules.sessions import GraphSession

ROWS = {"train": 3000, "validation": 800, "calibration": 1000, "test": 500}
SETTINGS = LeadScoringSettings(learning_rate=0.3, max_depth=3, num_rounds=40, early_stopping_rounds=5, nthread=2)


@dataclass(frozen=True)
class Trained:
    """Where everything lies, and the leads that were written."""

    examples: Path
    transform_graph: str
    model: Path
    run: Path
    leads: dict[str, Any]
    settings: LeadScoringSettings


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    import lead_table

    root = tmp_path_factory.mktemp("examples")
    return root, lead_table.write_examples(root / "data", ROWS)


@pytest.fixture(scope="session")
def trained(examples: tuple[Path, dict[str, Any]]) -> Trained:
    import lead_table

    from pipeline.components.transform_executor import Executor

    root, leads = examples
    graph = lead_table.run_transform(Executor, root / "data", root / "graph", SETTINGS)
    model = lead_table.run_trainer(root / "data", graph, root / "trainer", SETTINGS)
    return Trained(root / "data", graph, model, root / "trainer" / "run", leads, SETTINGS)


@pytest.fixture(scope="session")
def served(trained: Trained) -> Any:

    return GraphSession(trained.model)
