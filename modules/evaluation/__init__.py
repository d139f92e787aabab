"""Evaluation through TFX's stock Evaluator: one fast metric per kind of model, its settings and its verdict."""
