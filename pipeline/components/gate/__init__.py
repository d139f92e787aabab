"""The data gate: stops the pipeline on schema anomalies and drift."""

from pipeline.components.gate.component import DataGate

__all__ = ["DataGate"]
