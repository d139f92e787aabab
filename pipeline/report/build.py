"""The document of a run: which sections, in which order."""

from __future__ import annotations

from collections.abc import Callable

from modules.reporting.document import Document, Section
from modules.reporting.formats import moment
from pipeline.report.sections.blessing import blessing
from pipeline.report.sections.curves import curves, thresholds
from pipeline.report.sections.data import data
from pipeline.report.sections.importance import importance
from pipeline.report.sections.lineage import lineage
from pipeline.report.sections.model_card import model_card
from pipeline.report.sections.policy import policy
from pipeline.report.sections.ranking import conversion, ranking
from pipeline.report.sections.selection import selection
from pipeline.report.sections.slices import slices
from pipeline.report.sections.summary import summary
from pipeline.report.sections.training import training
from pipeline.report.sections.validation import cross_validation, tuning
from pipeline.report.source import RunSource

MakeSection = Callable[[RunSource], Section]

LEAD_SCORING: tuple[MakeSection, ...] = (
    summary, data, training, curves, thresholds, slices, importance, selection, cross_validation, tuning, blessing,
    model_card, lineage,
)  # fmt: skip
RECOMMENDATION: tuple[MakeSection, ...] = (
    summary, data, training, ranking, conversion, slices, importance, cross_validation, tuning, policy, blessing,
    model_card, lineage,
)  # fmt: skip


def build(source: RunSource) -> Document:
    """Every section of a run's model."""
    makers = RECOMMENDATION if source.recommends else LEAD_SCORING
    sections = tuple(make(source) for make in makers)
    version = f", version {source.run.version}" if source.run.version else ""
    return Document(
        title=f"{source.servable}{version}",
        subtitle=f"trained {moment(source.manifest.trained_at)} on {source.manifest.dataset}",
        sections=sections,
        facts={
            "run": source.run.id,
            "configuration": source.manifest.configuration_hash,
            "data": source.manifest.dataset_version,
        },
    )
