"""Summaries of features from TFDV's own statistics of small tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

# Before TFDV: tfx puts a stand-in for tfx_bsl.arrow.sql_util (docs/stack.md).
from modules.statistics import StatisticsCombiner  # isort: skip
import pyarrow as pa

from modules.reporting.feature_statistics import LEAST_ROWS, DescribedColumn, summarize

NUMBER = DescribedColumn("visits", "numeric", "visits to the site")
WORD = DescribedColumn("source", "categorical")
TEXT = DescribedColumn("enquiry", "text")


def statistics_of(**columns):
    def array(values):
        kind = pa.float32() if isinstance(values[0], float) else pa.large_binary()
        return pa.array([None if v is None else [v] for v in values], pa.large_list(kind))

    arrays = {name: array(values) for name, values in columns.items()}
    combiner = StatisticsCombiner()
    accumulators = combiner.add(combiner.create(), pa.RecordBatch.from_pydict(arrays))
    return combiner.extract(accumulators).datasets[0]


@pytest.fixture(scope="module")
def summaries():
    visits = [float(i % 4) for i in range(80)]
    source = [b"portal"] * 50 + [b"social"] * 21 + [b"mum@home"] * (LEAST_ROWS - 1)
    train = statistics_of(visits=visits, source=source, enquiry=[b"call me on 555-0199"] * 60 + [None] * 20)
    test = statistics_of(visits=[1.0] * 30 + [3.0] * 10, source=[b"social"] * 40, enquiry=[b"hello"] * 40)
    found = summarize({"train": train, "test": test}, [NUMBER, WORD, TEXT])
    return {summary.name: summary for summary in found}


def test_whole_numbers_have_a_bin_each(summaries):
    visits = summaries["visits"]
    assert visits.edges == (-0.5, 0.5, 1.5, 2.5, 3.5)
    np.testing.assert_allclose(visits.shares["train"], [0.25] * 4, atol=0.02)
    np.testing.assert_allclose(visits.shares["test"], [0, 0.75, 0, 0.25], atol=0.02)
    train = visits.parts["train"]
    assert (train.rows, train.missing, train.mean, train.zeros) == (80, 0, 1.5, 0.25)
    assert train.deviation == pytest.approx(math.sqrt(1.25))


def test_words_that_few_rows_share_are_not_named(summaries):
    source = summaries["source"]
    assert source.labels == ("portal", "social")
    assert source.shares["train"] == pytest.approx((50 / 80, 21 / 80))
    assert source.shares["test"] == pytest.approx((0, 1))
    assert source.parts["train"].distinct == 3


def test_of_free_text_only_length_and_absence_are_told(summaries):
    enquiry = summaries["enquiry"]
    assert enquiry.labels == () and enquiry.shares is None
    assert enquiry.parts["train"].missing == 0.25 and enquiry.parts["train"].length == 19
    assert "555" not in repr(summaries)


def test_columns_that_the_statistics_do_not_know_are_left_out():
    assert summarize({"train": statistics_of(visits=[1.0, 2.0])}, [WORD]) == []


def test_a_constant_column_has_one_bin():
    found = summarize({"train": statistics_of(visits=[2.5] * 20)}, [NUMBER])[0]
    assert found.edges[0] < 2.5 < found.edges[-1] and sum(found.shares["train"]) == pytest.approx(1)
