"""What `preprocessing_fn` and `run_fn` are told through TFX's `custom_config`, as a typed value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from modules.dataset import Dataset
from modules.errors import ConfigError
from modules.lead_scoring.settings import LeadScoringSettings


class ComponentConfig(BaseModel):
    """Dataset and model settings, two fields `dataset` and `model`; the model's settings have defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_custom_config(cls, custom_config: Mapping[str, Any] | None) -> Self:
        """Reads the JSON strings under `dataset` and `model` of a component's custom_config.

        Raises:
          ConfigError: `dataset` is absent.
        """
        found = custom_config or {}
        if "dataset" not in found:
            raise ConfigError(
                "custom_config needs 'dataset', the dataset file as JSON; received "
                f"{sorted(found) or 'nothing'}. Build it with {cls.__name__}.to_custom_config()."
            )
        return cls(
            **{
                name: field.annotation.model_validate_json(found[name])  # type: ignore[union-attr]
                for name, field in cls.model_fields.items()
                if found.get(name)
            }
        )

    def to_custom_config(self) -> dict[str, str]:
        """The inverse of `from_custom_config`, ready for Transform's and Trainer's `custom_config`."""
        return {name: getattr(self, name).model_dump_json() for name in type(self).model_fields}


class TransformConfig(ComponentConfig):
    """Dataset and model settings; together they decide every column of the transformed matrix."""

    dataset: Dataset
    model: LeadScoringSettings = LeadScoringSettings()
