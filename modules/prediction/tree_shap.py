"""Exact Shapley values of the trees for whole files: XGBoost's TreeSHAP on the matrix that the served graph makes.

The signature `explain` gives contributions along the way through each tree, in a fraction of a millisecond. TreeSHAP
(Lundberg et al. 2020) shares out every interaction fairly, and costs a thousand times as much; for a file it is worth
it. What a linear term in front of the trees contributes is exact as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from modules.errors import ConfigError
from modules.lead_scoring.manifest import BOOSTER, Manifest
from modules.manifest import EXTRA
from modules.native.protos import DataType
from modules.prediction.predictor import Predictor
from modules.prediction.versions import Endpoint, ModelVersion, read_signature

SIGNATURE = "matrix"
BIAS, MARGIN = "bias", "margin"


def column_of(feature: str) -> str:
    """Name of the column of the output that holds a raw feature's contribution."""
    return f"contribution_{feature}"


def explained_columns(model: ModelVersion) -> tuple[Endpoint, ...]:
    """The columns that explaining adds to the output, float32 each: one per raw feature, then bias and margin.

    Raises:
      ConfigError: the model is none of lead scoring, or has no signature `matrix`.
    """
    read_signature(model, SIGNATURE)
    names = [*map(column_of, Manifest.load(model.path).features), BIAS, MARGIN]
    return tuple(Endpoint(name, "", DataType.DT_FLOAT) for name in names)


class TreeShap:
    """Explains leads in columns; bias + all contributions of a lead = margin, its log-odds before calibration.

    Args:
      model: a published version of lead scoring.
      threads: of the graph and of XGBoost.
    """

    def __init__(self, model: ModelVersion, threads: int = 1) -> None:
        import xgboost as xgb

        manifest = Manifest.load(model.path)
        self._features = manifest.features
        signature = read_signature(model, SIGNATURE)
        self._matrix = Predictor(model.path, signature, threads, vectors=True)
        self._linear = any(endpoint.name == "linear" for endpoint in signature.outputs)
        self._booster = xgb.Booster({"nthread": threads}, model_file=str(model.path / EXTRA / BOOSTER))
        self._threads = threads
        # Columns made of two raw features share equally, as in `explain`.
        self._shares = np.zeros((len(manifest.columns), len(self._features)))
        for place, column in enumerate(manifest.columns):
            for name in column.raw:
                self._shares[place, self._features.index(name)] += 1 / len(column.raw)

    def __call__(self, columns: Mapping[str, pa.Array], rows: int) -> dict[str, np.ndarray]:
        """Contributions of some leads, as `explained_columns` names them.

        Args:
          columns: as `Predictor` takes them.
          rows: number of leads, 0 or more.

        Returns:
          float32 [rows] each.
        """
        import xgboost as xgb

        found = self._matrix(columns, rows)
        contributions = np.zeros((rows, len(self._features)))
        bias = np.zeros(rows)
        if rows:
            data = xgb.DMatrix(found["matrix"], nthread=self._threads)
            trees = self._booster.predict(data, pred_contribs=True, validate_features=False).astype(np.float64)
            if trees.shape != (rows, len(self._shares) + 1):
                raise ConfigError(
                    f"the booster answers {trees.shape[1] - 1} columns where the manifest has {len(self._shares)}; "
                    "the files of assets.extra do not belong to this model"
                )
            contributions += trees[:, :-1] @ self._shares
            bias += trees[:, -1]
        if self._linear:
            contributions += found["linear"]
            bias += found["linear_bias"]
        answer = {column_of(name): contributions[:, i] for i, name in enumerate(self._features)}
        answer |= {BIAS: bias, MARGIN: bias + contributions.sum(axis=1)}
        return {name: values.astype(np.float32) for name, values in answer.items()}
