"""The networks' loss curves in the form of modules/convergence.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modules.convergence import Curves, Training
from modules.recommendation.ensemble import Member
from modules.recommendation.settings import RecommendationSettings
from modules.recommendation.training_state import Epoch

LOSS = "action_loss"


def curves_of(members: Sequence[Member], settings: RecommendationSettings) -> Curves:
    """The curves of all networks, and of their refits, which have no validation part."""
    return Curves(trainings=tuple(training for member in members for training in _trainings(members, member, settings)))


def _trainings(members: Sequence[Member], member: Member, settings: RecommendationSettings) -> Iterator[Training]:
    name = "network" if len(members) == 1 else f"network {members.index(member) + 1}"
    fitted = member.fitted
    for suffix, epochs, steps in (("", fitted.epochs, settings.epochs), (", refit", fitted.refit, fitted.best_epoch)):
        if epochs:
            yield Training(
                name=name + suffix,
                unit="epoch",
                curves=_curves(epochs),
                loss=LOSS,
                watched=LOSS,
                steps=steps,
                used=len(epochs) if suffix else fitted.best_epoch,
                patience=None if suffix else settings.early_stopping_rounds,
                seconds=tuple(round(epoch.seconds, 3) for epoch in epochs),
                seed=member.seed,
            )


def _curves(epochs: Sequence[Epoch]) -> dict[str, dict[str, tuple[float | None, ...]]]:
    """What was measured at least once, by part and name."""
    columns = {
        "train": {"loss": [e.loss for e in epochs], LOSS: [e.train_action_loss for e in epochs]},
        "validation": {
            LOSS: [e.action_loss for e in epochs],
            "accuracy": [e.accuracy for e in epochs],
            "conversion_loss": [e.conversion_loss for e in epochs],
        },
    }
    # NaN is the only number that is not itself. What is missing everywhere was not measured.
    found: dict[str, dict[str, tuple[float | None, ...]]] = {
        part: {name: tuple(v) for name, v in values.items() if name == "loss" or any(x == x for x in v)}
        for part, values in columns.items()
    }
    return {part: values for part, values in found.items() if values}
