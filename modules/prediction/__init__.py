"""Batch prediction: leads of whole files through a published model, in columns."""
