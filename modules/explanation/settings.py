"""Settings of the importances: the `importance` section of a model file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ImportanceSettings(BaseModel):
    """How much is looked at to say what matters; cost grows with rows x repeats x features."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: int = Field(default=2000, ge=10, description="most rows of the test part that are looked at")
    repeats: int = Field(default=3, ge=1, le=100, description="shuffles per feature")
    sample: int = Field(default=500, ge=0, description="most rows whose contributions are kept for plots")
    seed: int = Field(default=0, ge=0, description="of the sample and of the shuffles")
