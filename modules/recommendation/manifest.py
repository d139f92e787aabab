"""What a recommendation model says about itself, and the files that travel with it."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from modules import manifest
from modules.recommendation.layout import Layout

CALIBRATION = "calibration.json"


class Manifest(manifest.Manifest):
    """The facts of one training run.

    Attributes:
      rows: journeys (or windows of them) of train and validation, decisions of calibration.
      decisions: actions learned from or measured, by split.
      metrics: by split, name and value, see metrics.py; for calibration also the accuracy of the naive predictors, as
        `<name>_accuracy`.
      epochs, best_epoch: of each network: trained before training stopped; whose weights were kept, or how many the
        refit took.
      refit: whether the weights are those of a second training on training and validation part.
      parameters: numbers that training learned, of all networks.
      decisions_per_second: of training, without validation.
      dtype_policy, replicas: arithmetic of the training, and the number of devices that shared a batch.
      useless: features of the lead that tell the network nothing, and why (useless.py).
      layout: columns of the network's inputs; layout.actions is the order of the signature `distribution`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    decisions: dict[str, int]
    epochs: tuple[int, ...]
    best_epoch: tuple[int, ...]
    refit: bool
    parameters: int
    decisions_per_second: float
    dtype_policy: str
    replicas: int
    layout: Layout
    useless: dict[str, str] = Field(default_factory=dict)
