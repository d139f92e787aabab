"""What the Trainer takes from the Tuner: keras_tuner's HyperParameters, laid over the configured settings."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modules.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)


def values_of(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of a HyperParameters config as TFX's Trainer hands it over; none without one.

    Raises:
      ConfigError: it is no such config.
    """
    if config is None:
        return {}
    values = config.get("values")
    if not isinstance(values, Mapping):
        raise ConfigError(
            "hyperparameters: expected the configuration of keras_tuner.HyperParameters, with `space` and `values`; "
            f"received {', '.join(config) or 'an empty one'}"
        )
    return dict(values)


def tuned(settings: Settings, config: Mapping[str, Any] | None) -> tuple[Settings, dict[str, Any]]:
    """Settings with those of the Tuner laid over, and the latter as the settings spell them.

    Args:
      settings: the configured ones.
      config: `fn_args.hyperparameters`, or None.

    Raises:
      ConfigError: see `values_of` and `overlay`.
    """
    values = values_of(config)
    effective = overlay(settings, values)
    spelled = effective.model_dump(mode="json")
    return effective, {name: spelled[name] for name in values}


def overlay(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Settings with some values replaced; text that is none of the setting's values is read as JSON.

    Raises:
      ConfigError: a name that is no setting, or a value that it does not take.
    """
    kind = type(settings)
    for name in values:
        if name not in kind.model_fields:
            near = difflib.get_close_matches(name, kind.model_fields, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(kind.model_fields)}"
            raise ConfigError(f"hyperparameters: {kind.__name__} has no setting {name!r}; {hint}")
    found = settings.model_dump() | dict(values)
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        # As choices of keras_tuner hold no lists and no null, these come as JSON text.
        wrong = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
        for name in wrong & values.keys():
            if isinstance(values[name], str):
                found[name] = _json(values[name])
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or kind.__name__
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"hyperparameters: {name}: {message}; received {dict(values)}") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
