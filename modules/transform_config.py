"""What `preprocessing_fn` and `run_fn` are told through TFX's `custom_config`, as a typed value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from modules.dataset import Dataset
from modules.errors import ConfigError
from modules.lead_scoring.settings import LeadScoringSettings


class TransformConfig(BaseModel):
    """Dataset and model settings; together they decide every column of the transformed matrix."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Dataset
    model: LeadScoringSettings = LeadScoringSettings()

    @classmethod
    def from_custom_config(cls, custom_config: Mapping[str, Any] | None) -> TransformConfig:
        """Reads the JSON strings under `dataset` and `model` of a component's custom_config.

        Raises:
          ConfigError: `dataset` is absent.
        """
        found = custom_config or {}
        if "dataset" not in found:
            raise ConfigError(
                "custom_config needs 'dataset', the dataset file as JSON; received "
                f"{sorted(found) or 'nothing'}. Build it with TransformConfig.to_custom_config()."
            )
        model = found.get("model")
        return cls(
            dataset=Dataset.model_validate_json(found["dataset"]),
            model=LeadScoringSettings.model_validate_json(model) if model else LeadScoringSettings(),
        )

    def to_custom_config(self) -> dict[str, str]:
        """The inverse of `from_custom_config`, ready for Transform's and Trainer's `custom_config`."""
        return {"dataset": self.dataset.model_dump_json(), "model": self.model.model_dump_json()}
