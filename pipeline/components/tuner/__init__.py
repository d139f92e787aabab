"""The search for settings that score better on held-out training rows."""

from pipeline.components.tuner.component import Tuner

__all__ = ["Tuner"]
