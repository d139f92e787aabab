"""Off-policy estimators: numbers a person can check, and what must hold for any log."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import DataError
from modules.off_policy.decisions import Decisions
from modules.off_policy.estimators import ESTIMATORS, bootstrap_standard_errors, estimate

Case = tuple[Decisions, np.ndarray, np.ndarray]

# Three leads, four decisions, two actions. The new policy always takes action 1.
LOG = Decisions.of(
    outcome=[1, 1, 0, 0],
    propensity=[0.5, 0.25, 0.5, 0.8],
    action=[1, 1, 1, 0],
    policy=[[0, 1]] * 4,
    conversion=[[0.1, 0.5], [0.2, 0.6], [0.3, 0.4], [0.1, 0.3]],
    lead=[7, 7, 3, 5],
)


def test_every_estimate_by_hand() -> None:
    # w = 2, 4, 2, 0; q_hat of action 1 = .5, .6, .4, .3; w (y - q_hat) = 1, 1.6, -0.8, 0
    found = estimate(LOG)
    assert (found.decisions, found.leads) == (4, 3)
    assert found.logging.value == pytest.approx(0.5)
    values = {name: found.estimates[name].value.value for name in ESTIMATORS}
    assert values == pytest.approx(
        {"ips": 6 / 4, "snips": 6 / 8, "dm": 1.8 / 4, "dr": (1.8 + 1.8) / 4, "sndr": 1.8 / 4 + 1.8 / 8}
    )
    assert found.estimates["dr"].uplift.value == pytest.approx(0.4)
    assert found.estimates["dr"].relative.value == pytest.approx(0.8)
    weights = found.weights
    assert weights.mean.value == pytest.approx(2)
    assert weights.effective_sample == pytest.approx(64 / 24)
    assert (weights.largest, weights.matched, weights.agreement) == (4, 3, 0.75)
    assert (weights.cut, weights.bias_bound) == (0, 0)


def test_standard_errors_by_hand_are_sums_over_leads_not_over_decisions() -> None:
    found = estimate(LOG)
    # mean y = 0.5: leads 7, 3, 5 sum to 2 * 0.5, -0.5, -0.5 around it; / 4 decisions, * 3 / 2 for three leads.
    assert found.logging.standard_error == pytest.approx(math.sqrt(1.5 * (1 + 0.25 + 0.25)) / 4)
    # snips = 0.75: w (y - 0.75) = 0.5, 1 | -1.5 | 0; / sum w = 8.
    assert found.estimates["snips"].value.standard_error == pytest.approx(math.sqrt(1.5 * (1.5**2 + 1.5**2)) / 8)
    # dr = 0.9: v + w (y - q_hat) - 0.9 = 0.6, 1.3 | -1.3 | -0.6; uplift takes y - 0.5 away: 0.1, 0.8 | -0.8 | -0.1.
    dr = found.estimates["dr"]
    assert dr.value.standard_error == pytest.approx(math.sqrt(1.5 * (1.9**2 + 1.3**2 + 0.6**2)) / 4)
    assert dr.uplift.standard_error == pytest.approx(math.sqrt(1.5 * (0.9**2 + 0.8**2 + 0.1**2)) / 4)
    # relative: (psi_dr - 1.8 psi_logging) / 0.5, psi_logging = 1 | -0.5 | -0.5.
    assert dr.relative.standard_error == pytest.approx(math.sqrt(1.5 * (0.1**2 + 0.4**2 + 0.3**2)) / 4 / 0.5)


def test_the_interval_is_students_with_the_degrees_of_freedom_of_the_influences() -> None:
    # psi^2 of mean y is in proportion 4 : 1 : 1: df = 2 * 36 / (18 - 12) = 12, but three leads allow 2; t(2, 97.5 %).
    found = estimate(LOG).logging
    assert found.high - found.value == pytest.approx(4.302653 * found.standard_error, rel=1e-6)
    assert found.low + found.high == pytest.approx(2 * found.value)
    # One lead of 50 has 98 % of the squares (0.49^2 against 49 times 0.01^2): df = 2 / (0.98^2 - 1 / 50) = 2.13.
    one = Decisions.of([0] * 50, [0.5] * 50, [0] * 50, [[1.0]] * 50, [[0.5]] * 49 + [[1.0]], range(50))
    dm = estimate(one).estimates["dm"].value
    assert dm.high - dm.value == pytest.approx(4.0660 * dm.standard_error, rel=1e-4)


def test_cutting_weights_says_how_much_bias_it_can_cause() -> None:
    found = estimate(LOG, max_weight=2)
    assert found.max_weight == 2
    assert found.estimates["ips"].value.value == pytest.approx(4 / 4)
    assert (found.weights.largest, found.weights.cut, found.weights.bias_bound) == (2, 0.25, 0.5)
    assert found.weights.mean.value == pytest.approx(2), (
        "the check of the propensities looks at the weights as they are"
    )
    assert estimate(LOG, max_weight=100).estimates == estimate(LOG).estimates


def test_a_policy_that_never_does_what_was_done_leaves_only_the_model() -> None:
    other = Decisions.of([1, 0], [0.5, 0.5], [1, 1], [[1, 0]] * 2, [[0.25, 0.5]] * 2, [0, 1])
    found = estimate(other)
    assert found.estimates["dm"].value.value == 0.25
    for name in ("ips", "snips", "dr", "sndr"):
        assert math.isnan(found.estimates[name].value.value), name
        assert math.isnan(found.estimates[name].value.standard_error), name
    assert found.weights.effective_sample == 0
    assert found.warnings == (
        "the new policy never chose what was done: the log says nothing about it, only the model does",
    )


def test_one_lead_alone_has_no_standard_error() -> None:
    found = estimate(Decisions.of([1, 1], [0.5, 0.5], [0, 1], [[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2, [4, 4]))
    assert found.logging.value == 1
    assert math.isnan(found.logging.standard_error) and math.isnan(found.logging.low)


@st.composite
def logs(draw: st.DrawFn) -> Case:
    """A log of 2 to 40 decisions of 2 to 8 leads with its policy and action."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, actions = draw(st.integers(4, 40)), draw(st.integers(2, 5))
    lead = np.concatenate([[0, 1], rng.integers(0, 8, n - 2)])
    outcome = rng.integers(0, 2, 8)[lead]
    action = rng.integers(0, actions, n)
    policy = rng.dirichlet(np.ones(actions), n)
    conversion = rng.random((n, actions))
    log = Decisions.of(outcome, rng.uniform(0.05, 1, n), action, policy, conversion, lead)
    return log, policy, action


