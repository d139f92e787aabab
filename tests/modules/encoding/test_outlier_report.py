from __future__ import annotations

import numpy as np

from modules.encoding.columns import TransformedFeature
from modules.encoding.report import OUTLIERS, ClippedFeature, OutlierReport, count_outliers

COLUMNS = (
    TransformedFeature("age", "age", "numeric", 0),
    TransformedFeature("income", "income", "numeric", 1),
    TransformedFeature("age#clipped", "age", "clipped", 2),
    TransformedFeature("income#clipped", "income", "clipped", 3),
)


def batch(*flags: tuple[int, int]) -> np.ndarray:
    return np.array([(np.nan, 5.0, *pair) for pair in flags], np.float32)


def test_flags_are_counted_over_all_batches_of_each_split():
    splits = {
        "train": [batch((1, 0), (0, 0)), batch((1, 1), (1, 0), (0, 0))],
        "calibration": [batch((0, 1), (0, 1))],
        "validation": [],
    }
    found = count_outliers(splits, COLUMNS)
    assert found.rows == {"train": 5, "calibration": 2, "validation": 0}
    assert found.features == (
        ClippedFeature(name="age", clipped={"train": 3, "calibration": 0, "validation": 0}),
        ClippedFeature(name="income", clipped={"train": 1, "calibration": 2, "validation": 0}),
    )
    assert found.shares(found.features[1]) == {"train": 0.2, "calibration": 1.0, "validation": 0.0}
    assert found.line() == (
        "clipped of the training rows: age 60.0 % (calibration 0.0 %), income 20.0 % (calibration 100.0 %)"
    )


def test_nothing_clipped_means_no_report_and_no_look_at_the_rows():
    def never():
        raise AssertionError("no row needs to be read")
        yield

    assert count_outliers({"train": never()}, COLUMNS[:2]) is None


def test_the_report_travels_with_the_model(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    assert OutlierReport.read(tmp_path) is None
    report = OutlierReport(rows={"train": 2}, features=(ClippedFeature(name="age", clipped={"train": 1}),))
    (tmp_path / "assets.extra" / OUTLIERS).write_text(report.model_dump_json())
    assert OutlierReport.read(tmp_path) == report and report.line() == "clipped of the training rows: age 50.0 %"
