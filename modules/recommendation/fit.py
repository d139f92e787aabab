"""The training loop of the network.

    loss = sum over slots of w (CE(action_logits, action taken) + conversion_weight BCE(conversion_logits[action taken],
           outcome) + effect_penalty VAR(conversion_logits)) / answers of an average batch

over all slots of a batch that have an answer (see Sequences); the second and third term where the outcome is known. VAR
is the variance over the actions: a Gaussian prior that says actions differ little in their effect on conversion unless
the data say so, since a lead shows the effect of one action only. w is the product of the class's weight (first term
only) and the journey's recency weight 0.5 ^ (age / half-life), which is 1 on average over the training part. After each
epoch the loss of the actions on the validation part, without weights and label smoothing, decides which weights are
kept and when to stop.

Batches hold journeys of similar length, so that little is computed for padding. The divisor is the same for all of
them: divided by its own number of answers, a batch of short journeys would count as much as one of long journeys, and
how a journey goes on often depends on how long it becomes. With the same seed, settings and data
two trainings give the same weights, also when one of them was killed and resumed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from modules import progress
from modules.recommendation.batches import Feed, feed, seed_of
from modules.recommendation.loss import Learner, class_weights, recency_weights
from modules.recommendation.sequences import Sequences, concatenate
from modules.recommendation.settings import RecommendationSettings

Array = NDArray[Any]

GRADIENT_NORM = 1.0
"""Gradients longer than this are scaled down to it."""

EVALUATION_BATCH = 256
CHECKPOINT = "training.npz"


@dataclass(frozen=True)
class Epoch:
    """What happened in an epoch. Losses are means per answer; NaN where nothing was measured.

    Attributes:
      epoch: 1 for the first.
      seconds: of training, without validation.
      loss: of training, with weights, label smoothing and dropout.
      action_loss: cross entropy of the validation part.
      accuracy: share of the validation part's actions that are the likeliest one.
      conversion_loss: binary cross entropy of the validation part.
    """

    epoch: int
    seconds: float
    loss: float
    action_loss: float = math.nan
    accuracy: float = math.nan
    conversion_loss: float = math.nan


@dataclass(frozen=True)
class Fitted:
    """How a training went; the network itself holds the weights.

    Attributes:
      epochs: every epoch, in order, without the refit.
      best_epoch: the epoch whose weights were kept, or with `refit` the number of epochs trained again.
      refit: the epochs of the refit.
      seconds: of everything in this process.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    refit: tuple[Epoch, ...] = ()
    seconds: float = 0.0


