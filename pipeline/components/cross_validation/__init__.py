"""k-fold cross-validation of a model over everything but the test part."""

from pipeline.components.cross_validation.component import CrossValidation

__all__ = ["CrossValidation"]
