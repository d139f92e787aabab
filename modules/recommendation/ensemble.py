"""Training of the networks whose probabilities the model averages (averaging.py): alike but for their seeds."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras

from modules import progress
from modules.recommendation.checkpoints import fingerprint, load_finished, save_finished
from modules.recommendation.devices import Plan, training_on
from modules.recommendation.fit import fit
from modules.recommendation.layout import Layout
from modules.recommendation.model import build_network
from modules.recommendation.sequences import Sequences
from modules.recommendation.settings import RecommendationSettings
from modules.recommendation.training_state import Fitted

SEED_STEP = 1_000_000
"""Between the seeds of an ensemble's networks: ensembles with different seeds below it share no network."""


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network.

    Attributes:
      network: in float32, outside of any strategy.
      seed: it was trained with.
      fitted: how its training went.
    """

    network: keras.Model
    seed: int
    fitted: Fitted


def member_settings(settings: RecommendationSettings) -> tuple[RecommendationSettings, ...]:
    """Settings of each network. The first has the seed of the settings: it is the network of `ensemble: 1`."""
    return tuple(
        settings.model_copy(update={"ensemble": 1, "seed": settings.seed + SEED_STEP * index})
        for index in range(settings.ensemble)
    )


def train(
    layout: Layout,
    settings: RecommendationSettings,
    devices: Plan,
    learn: Sequences,
    validation: Sequences | None = None,
    *,
    checkpoint_dir: Path | None = None,
    tensorboard_dir: Path | str | None = None,
) -> tuple[Member, ...]:
    """Trains `settings.ensemble` networks one after another.

    Args:
      layout: of their inputs.
      settings: see fit.
      devices: where and with which arithmetic.
      learn, validation: see fit.
      checkpoint_dir: where the state of a killed run is found (`settings.resume`) and kept: networks that were trained
        are read, the others go on from their last epoch. The caller removes it when the model is written. With several
        networks each has a subfolder `network_<number>`, from 1.
      tensorboard_dir: for the curves, with subfolders likewise.
    """
    data = "" if checkpoint_dir is None else fingerprint(learn, validation)
    found = []
    for number, own in enumerate(member_settings(settings), 1):
        several = settings.ensemble > 1
        part = f"network_{number}" if several else ""
        folder = None if checkpoint_dir is None else checkpoint_dir / part
        # What is exported knows of no strategy and computes in float32.
        network = build_network(layout, own)
        fitted = None
        if folder is not None and settings.resume:
            fitted = load_finished(folder, data, network)
        if fitted is None:
            with progress.within(f"network {number} of {settings.ensemble}") if several else nullcontext():
                keras.utils.set_random_seed(own.seed)
                with training_on(devices):
                    trained = build_network(layout, own)
                    fitted = fit(
                        trained,
                        own,
                        learn,
                        validation,
                        checkpoint_dir=folder,
                        tensorboard_dir=None if not tensorboard_dir else Path(tensorboard_dir) / part,
                    )
            network.set_weights(trained.get_weights())
            if folder is not None:
                save_finished(folder, data, network, fitted)
        found.append(Member(network, own.seed, fitted))
    return tuple(found)
