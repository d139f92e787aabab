"""Reading labels, predictions and weights out of TFMA's extracts, for one example or a batch of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_model_analysis import constants

from modules.errors import ConfigError, DataError

# Where `modules.evaluation.extractors` leaves histograms, keyed by model name, in place of single examples.
HISTOGRAMS_KEY = "binary_classification_histograms"


def model_values(
    extracts: Mapping[str, Any], model_name: str, prediction_key: str, multi_model: bool, example_weighted: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels, predictions and weights of one model.

    Args:
      extracts: a TFMA extract, of one example or of a batch.
      model_name: name of the ModelSpec.
      prediction_key: which output of the model to read; may be empty when it has only one.
      multi_model: whether several models are evaluated, which nests the extracts by model name.
      example_weighted: whether to read weights.

    Returns:
      Three arrays [n]; n is 1 for the extract of one example. Weights are None unless `example_weighted`.

    Raises:
      DataError: an example without a label, prediction or weight, or with several.
      ConfigError: `prediction_key` names no output of the model.
    """

    def of_model(key: str) -> Any:
        value = extracts.get(key)
        return value.get(model_name) if multi_model and isinstance(value, Mapping) else value

    predictions = of_model(constants.PREDICTIONS_KEY)
    if isinstance(predictions, Mapping):
        if prediction_key not in predictions:
            raise ConfigError(
                f"The evaluation reads the model's output {prediction_key!r}, but its signature has "
                f"{sorted(predictions)}. Set the prediction key to one of these."
            )
        predictions = predictions[prediction_key]
    scores = _one_per_example(predictions, "prediction")
    labels = _one_per_example(of_model(constants.LABELS_KEY), "label", scores.size)
    weights = None
    if example_weighted:
        weights = _one_per_example(of_model(constants.EXAMPLE_WEIGHTS_KEY), "weight", scores.size)
    return labels, scores, weights


def _one_per_example(value: Any, what: str, size: int | None = None) -> np.ndarray:
    # Columns with gaps arrive as TFMA's sparse or ragged values, whose `values` hold what is there.
    array = np.asarray(getattr(value, "values", value)).ravel()
    missing = int(sum(item is None for item in array)) if array.dtype == object else 0
    expected = array.size if size is None else size
    if array.size != expected or missing:
        raise DataError(
            f"Every example to evaluate needs one {what}, but a batch of {expected} examples has "
            f"{array.size - missing}. Check that the examples carry the {what} and that its key is right."
        )
    return array
