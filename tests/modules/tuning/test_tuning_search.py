from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from tuning_toys import CONFIGURED, Bowl, Dying, Failing, run

from modules import progress
from modules.errors import ConfigError
from modules.tuning.journal import FILE
from modules.tuning.objective import cores


def without_seconds(report):
    trials = tuple(t.model_copy(update={"seconds": 0.0}) for t in report.trials)
    return report.model_copy(update={"trials": trials, "seconds": 0.0, "resumed": 0})


def killed(objective, folder, **changes):
    """Runs a search in a process that kills itself."""
    child = os.fork()
    if child == 0:
        try:
            run(objective, folder, **changes)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_the_configured_settings_are_the_first_trial_and_the_best_is_never_worse():
    report = run(Bowl(), trials=1)
    assert [t.parameters for t in report.trials] == [{"learning_rate": 0.02, "max_depth": 9}]
    assert report.best == 0
    far = np.log10(0.2) ** 2 + (5 / 8) ** 2
    assert report.baseline.scores == pytest.approx([1 - far, 1.1 - far, 1.2 - far, 1.3 - far])
    assert report.baseline.score == pytest.approx(1.15 - far)
    assert report.gain == 0
    more = run(Bowl())
    assert more.baseline.scores == report.baseline.scores
    assert more.gain > 0.5


def test_search_finds_the_bottom_of_a_bowl():
    report = run(Bowl(), trials=60)
    assert report.best_trial.score == pytest.approx(1.15, abs=0.02)
    assert report.best_trial.parameters["max_depth"] == 4
    assert report.best_trial.parameters["learning_rate"] == pytest.approx(0.1, rel=0.4)
    assert sum(report.importance.values()) == pytest.approx(1)
    random = run(Bowl(), trials=60, sampler="random")
    late = [np.mean([t.score for t in r.trials[40:]]) for r in (report, random)]
    assert late[0] > late[1] + 0.2, "it learns from its trials"


def test_the_same_seed_gives_the_same_trials_and_another_one_others():
    first = run(Bowl())
    assert without_seconds(run(Bowl())) == without_seconds(first)
    other = run(Bowl(), seed=1)
    assert other.trials[0].parameters == first.trials[0].parameters
    assert all(a.parameters != b.parameters for a, b in zip(first.trials[1:], other.trials[1:], strict=True))


@pytest.mark.parametrize("pruner", ["median", "halving", "wilcoxon"])
def test_pruned_trials_leave_out_folds_and_are_never_the_best(pruner):
    objective = Bowl(folds=12)
    report = run(objective, trials=30, pruner=pruner)
    pruned = [t for t in report.trials if t.state == "pruned"]
    assert len(pruned) > 5
    assert all(0 < len(t.scores) < 12 for t in pruned)
    assert report.folds_saved == sum(12 - len(t.scores) for t in pruned) == 12 * 30 - len(objective.calls)
    assert report.best_trial.state == "complete"
    assert report.best_trial.score == max(t.score for t in report.trials if t.state == "complete")
    everything = run(Bowl(folds=12), trials=30, pruner="none")
    assert everything.folds_saved == 0
    assert {t.state for t in everything.trials} == {"complete"}


def test_the_median_prunes_what_is_worse_than_the_median_of_the_complete_trials_after_the_same_fold():
    report = run(Bowl(folds=3), trials=30)
    complete: list[float] = []
    for trial in report.trials:
        expected = len(complete) >= 5 and trial.scores[0] < np.median(complete)
        assert (len(trial.scores) == 1) == expected, trial.number
        if not expected:
            complete.append(trial.scores[0])


def test_a_trial_of_one_fold_is_pruned_by_its_steps():
    report = run(Bowl(folds=1, steps=8), trials=30)
    pruned = [t for t in report.trials if t.state == "pruned"]
    assert pruned
    assert {t.scores for t in pruned} == {()}
    assert all(3 <= len(t.curve) < 8 and t.score == t.curve[-1] for t in pruned)
    assert all(len(t.curve) == 8 for t in report.trials if t.state == "complete")
    assert list(pruned[0].curve) == sorted(pruned[0].curve), "the best so far"


@pytest.mark.parametrize("at", [1, 47])
def test_a_search_that_was_killed_continues_as_if_it_had_not_been(at, tmp_path):
    whole = Bowl()
    expected = run(whole)
    assert len(whole.calls) > 47
    killed(Bowl(killed_at=at), tmp_path)
    with (tmp_path / FILE).open("ab") as journal:
        journal.write(b'{"op_code": 6, "trial')  # a process may be killed while it writes
    rest = Bowl()
    report = run(rest, tmp_path)
    assert without_seconds(report) == without_seconds(expected)
    assert rest.calls == whole.calls[at:], "nothing that was scored is scored again"
    again = Bowl()
    report = run(again, tmp_path)
    assert without_seconds(report) == without_seconds(expected)
    assert (again.calls, report.resumed) == ([], 25)


def test_a_search_by_steps_continues_too(tmp_path):
    expected = run(Bowl(folds=1, steps=5))
    killed(Bowl(folds=1, steps=5, killed_at=14), tmp_path)
    assert without_seconds(run(Bowl(folds=1, steps=5), tmp_path)) == without_seconds(expected)


