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

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from modules.recommendation.training_state import CHECKPOINT, Checkpoint, Epoch, Fitted, State, fingerprint

Array = NDArray[Any]

GRADIENT_NORM = 1.0
"""Gradients longer than this are scaled down to it."""

EVALUATION_BATCH = 256


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
        checkpoint = Checkpoint(Path(checkpoint_dir) / CHECKPOINT, fingerprint(settings, train, validation))
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
        checkpoint: Checkpoint | None,
        tensorboard_dir: Path | str | None,
        state: State | None = None,
    ) -> None:
        self.network, self.settings, self.name, self.epochs = network, settings, name, epochs
        self.train, self.validation, self.checkpoint = train, validation, checkpoint
        self.tensorboard_dir = None if tensorboard_dir is None else Path(tensorboard_dir)
        self.state = (
            State()
            if state is None
            else State(stage=name, epochs=state.epochs, best_epoch=state.best_epoch, best_loss=state.best_loss)
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
        measured = {}
        if self.validation is not None:
            measured = {"validation": self.validation, "train": _as_many(self.train, self.validation, settings.seed)}
        feeds = {
            part: feed(
                journeys,
                settings,
                weight=np.ones(len(journeys), np.float32),
                batch=EVALUATION_BATCH,
                epochs=range(1),
                shuffle=False,
                causal=True,
            )
            for part, journeys in measured.items()
        }
        listener = _Epochs(self, learner, feeds, int(slots.astype(bool).sum()))
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

    def __init__(self, stage: _Stage, learner: Learner, feeds: dict[str, Feed], journeys: int) -> None:
        super().__init__()
        self.stage, self.learner, self.feeds, self.journeys = stage, learner, feeds, journeys
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
        found = {
            part: self.learner.evaluate(feed.dataset, steps=feed.steps, verbose=0, return_dict=True)
            for part, feed in self.feeds.items()
        }
        for variable, value in last:
            variable.assign(value)
        row = Epoch(epoch + 1, seconds, loss)
        if found:
            validation, train = found["validation"], found["train"]
            row = replace(
                row,
                action_loss=float(validation["action_loss"]),
                accuracy=float(validation["accuracy"]),
                conversion_loss=float(validation["conversion_loss"]),
                train_action_loss=float(train["action_loss"]),
            )
        self._tell(row)
        if stage.after_epoch(row, weights, self.learner.optimizer):
            self.learner.stop_training = True

    def _tell(self, row: Epoch) -> None:
        rate = self.journeys / max(row.seconds, 1e-9)
        text = f"{self.stage.name}: {rate:,.0f} journeys/s, loss {row.loss:.4f}"
        if self.feeds:
            text += f", validation loss {row.action_loss:.4f}, accuracy {row.accuracy:.4f}"
        progress.report(row.epoch, self.stage.epochs, text)
        if self.stage.tensorboard_dir is None:
            return
        parts = {"train": {"loss": row.loss, "journeys_per_s": rate}}
        if self.feeds:
            parts["train"]["action_loss"] = row.train_action_loss
            parts["validation"] = {name: getattr(row, name) for name in ("action_loss", "accuracy", "conversion_loss")}
        for part, values in parts.items():
            folder = part if self.stage.name == "train" else self.stage.name
            if folder not in self.writers:
                self.writers[folder] = tf.summary.create_file_writer(str(self.stage.tensorboard_dir / folder))
            with self.writers[folder].as_default(step=row.epoch):
                for name, value in values.items():
                    tf.summary.scalar(name, value)
            self.writers[folder].flush()


def _as_many(train: Sequences, validation: Sequences, seed: int) -> Sequences:
    """Random journeys of the training part, as many as the validation part has: what both lose can be compared."""
    if len(train) <= len(validation):
        return train
    return train.take(np.sort(np.random.default_rng(seed).choice(len(train), len(validation), replace=False)))


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
