"""Demands on answers that rank actions, as pure functions over arrays. Each returns None or what is wrong.

Outputs: `actions` bytes [n, k], best first, b"" behind them where fewer are allowed; `probabilities` and `priorities`
float [n, k]; `next_best_action` bytes [n].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modules.serving_check import checks
from modules.serving_check.checks import Outputs

ACTIONS, PROBABILITIES, BEST = "actions", "probabilities", "next_best_action"

ROWS_PER_SWAP = 50
"""One row in so many, and one in any batch, may be ranked differently: values that differ in the last bit change
places."""


def difference_fault(a: Outputs, b: Outputs, tolerance: float, floats_only: bool = False) -> str | None:
    """As `checks.difference_fault`; where actions have changed places, each is compared with itself."""
    if ACTIONS not in a or ACTIONS not in b or a[ACTIONS].shape != b[ACTIONS].shape:
        return checks.difference_fault(a, b, tolerance, floats_only)
    moved = (a[ACTIONS] != b[ACTIONS]).any(axis=1)
    if moved.sum() > max(1, len(moved) // ROWS_PER_SWAP):
        return f"{ACTIONS}: {moved.sum()} of {len(moved)} rows are ranked differently"
    fault = checks.difference_fault(_rows(a, ~moved), _rows(b, ~moved), tolerance, floats_only)
    if fault:
        return fault
    left, right = _by_name(_rows(a, moved)), _by_name(_rows(b, moved))
    # At the end of the k best, one action may have pushed out another.
    same = (left[ACTIONS] == right[ACTIONS]).all(axis=1)
    return checks.difference_fault(_rows(left, same), _rows(right, same), tolerance, floats_only)


def order_fault(outputs: Outputs) -> str | None:
    """The best action is the first one, and entries without an action are empty and behind all others."""
    actions = outputs[ACTIONS]
    if BEST in outputs and actions.shape[1]:
        wrong = np.flatnonzero(outputs[BEST] != actions[:, 0])
        if len(wrong):
            row = wrong[0]
            return f"{BEST}: {outputs[BEST][row]!r} in row {row}, but the first action is {actions[row, 0]!r}"
    named = actions != b""
    if (named[:, 1:] & ~named[:, :-1]).any():
        return f"{ACTIONS}: an action behind an empty entry"
    for key in (PROBABILITIES, "priorities"):
        if key in outputs and np.any(outputs[key][~named] != 0):
            return f"{key}: not 0 where there is no action"
    return None


def allowed_fault(outputs: Outputs, allowed: Sequence[bytes], tolerance: float) -> str | None:
    """Each row recommends the one action it allows, certainly, and none if it allows b""."""
    expected = np.full(outputs[ACTIONS].shape, b"", object)
    expected[:, 0] = list(allowed)
    wrong = np.flatnonzero((outputs[ACTIONS] != expected).any(axis=1))
    if len(wrong):
        row = wrong[0]
        some = [name for name in outputs[ACTIONS][row] if name]
        return f"{ACTIONS}: allowed {allowed[row]!r}, received {some} in {len(wrong)} of {len(allowed)} rows"
    if PROBABILITIES in outputs:
        total = outputs[PROBABILITIES].sum(axis=1)
        return checks.array_fault(total, np.array([float(bool(a)) for a in allowed]), tolerance)
    return order_fault(outputs)


def sum_fault(values: np.ndarray, tolerance: float) -> str | None:
    """Rows [n, k] sum to one."""
    if not values.size:
        return None
    total = values.sum(axis=1, dtype=np.float64)
    worst = float(np.abs(total - 1).max())
    return None if worst <= tolerance else f"rows sum to {total.min():.6g} to {total.max():.6g}, expected 1"


def _rows(outputs: Outputs, chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {key: value[chosen] for key, value in outputs.items()}


def _by_name(outputs: Outputs) -> dict[str, np.ndarray]:
    """Actions in alphabetical order, with the values beside them; without the best one."""
    actions = outputs[ACTIONS]
    order = np.argsort(actions, axis=1, kind="stable") if actions.size else np.zeros(actions.shape, np.int64)
    return {
        key: np.take_along_axis(value, order, axis=1) if value.shape == actions.shape else value
        for key, value in outputs.items()
        if key != BEST
    }
