"""Reading the values of a model out of TFMA's extracts, for one example or a batch of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_model_analysis import constants

from modules.errors import ConfigError, DataError
from modules.evaluation.aggregation import Source
from modules.evaluation.slices import coordinates

# Where `modules.evaluation.extractors` leaves statistics, keyed by model name, in place of single examples.
STATISTICS_KEY = "slice_statistics"


def model_values(extracts: Mapping[str, Any], source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels, predictions and weights of one model that predicts one number per example.

    Args:
      extracts: a TFMA extract, of one example or of a batch.
      source: the model; its `prediction_key` may be empty when it has only one output.

    Returns:
      Three arrays [n]; n is 1 for the extract of one example. Weights are None unless the source is weighted.

    Raises:
      DataError: an example without a label, prediction or weight, or with several.
      ConfigError: `prediction_key` names no output of the model.
    """
    predictions = _of_model(extracts, source, constants.PREDICTIONS_KEY)
    if isinstance(predictions, Mapping):
        predictions = _output(predictions, source.prediction_key)
    scores = _one_per_example(predictions, "prediction")
    labels = model_labels(extracts, source, scores.size)
    weights = None
    if source.weighted:
        weights = _one_per_example(_of_model(extracts, source, constants.EXAMPLE_WEIGHTS_KEY), "weight", scores.size)
    return labels, scores, weights


def model_labels(extracts: Mapping[str, Any], source: Source, size: int) -> np.ndarray:
    """Labels [size] of the examples.

    Raises:
      DataError: an example without a label, or with several.
    """
    return _one_per_example(_of_model(extracts, source, constants.LABELS_KEY), "label", size)


def model_matrix(extracts: Mapping[str, Any], source: Source, output: str) -> np.ndarray:
    """An output of the model that has several numbers per example: [n, k], n = 1 for the extract of one example.

    Raises:
      ConfigError: the model has no such output.
    """
    predictions = _of_model(extracts, source, constants.PREDICTIONS_KEY)
    if not isinstance(predictions, Mapping):
        predictions = {}
    value = np.asarray(_output(predictions, output))
    return value.reshape(-1, value.shape[-1])


def transformed_values(extracts: Mapping[str, Any], source: Source, name: str, size: int) -> np.ndarray:
    """What a preprocessing function of the model computed: [size], one value per example.

    Raises:
      ConfigError: no preprocessing function has this output.
      DataError: an example without a value, or with several.
    """
    transformed = _of_model(extracts, source, constants.TRANSFORMED_FEATURES_KEY) or {}
    if name not in transformed:
        raise ConfigError(
            f"The evaluation reads {name!r} from the model's preprocessing functions, but they have "
            f"{sorted(transformed)}. Name the signature that computes it in `preprocessing_function_names`."
        )
    return _one_per_example(transformed[name], name, size)


def raw_numbers(extracts: Mapping[str, Any], name: str, size: int) -> np.ndarray:
    """A raw feature of the examples: float64 [size], NaN where it is absent.

    Raises:
      DataError: an example has several values.
    """
    numbers = np.full(size, np.nan)
    value = (extracts.get(constants.FEATURES_KEY) or {}).get(name)
    if value is None:
        return numbers
    # Of a single example TFMA keeps no batch dimension.
    rows, values = coordinates(value) if size > 1 else (np.zeros(np.size(_dense(value)), np.int64), _dense(value))
    values = np.asarray(values, dtype=np.float64).ravel()
    present = ~np.isnan(values)
    rows, values = rows[present], values[present]
    if np.unique(rows).size != rows.size:
        raise DataError(f"Every example to evaluate may have one value of {name!r}, but some have several.")
    numbers[rows] = values
    return numbers


def _dense(value: Any) -> Any:
    # Columns with gaps arrive as TFMA's sparse or ragged values, whose `values` hold what is there.
    return getattr(value, "values", value)


def _of_model(extracts: Mapping[str, Any], source: Source, key: str) -> Any:
    value = extracts.get(key)
    return value.get(source.model_name) if source.nested and isinstance(value, Mapping) else value


def _output(predictions: Mapping[str, Any], name: str) -> Any:
    if name not in predictions:
        raise ConfigError(
            f"The evaluation reads the model's output {name!r}, but its signature has {sorted(predictions)}. Set the "
            "prediction key to one of these, or the signature to one that has it."
        )
    return predictions[name]


def _one_per_example(value: Any, what: str, size: int | None = None) -> np.ndarray:
    array = np.asarray(_dense(value)).ravel()
    missing = int(sum(item is None for item in array)) if array.dtype == object else 0
    expected = array.size if size is None else size
    if array.size != expected or missing:
        raise DataError(
            f"Every example to evaluate needs one {what}, but a batch of {expected} examples has "
            f"{array.size - missing}. Check that the examples carry the {what} and that its key is right."
        )
    return array
