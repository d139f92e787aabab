"""Versions swapped on a real server under constant load from several gRPC and REST clients."""

from __future__ import annotations

import pytest

from benchmarks import swap
from tests.serving.saved_models import half_plus

SWAPS, SECONDS = 20, 0.3
# A session that stayed would cost its parameters each time.
PARAMETERS_MB = swap.PARAMETERS * 4 / 2**20


@pytest.mark.slow
def test_swaps_under_load_fail_nothing_answer_nothing_wrong_and_keep_no_memory(tmp_path):
    even, odd = (swap.export(tmp_path, offset) for offset in swap.OFFSETS)
    result = swap.measure((even, odd), SWAPS, SECONDS)
    print(result)
    assert (result.failed, result.wrong, result.errors) == (0, 0, ())
    assert result.requests > 200
    assert result.loaded > SWAPS / 2
    assert result.rss_end_mb - result.rss_start_mb < PARAMETERS_MB * result.loaded / 3


@pytest.mark.slow
def test_an_answer_of_another_model_would_be_seen(tmp_path):
    """The measurement above can fail."""
    other = half_plus(tmp_path / "other", 1, b=7.0)
    result = swap.measure((other, other), 2, SECONDS)
    assert result.failed == 0
    assert result.wrong == result.requests > 0
