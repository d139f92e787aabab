"""Rules and ranking for one request at a time, written down from their definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modules.journeys import names
from modules.recommendation.layout import ACTION
from modules.recommendation.settings import PolicySettings


def allowed_one(policy: PolicySettings, actions: Sequence[str], row: Mapping[str, Any]) -> list[bool]:
    """May each action be recommended? The row as journey_examples makes them, with bytes; None is absent."""
    words = [a.encode() for a in actions]
    history = list(row.get(names.HISTORY_ACTION) or [])

    def value(column: str, i: int) -> bytes:
        found = history if column == ACTION else list(row.get(names.history(column)) or [])
        return found[i] if i < len(found) else b""

    def holds(rule) -> bool:
        events = range(len(history))
        if rule.last_event_only:
            events = events[-1:]
        after = not rule.after or any(
            all(value(column, i).decode() in accepted for column, accepted in rule.after.items()) for i in events
        )
        return after and all((row.get(name) or b"").decode() in accepted for name, accepted in rule.where.items())

    requested = [a for a in row.get(names.ALLOWED_ACTIONS) or [] if a]
    forbidden = {action for rule in policy.rules if holds(rule) for action in rule.forbid}
    return [
        (not policy.allow or action in policy.allow)
        and action not in forbidden
        and (not requested or word in requested)
        for action, word in zip(actions, words, strict=True)
    ]


def renormalised(probability: Sequence[float], allowed: Sequence[bool]) -> list[float]:
    """Shares among the allowed actions, equal ones where all of these are 0; 0 for the others."""
    left = [p if ok else 0.0 for p, ok in zip(probability, allowed, strict=True)]
    if not any(left):
        left = [float(ok) for ok in allowed]
    return [p / max(sum(left), 1e-300) for p in left]


def rank_one(
    policy: PolicySettings, likelihood: Sequence[float], conversion: Sequence[float], allowed: Sequence[bool]
) -> list[tuple[int, float, float]]:
    """(class, likelihood, priority) of the allowed actions, best first; likelihoods as of `renormalised`."""
    left = [i for i, ok in enumerate(allowed) if ok]
    if policy.kind == "likelihood":
        order = sorted(left, key=lambda i: (-likelihood[i], i))
    elif policy.kind == "value":
        order = sorted(left, key=lambda i: (-conversion[i], i))
    else:
        promoted = sorted((i for i in left if likelihood[i] >= policy.floor), key=lambda i: (-conversion[i], i))
        rest = sorted((i for i in left if likelihood[i] < policy.floor), key=lambda i: (-likelihood[i], i))
        order = promoted + rest
    return [(i, likelihood[i], 100 * conversion[i]) for i in order][: policy.top_k]
