"""Evaluation of binary classifiers through TFX's stock Evaluator: one fast metric, its settings and its verdict."""
