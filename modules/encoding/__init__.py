"""How rows of the feature table become columns of the transformed matrix: one file per family of encoders.

The families are listed in modules/encoding/registry.py; each says what the analysis pass has to learn for its rows,
which columns it makes of them, and makes them in the graph.
"""