def fit(
    network: keras.Model,
    settings: RecommendationSettings,
    train: Sequences,
    validation: Sequences | None = None,
    *,
    checkpoint_dir: Path | str | None = None,
    tensorboard_dir: Path | str | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fitted:
    """Trains a network in place.

    With several devices call it, and build_network before it, in the scope of the tf.distribute strategy; for mixed
    precision set Keras's dtype policy before build_network.

    Args:
      network: of build_network, with its first weights.
      settings: optimizer, loss, epochs, early stopping, refit, resume, seed.
      train: journeys to learn from.
      validation: journeys that stop the training; None or empty: all epochs are trained and the last weights kept.
      checkpoint_dir: where the state is kept after every epoch. With `settings.resume` a training that was killed
        goes on from there, if settings and data are the same; the file is removed at the end.
      tensorboard_dir: where the losses are written for TensorBoard, in `train/` and `validation/`.
      on_epoch: told about each epoch, without those of the refit; what it raises ends the training.
    """
    if len(train) == 0:
        raise ValueError("no journeys to train on")
    if validation is not None and len(validation) == 0:
        validation = None
    began = time.monotonic()
    checkpoint = None
    if checkpoint_dir is not None:
        checkpoint = _Checkpoint(Path(checkpoint_dir) / CHECKPOINT, _fingerprint(settings, train, validation))
        if not settings.resume:
            checkpoint.remove()
    first_weights = [np.array(variable) for variable in network.variables]

    stage = _Stage(network, settings, "train", train, validation, settings.epochs, checkpoint, tensorboard_dir)
    stage.on_epoch = on_epoch
    if checkpoint is None or checkpoint.stage() != "refit":
        stage.run()
    else:
        stage.state = checkpoint.load_history()
    found = stage.state
    again: tuple[Epoch, ...] = ()
    if settings.refit and validation is not None:
        for variable, value in zip(network.variables, first_weights, strict=True):
            variable.assign(value)
        both = concatenate([train, validation])
        second = _Stage(network, settings, "refit", both, None, found.best_epoch, checkpoint, tensorboard_dir, found)
        second.run()
        again = second.state.refit
    if checkpoint is not None:
        checkpoint.remove()
    return Fitted(found.epochs, found.best_epoch, again, time.monotonic() - began)


@dataclass
class _State:
    """What a checkpoint holds beside the variables."""

    stage: str = "train"
    done: int = 0
    epochs: tuple[Epoch, ...] = ()
    refit: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    best_loss: float = math.inf
    best: list[Array] = field(default_factory=list)


class _Stage:
    """Training on one set of journeys: of the training part, or again of training and validation part."""

    def __init__(
        self,
        network: keras.Model,
        settings: RecommendationSettings,
        name: str,
        train: Sequences,
        validation: Sequences | None,
        epochs: int,
        checkpoint: _Checkpoint | None,
        tensorboard_dir: Path | str | None,
        state: _State | None = None,
    ) -> None:
        self.network, self.settings, self.name, self.epochs = network, settings, name, epochs
        self.train, self.validation, self.checkpoint = train, validation, checkpoint
        self.tensorboard_dir = None if tensorboard_dir is None else Path(tensorboard_dir)
        self.state = (
            _State()
            if state is None
            else _State(stage=name, epochs=state.epochs, best_epoch=state.best_epoch, best_loss=state.best_loss)
        )

        self.on_epoch: Callable[[Epoch], None] | None = None

    def run(self) -> None:
        settings, network = self.settings, self.network
        answers = self.train.answers()
        slots = (answers >= 0).sum(axis=1)
        actions = network.output["action_logits"].shape[-1]
        weight = recency_weights(self.train.time, slots, settings.recency_half_life_days)

        def epochs_from(done: int) -> Feed:
            return feed(
                self.train,
                settings,
                weight=weight,
                batch=settings.batch_size,
                epochs=range(done, max(self.epochs, done + 1)),
                shuffle=True,
                causal=settings.causal,
            )

        steps = epochs_from(0).steps
        importance = class_weights(answers, actions, settings.class_weights)
        learner = Learner(network, settings, importance, max(int(slots.sum()), 1) / steps)
        learner.compile(optimizer=_optimizer(settings, steps))
        optimizer = learner.optimizer  # with float16 it is wrapped, to scale the loss
        optimizer.build(network.trainable_variables)
        if self.checkpoint is not None and self.checkpoint.stage() == self.name:
            self.state = self.checkpoint.load(network, optimizer)
        if self.state.done >= self.epochs or self._finished():
            self._keep_best()
            return
        data = epochs_from(self.state.done)
        validation = None
        if self.validation is not None:
            validation = feed(
                self.validation,
                settings,
                weight=np.ones(len(self.validation), np.float32),
                batch=EVALUATION_BATCH,
                epochs=range(1),
                shuffle=False,
                causal=True,
            )
        listener = _Epochs(self, learner, validation, int(slots.astype(bool).sum()))
        learner.fit(
            data.dataset,
            epochs=self.epochs,
            initial_epoch=self.state.done,
            steps_per_epoch=data.steps,
            verbose=0,
            shuffle=False,
            callbacks=[listener],
        )
        self._keep_best()

    def _finished(self) -> bool:
        patience = self.settings.early_stopping_rounds
        if self.validation is None or patience is None:
            return False
        return self.state.done - self.state.best_epoch >= patience

    def _keep_best(self) -> None:
        for variable, value in zip(self.network.variables, self.state.best, strict=True):
            variable.assign(value)

    def after_epoch(self, epoch: Epoch, weights: list[Array], optimizer: keras.optimizers.Optimizer) -> bool:
        """Keeps the epoch; says whether to stop."""
        state = self.state
        state.done = epoch.epoch
        if self.name == "refit":
            state.refit = (*state.refit, epoch)
            state.best = weights
        else:
            state.epochs = (*state.epochs, epoch)
            if self.validation is None or epoch.action_loss < state.best_loss:
                state.best_loss, state.best_epoch, state.best = epoch.action_loss, epoch.epoch, weights
            elif not state.best:  # every loss so far is NaN
                state.best, state.best_epoch = weights, epoch.epoch
        if self.checkpoint is not None:
            self.checkpoint.save(state, self.network, optimizer)
        if self.on_epoch is not None:
            self.on_epoch(epoch)
        return self._finished()


class _Epochs(keras.callbacks.Callback):
    """Before and after each epoch: seeds, validation with the averaged weights, checkpoint, progress, TensorBoard."""

    def __init__(self, stage: _Stage, learner: Learner, validation: Feed | None, journeys: int) -> None:
        super().__init__()
        self.stage, self.learner, self.validation, self.journeys = stage, learner, validation, journeys
        self.began = 0.0
        self.writers: dict[str, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        _reseed(self.stage.network, self.stage.settings.seed, epoch)
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        stage, network = self.stage, self.stage.network
        seconds = time.monotonic() - self.began
        loss = float((logs or {}).get("loss", math.nan))
        last = _averaged(network, self.learner.optimizer, stage.settings.weight_averaging)
        weights = [np.array(variable) for variable in network.variables]
        found = {}
        if self.validation is not None:
            found = self.learner.evaluate(
                self.validation.dataset, steps=self.validation.steps, verbose=0, return_dict=True
            )
        for variable, value in last:
            variable.assign(value)
        names = ("action_loss", "accuracy", "conversion_loss")
        row = Epoch(epoch + 1, seconds, loss, **{name: float(found[name]) for name in names if name in found})
        self._tell(row)
        if stage.after_epoch(row, weights, self.learner.optimizer):
            self.learner.stop_training = True

    def _tell(self, row: Epoch) -> None:
        rate = self.journeys / max(row.seconds, 1e-9)
        text = f"{self.stage.name}: {rate:,.0f} journeys/s, loss {row.loss:.4f}"
        if self.validation is not None:
            text += f", validation loss {row.action_loss:.4f}, accuracy {row.accuracy:.4f}"
        progress.report(row.epoch, self.stage.epochs, text)
        if self.stage.tensorboard_dir is None:
            return
        parts = {"train": {"loss": row.loss, "journeys_per_s": rate}}
        if self.validation is not None:
            parts["validation"] = {name: getattr(row, name) for name in ("action_loss", "accuracy", "conversion_loss")}
        for part, values in parts.items():
            folder = part if self.stage.name == "train" else self.stage.name
            if folder not in self.writers:
                self.writers[folder] = tf.summary.create_file_writer(str(self.stage.tensorboard_dir / folder))
            with self.writers[folder].as_default(step=row.epoch):
                for name, value in values.items():
                    tf.summary.scalar(name, value)
            self.writers[folder].flush()


def _averaged(network: keras.Model, optimizer: keras.optimizers.Optimizer, momentum: float) -> list[tuple[Any, Array]]:
    """Puts the averaged weights into the network; returns its variables with the values they had."""
    if not momentum:
        return []
    found = []
    averages = getattr(optimizer, "inner_optimizer", optimizer)._model_variables_moving_average
    for variable, average in zip(network.trainable_variables, averages, strict=True):
        found.append((variable, np.array(variable)))
        variable.assign(average)
    return found


def _optimizer(settings: RecommendationSettings, steps: int) -> keras.optimizers.Optimizer:
    rate: Any = settings.learning_rate
    if settings.learning_rate_decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
    average: dict[str, Any] = {}
    if settings.weight_averaging:
        average = {"use_ema": True, "ema_momentum": settings.weight_averaging}
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=settings.weight_decay, global_clipnorm=GRADIENT_NORM, **average
    )
    # Embeddings, biases and gains are no matrices that mix features.
    optimizer.exclude_from_weight_decay(var_names=["embed", "bias", "gamma", "beta"])
    return optimizer


def _reseed(network: keras.Model, seed: int, epoch: int) -> None:
    """Sets the states of dropout from seed and epoch, so that an epoch can be repeated."""
    for index, variable in enumerate(_seed_states(network)):
        variable.assign(np.array([seed_of(seed, "dropout", epoch, index), index], variable.dtype))


def _seed_states(network: keras.Model) -> Iterator[Any]:
    return (variable for variable in network.variables if "seed_generator_state" in variable.path)


# --- Checkpoints -----------------------------------------------------------------------------------------------------


def _fingerprint(settings: RecommendationSettings, train: Sequences, validation: Sequences | None) -> str:
    """Settings that decide the weights, and a digest of the data."""
    found = settings.model_dump(mode="json", exclude={"resume", "policy", "prefetch_buffer"})
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode())
    for part in (train, validation):
        if part is not None:
            digest.update(repr(part.event_codes.shape).encode())
            for values in (part.event_codes, part.next_action, part.length, part.time, part.outcome):
                digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


