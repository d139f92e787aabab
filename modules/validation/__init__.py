"""Validation that needs more than one fit: folds, what they found, and bounds on it."""