def test_more_trials_go_on_where_fewer_ended(tmp_path):
    run(Bowl(), tmp_path, trials=12)
    more = run(Bowl(), tmp_path, trials=20)
    assert without_seconds(more) == without_seconds(run(Bowl(), trials=20))
    assert more.resumed == 12
    fewer = run(Bowl(), tmp_path, trials=5)
    assert without_seconds(fewer) == without_seconds(run(Bowl(), trials=5)), "what comes later has no say"


def test_the_journal_is_json_lines(tmp_path):
    run(Bowl(), tmp_path, trials=3)
    for line in (tmp_path / FILE).read_text().splitlines():
        assert isinstance(json.loads(line), dict)


def test_a_trial_that_cannot_be_scored_is_kept_as_failed_and_the_search_goes_on(tmp_path):
    report = run(Failing(), tmp_path)
    failed = [t for t in report.trials if t.state == "failed"]
    assert len(report.trials) == 25
    assert failed and all(t.parameters["max_depth"] > 6 for t in failed)
    assert {t.error for t in failed} == {"ArithmeticError: too deep"}
    assert {t.score for t in failed} == {None}
    assert report.best_trial.state == "complete"
    again = Failing()
    run(again, tmp_path)
    assert again.calls == []


def test_configured_settings_that_cannot_be_scored_end_the_search_and_are_tried_again(tmp_path):
    class Never(Bowl):
        def __call__(self, parameters, fold, step):
            raise RuntimeError("no such thing")

    class NaN(Bowl):
        def __call__(self, parameters, fold, step):
            return float("nan")

    for objective, why in ((Never(), "no such thing"), (NaN(), "scored nan")):
        with pytest.raises(ConfigError, match=f"trial 0, cannot be scored: .*{why}"):
            run(objective, tmp_path)
    assert run(Bowl(), tmp_path, trials=2).baseline.state == "complete"


def test_configured_settings_outside_the_space_are_measured_but_not_learned_from():
    outside = {**CONFIGURED, "learning_rate": 0.001}
    report = run(Bowl(), configured=outside, trials=30)
    assert report.baseline.parameters == {"learning_rate": 0.001, "max_depth": 9}
    assert all(0.01 <= t.parameters["learning_rate"] <= 1 for t in report.trials[1:])
    assert report.best_trial.score > 1


def test_lower_is_better_for_an_objective_that_is_minimized():
    class Upside(Bowl):
        def __call__(self, parameters, fold, step):
            return -super().__call__(parameters, fold, step)

    up, down = run(Bowl(), trials=30), run(Upside(), trials=30, objective="log_loss")
    assert (up.direction, down.direction) == ("maximize", "minimize")
    assert [t.parameters for t in up.trials] == [t.parameters for t in down.trials]
    assert up.best == down.best
    assert down.gain == pytest.approx(up.gain)


def test_no_trial_begins_after_the_time_is_up():
    report = run(Bowl(), timeout_minutes=1e-9)
    assert [t.number for t in report.trials] == [0]
    assert "stopped by tuning.timeout_minutes before 25 trials" in report.lines()[-1]


def test_one_worker_has_all_cores_and_says_how_far_it_is():
    heard = []

    class Telling(Bowl):
        def __call__(self, parameters, fold, step):
            progress.report(fold, 4, "round 7")
            return super().__call__(parameters, fold, step)

    objective = Telling()
    progress.set_listener(lambda *said: heard.append(said))
    try:
        run(objective, trials=2)
    finally:
        progress.set_listener(None)
    assert objective.threads == cores()
    assert heard[1] == (1, 4, "trial 1 of 2, round 7")
    assert heard[5][2].startswith("trial 2 of 2, best auc 0.2")


def test_workers_run_as_many_trials_as_asked_for_and_end(tmp_path):
    report = run(Bowl(), tmp_path, trials=16, workers=2)
    assert [t.number for t in report.trials] == list(range(16))
    assert report.workers == 2
    assert report.trials[0].parameters == {"learning_rate": 0.02, "max_depth": 9}
    bowl = Bowl()
    for trial in report.trials:
        scores = [bowl(trial.parameters, fold, None) for fold in range(len(trial.scores))]
        assert list(trial.scores) == scores
        assert len(scores) == 4 or trial.state == "pruned"
    assert run(Bowl(), tmp_path, trials=16, workers=1).trials == report.trials


def test_a_worker_that_dies_costs_its_trial_only():
    space = {"learning_rate": {"low": 0.01, "high": 1.0}, "max_depth": {"choices": [9, 12]}}
    with pytest.raises(ConfigError, match=r"3 of its processes died, the last with code -9; set tuning\.workers lower"):
        run(Dying(), trials=40, workers=2, sampler="random", space=space)
    report = run(Dying(), trials=3, workers=2, sampler="random", space=space)
    failed = [t for t in report.trials if t.state == "failed"]
    assert 0 < len(failed) < 3
    assert "ended with code -9" in failed[0].error