class _Checkpoint:
    """State of a training in one file that is replaced as a whole."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint

    def stage(self) -> str | None:
        """The stage the file belongs to; None without a file, or with one of another training."""
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
        except (OSError, ValueError, KeyError):
            return None
        return about["stage"] if about["fingerprint"] == self.fingerprint else None

    def save(self, state: _State, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        about = {
            "fingerprint": self.fingerprint,
            "stage": state.stage,
            "done": state.done,
            "epochs": [asdict(epoch) for epoch in state.epochs],
            "refit": [asdict(epoch) for epoch in state.refit],
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss,
        }
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
        groups: dict[str, list[Any]] = {
            "network": network.variables,
            "optimizer": optimizer.variables,
            "best": state.best,
        }
        for name, values in groups.items():
            arrays |= {f"{name}_{index:05d}": np.array(value) for index, value in enumerate(values)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.stem}.{os.getpid()}.part.npz")
        np.savez(part, **arrays)
        part.replace(self.path)

    def load(self, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> _State:
        """The state; variables are set."""
        with np.load(self.path, allow_pickle=False) as file:
            for name, variables in (("network", network.variables), ("optimizer", optimizer.variables)):
                for index, variable in enumerate(variables):
                    variable.assign(file[f"{name}_{index:05d}"])
            best = [file[name] for name in sorted(file.files) if name.startswith("best_")]
        state = self.load_history()
        state.best = best
        return state

    def load_history(self) -> _State:
        """The state without the weights."""
        with np.load(self.path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
        rows: Callable[[str], tuple[Epoch, ...]] = lambda name: tuple(Epoch(**row) for row in about[name])  # noqa: E731
        return _State(
            stage=about["stage"],
            done=about["done"],
            epochs=rows("epochs"),
            refit=rows("refit"),
            best_epoch=about["best_epoch"],
            best_loss=about["best_loss"],
        )

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
