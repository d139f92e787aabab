"""What a trial of the recommendation model's settings is scored by: the journeys of the validation part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from modules import progress
from modules.errors import DataError
from modules.recommendation.devices import capabilities, plan, training_on
from modules.recommendation.fit import fit
from modules.recommendation.layout import Layout
from modules.recommendation.model import build_network
from modules.recommendation.read import read_sequences
from modules.recommendation.sequences import Sequences
from modules.recommendation.training_state import Epoch
from modules.recommendation.transform_layout import JourneyTransformConfig
from modules.recommendation.transform_layout import layout as layout_of
from modules.tuning.hyperparameters import overlay
from modules.tuning.objective import cores


@dataclass
class JourneyTrials:
    """See `modules.tuning.objective.Objective`. Each process reads the journeys for itself, once.

    Attributes:
      files: file patterns of raw tf.Examples by split: train and validation.
      transform_graph: uri of the Transform graph.
      config: dataset and configured settings, over which those of a trial are laid.
      metric: of the validation part, by its name in `modules.recommendation.training_state.Epoch`.
    """

    files: Mapping[str, list[str]]
    transform_graph: str
    config: JourneyTransformConfig
    metric: str
    validation: str = "the validation part"
    _read: tuple[Layout, Sequences, Sequences] | None = field(default=None, repr=False)

    @property
    def folds(self) -> int:
        return 1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": None}

    def use(self, threads: int) -> None:
        if threads >= cores():
            return
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        for gpu in tf.config.list_physical_devices("GPU"):  # its memory is shared with the other trials
            tf.config.experimental.set_memory_growth(gpu, True)

    def __call__(self, parameters: Mapping[str, Any], fold: int, step: Callable[[float], None]) -> float:
        """The metric of the epoch whose weights are kept; each epoch is a step.

        Raises:
          DataError: the metric cannot be measured on these journeys.
        """
        layout, train, validation = self._journeys()
        settings = overlay(self.config.model, parameters).model_copy(
            update={"ensemble": 1, "refit": False, "resume": False}
        )

        def on_epoch(epoch: Epoch) -> None:
            value = self._of(epoch)
            if math.isfinite(value):
                step(value)

        keras.backend.clear_session()
        keras.utils.set_random_seed(settings.seed)
        with training_on(plan(settings, capabilities())):
            fitted = fit(build_network(layout, settings), settings, train, validation, on_epoch=on_epoch)
        found = self._of(fitted.epochs[fitted.best_epoch - 1])
        if not math.isfinite(found):
            raise DataError(f"{self.metric} of the validation part is {found}: no journey there to measure it on")
        return found

    def _of(self, epoch: Epoch) -> float:
        return float(getattr(epoch, self.metric))

    def _journeys(self) -> tuple[Layout, Sequences, Sequences]:
        if self._read is None:
            output = tft.TFTransformOutput(self.transform_graph)
            layout = layout_of(self.config, output)
            parts = []
            for done, split in enumerate(("train", "validation")):
                progress.report(done, 2, f"reading {split}")
                parts.append(read_sequences(self.files[split], output, layout, causal=True))
            if not len(parts[1]):
                raise DataError("the validation split holds no journeys; raise model.validation_split")
            self._read = (layout, parts[0].with_beginnings(), parts[1])
        return self._read
