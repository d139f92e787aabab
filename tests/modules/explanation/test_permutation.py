"""Permutation importance against models whose dependence is known."""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pytest

from modules.errors import DataError
from modules.explanation.permutation import Subject, worsening
from modules.explanation.report import FeatureImportance, ImportanceReport, Worsening
from modules.explanation.sample import decode, encode, first_values
from modules.explanation.shuffles import shuffle_rows


def shuffled(name: str, batch: pa.RecordBatch, random: np.random.Generator) -> pa.RecordBatch:
    return shuffle_rows(batch, name, random)


def test_only_what_the_model_reads_costs_anything() -> None:
    """The model says x; its error after shuffling x is that of a random pair: E|x - x'| of uniform 0-1 is 1/3."""
    random = np.random.default_rng(0)
    x, other = random.random((2, 2000))
    batch = pa.RecordBatch.from_arrays(
        [pa.array([[v] for v in column.astype(np.float32)], pa.large_list(pa.float32())) for column in (x, other)],
        names=["x", "other"],
    )

    def metrics_of(examples: list[bytes]) -> dict[str, float]:
        answer = np.array(first_values(decode(examples), "x"))
        return {"accuracy": float((np.abs(answer - x) < 1e-6).mean()), "log_loss": float(np.abs(answer - x).mean())}

    before = metrics_of(encode(batch))
    subjects = [
        Subject(name, functools.partial(lambda name, b, r: shuffle_rows(b, name, r), name)) for name in ("x", "other")
    ]
    lost = worsening(metrics_of, batch, before, subjects, repeats=4, seed=0)
    assert lost[1] == {name: Worsening(mean=0, deviation=0) for name in before}
    # Above 0 for both: accuracy falls, the loss rises.
    assert lost[0]["accuracy"].mean > 0.99
    assert lost[0]["log_loss"].mean == pytest.approx(1 / 3, abs=0.02)
    assert 0 < lost[0]["log_loss"].deviation < 0.02


def test_the_report_comes_back_from_its_file_and_names_the_strongest(tmp_path) -> None:
    def feature(name: str, mean: float) -> FeatureImportance:
        return FeatureImportance(name=name, permutation={"auc": Worsening(mean=mean, deviation=0.001)})

    report = ImportanceReport(
        model_type="lead-scoring", split="test", rows=9, sampled=9, repeats=3, seed=0, metrics={"auc": 0.8},
        ranked_by="auc", features=(feature("age", 0.0512), feature("job", 0.02), feature("zip", -0.001)),
    )  # fmt: skip
    report.write(tmp_path)
    assert ImportanceReport.read(tmp_path) == report
    assert report.lines() == ["strongest  age 0.051, job 0.020 (auc lost by shuffling)"]
    with pytest.raises(DataError, match="run the pipeline again"):
        ImportanceReport.read(tmp_path / "elsewhere")
