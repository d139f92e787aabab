"""Two processes share the tests; those that look at the same pipeline run must not run it twice."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="a single process has no groups")
def test_tests_of_a_file_stay_together(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@test_groups")
