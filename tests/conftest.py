"""What many tests share: real datasets, and one pipeline run that many tests look at."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Two test processes share the cores: threads of XGBoost that spin while they wait slow each other down many times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tests.pipeline.command import PushedRun, RecommendedRun, aiqleads, run_pipeline, run_recommendation

# The same examples in every run, and no verdict on time: a test fails for what was changed, not by chance.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_traces_in_the_default_graph() -> Iterator[None]:
    """A preprocessing function that a test calls eagerly leaves tensors in collections of the process's default graph,
    where tensorflow-transform finds them the next time that it traces one (`schema_inference._get_schema_overrides`).
    """
    yield
    if "tensorflow" in sys.modules:
        graph = sys.modules["tensorflow"].compat.v1.get_default_graph()
        for collection in graph.get_all_collection_keys():
            graph.clear_collection(collection)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real datasets beside the checkout; not part of the project, so tests skip without it."""
    path = PROJECT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the real datasets in ../shared/data, which are not part of the project")
    return path


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


@pytest.fixture(scope="session")
def recommended(marketplace: Path, tmp_path_factory: pytest.TempPathFactory) -> RecommendedRun:
    """The whole pipeline of the recommendation model, from events to a pushed model."""
    root = tmp_path_factory.mktemp("recommendation")
    return RecommendedRun(root, marketplace, run_recommendation(root, marketplace))


@pytest.hookimpl(tryfirst=True)  # xdist's own hook, which reads the groups, would come first otherwise
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the tests: what looks at the shared pipeline runs goes to one, in order, the rest by file.

    These come first, and then what runs pipelines of its own: the longest jobs must not be left for the end.
    """
    runs = {item.path for item in items if {"pushed", "recommended"} & set(getattr(item, "fixturenames", ()))}

    def rank(item: pytest.Item) -> int:
        return 0 if item.path in runs else 1 if item.path.parent.name == "pipeline" else 2

    for item in items:
        item.add_marker(pytest.mark.xdist_group("pipeline" if item.path in runs else item.path.stem))
    items.sort(key=rank)
