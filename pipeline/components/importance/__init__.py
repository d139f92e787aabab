"""The importances: what matters to the candidate, by shuffling, by contributions and by gain."""

from pipeline.components.importance.component import Importance

__all__ = ["Importance"]
