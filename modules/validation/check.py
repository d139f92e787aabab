"""Whether a dataset has what its folds are cut by."""

from __future__ import annotations

import difflib

from modules.dataset import Dataset
from modules.errors import ConfigError
from modules.validation.settings import ValidationSettings


def check_dataset(settings: ValidationSettings, dataset: Dataset) -> None:
    """Checks settings against the dataset file, before anything runs.

    Raises:
      ConfigError: folds by time without a time column, or by a group that the examples do not carry.
    """
    if settings.folds is None:
        return
    if settings.method == "time" and dataset.time_feature is None:
        raise ConfigError(
            f"validation.method: time needs `time` in the dataset file of {dataset.name!r}; add it, or take random, "
            "stratified or group"
        )
    if settings.group is not None:
        hashed = [p.name or p.column for p in dataset.personal_data if p.action == "hash"]
        known = [dataset.id_feature, *(f.name for f in dataset.features), *hashed]
        if settings.group not in known:
            near = difflib.get_close_matches(settings.group, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise ConfigError(
                f"validation.group: expected a feature of dataset {dataset.name!r}, its id or a hashed column; "
                f"received {settings.group!r}; {hint}"
            )
