"""What a finished run leaves to say about overfitting, convergence and the sizes of its parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules.convergence import CheckSettings, Curves, EpochCheckSettings, Finding
from modules.curve_findings import findings, summary_line
from modules.errors import ConfigError
from modules.manifest import Manifest
from modules.sample_size import Bounds, Measured, calibration_findings, size_findings

if TYPE_CHECKING:
    from modules.evaluation.verdict import SliceMetrics, Verdict


@dataclass(frozen=True)
class Convergence:
    """How training went.

    Attributes:
      line: when the validation loss turned; empty without a validation part.
      findings: what is worth changing.
    """

    line: str = ""
    findings: tuple[Finding, ...] = ()

    def lines(self) -> list[str]:
        """For the summary: what went well in one line at most, then a line for each finding."""
        went_well = [f"converged  {self.line}"] if self.line and not self.findings else []
        return [*went_well, *(f"check      {finding.line()}" for finding in self.findings)]


def read_convergence(model_dir: str | Path, verdict: Verdict) -> Convergence:
    """Reads it from a SavedModel and what the Evaluator found, by the settings that the model was trained with.

    A model without curves (trained by an older version) is judged by the sizes of its parts alone.
    """
    from modules.evaluation.verdict import slice_text

    manifest = Manifest.load(model_dir)
    config = manifest.configuration.get("config", {})
    recommends = config.get("kind") == "recommendation"
    checks = (EpochCheckSettings if recommends else CheckSettings).model_validate(config.get("checks", {}))
    evaluation = config.get("evaluation", {})
    line = ""
    found: list[Finding] = []
    try:
        curves = Curves.read(model_dir)
    except ConfigError:
        pass
    else:
        lines = [text for training in curves.trainings if (text := summary_line(training))]
        line = lines[0] if len(lines) == 1 else "; ".join(f"network {k}: {text}" for k, text in enumerate(lines, 1))
        found += findings(curves, checks)
    if recommends:
        from modules.recommendation.manifest import Manifest as JourneyManifest
        from modules.recommendation.useless import useless_finding

        useless = useless_finding(JourneyManifest.load(model_dir).useless)
        found += [] if useless is None else [useless]
    whole = _measured("", verdict.overall)
    found += size_findings(
        whole,
        [_measured(slice_text(part.key), part) for part in verdict.slices if part.judged],
        _bounds(evaluation),
        _bounds(evaluation.get("per_slice", {})),
        checks,
    )
    calibration, rows = manifest.settings.get("calibration"), manifest.rows.get("calibration", 0)
    if calibration and rows and whole.positives + whole.negatives > 0:
        # Its share of converted leads is about that of the test part.
        positives = rows * whole.positives / (whole.positives + whole.negatives)
        found += calibration_findings(rows, positives, calibration["bins"], calibration["min_bin_rows"])
    return Convergence(line, tuple(found))


def _measured(name: str, part: SliceMetrics) -> Measured:
    metrics = part.candidate
    rows, rate = metrics.get("conversion_count"), metrics.get("conversion_rate", math.nan)
    if rows is None:
        rows, rate = metrics.get("example_count", 0.0), metrics.get("mean_label", math.nan)
    positives = 0.0 if math.isnan(rate) else rows * rate
    return Measured(name, metrics.get("example_count", 0.0), positives, rows - positives, metrics)


def _bounds(thresholds: Mapping[str, Any]) -> Bounds:
    return Bounds(*(thresholds.get(kind, {}) for kind in ("min", "max", "change")))