@given(logs())
def test_the_logging_policy_itself_is_worth_the_mean_outcome(case: Case) -> None:
    log, policy, action = case
    same = np.take_along_axis(policy, action[:, None], axis=1)[:, 0]
    on_policy = replace(log, propensity=same, new_propensity=same)
    found = estimate(on_policy)
    for name in ("ips", "snips"):
        assert found.estimates[name].value.value == pytest.approx(log.outcome.mean())
        assert found.estimates[name].uplift.standard_error == pytest.approx(0, abs=1e-9)
    assert found.weights.effective_sample == pytest.approx(len(log))


@given(logs(), st.floats(0.1, 1))
def test_self_normalised_estimates_do_not_see_a_common_factor_of_the_propensities(case: Case, factor: float) -> None:
    log = case[0]
    scaled = replace(log, propensity=factor * log.propensity)
    before, after = estimate(log), estimate(scaled)
    for name in ("snips", "sndr"):
        assert after.estimates[name].value.value == pytest.approx(before.estimates[name].value.value)
        assert after.estimates[name].value.standard_error == pytest.approx(
            before.estimates[name].value.standard_error, abs=1e-9
        )
    assert after.estimates["ips"].value.value == pytest.approx(before.estimates["ips"].value.value / factor)


@given(logs(), st.integers(2, 4))
def test_repeating_every_decision_of_a_lead_adds_no_certainty(case: Case, times: int) -> None:
    log = case[0]
    before, after = estimate(log), estimate(log[np.repeat(np.arange(len(log)), times)])
    for name in ESTIMATORS:
        one, many = before.estimates[name], after.estimates[name]
        assert many.value.standard_error == pytest.approx(one.value.standard_error, abs=1e-9)
        assert many.uplift.high == pytest.approx(one.uplift.high, abs=1e-9)


@given(logs(), st.randoms(use_true_random=False))
def test_order_of_decisions_and_numbers_of_leads_do_not_matter(case: Case, random: object) -> None:
    log = case[0]
    order = np.arange(len(log))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = log[order]
    renamed = replace(shuffled, lead=np.array([2**60, -5, 3, 99, 1, 0, 17, -(2**61)])[shuffled.lead])
    one, other = estimate(log), estimate(renamed)
    for name in ESTIMATORS:
        assert other.estimates[name].relative.low == pytest.approx(
            one.estimates[name].relative.low, rel=1e-6, nan_ok=True
        )


@given(logs())
def test_a_perfect_model_needs_no_log(case: Case) -> None:
    log = case[0]
    perfect = replace(log, model_taken=log.outcome)
    found = estimate(perfect)
    for name in ("dr", "sndr"):
        assert found.estimates[name].value.value == pytest.approx(found.estimates["dm"].value.value)
        assert found.estimates[name].value.high == pytest.approx(found.estimates["dm"].value.high)


def _large_log(seed: int) -> Decisions:
    """600 leads of 1 to 6 decisions with one outcome each, three actions."""
    rng = np.random.default_rng(seed)
    lead = np.repeat(np.arange(600), rng.integers(1, 7, 600))
    logging = rng.dirichlet([2, 2, 2], len(lead))
    action = (rng.random(len(lead))[:, None] > logging.cumsum(axis=1)).sum(axis=1)
    outcome = (rng.random(600) < rng.beta(1, 3, 600))[lead]
    mu = np.take_along_axis(logging, action[:, None], axis=1)[:, 0]
    return Decisions.of(
        outcome, mu, action, rng.dirichlet([1, 1, 1], len(lead)), rng.uniform(0, 0.5, (len(lead), 3)), lead
    )


def test_the_formula_agrees_with_drawing_leads_again() -> None:
    log = _large_log(1)
    found, drawn = estimate(log), bootstrap_standard_errors(log, repeats=2000, seed=2)
    assert drawn["logging"] == pytest.approx(found.logging.standard_error, rel=0.08)
    for name in ESTIMATORS:
        assert drawn[name] == pytest.approx(found.estimates[name].value.standard_error, rel=0.08), name
        assert drawn[f"uplift_{name}"] == pytest.approx(found.estimates[name].uplift.standard_error, rel=0.08), name
    # Decisions of a lead share its outcome: as if they did not, the error would be far too small.
    alone = replace(log, lead=np.arange(len(log)))
    assert estimate(alone).logging.standard_error < 0.6 * found.logging.standard_error


def test_right_propensities_raise_no_warning_and_wrong_or_few_ones_do() -> None:
    log = _large_log(3)
    assert estimate(log).warnings == ()
    halved = replace(log, propensity=log.propensity / 2)
    (warning,) = estimate(halved).warnings
    assert warning.startswith(("mean weight 1.9", "mean weight 2.0"))
    few = log[:60]
    assert [w.split(",")[0] for w in estimate(few).warnings] == [
        f"effective sample of {estimate(few).weights.effective_sample:.0f} decisions"
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("propensity", 0.0, "propensity: expected more than 0, received 0 at decision 1"),
        ("propensity", 1.5, r"propensity: expected 0 to 1, received 1.5 at decision 1"),
        ("outcome", float("nan"), "outcome: expected 0 to 1, received nan at decision 1"),
        ("model_value", -0.1, "model_value: expected 0 to 1, received -0.1 at decision 1"),
    ],
)
def test_values_out_of_range_are_named(field: str, value: float, message: str) -> None:
    column = np.array(getattr(LOG, field))
    column[1] = value
    with pytest.raises(DataError, match=message):
        replace(LOG, **{field: column})


def test_lengths_must_agree_and_an_empty_log_says_so() -> None:
    with pytest.raises(DataError, match=r"outcome: expected shape \(3,\) as `lead`, received \(4,\)"):
        replace(LOG, lead=LOG.lead[:3])
    with pytest.raises(DataError, match="expected at least one decision"):
        estimate(LOG[:0])
