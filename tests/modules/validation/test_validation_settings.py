from __future__ import annotations

import os
import signal

import pytest
from pydantic import ValidationError

from modules.dataset import Dataset, Label, PersonalData, Split, TimeColumn
from modules.errors import ConfigError, DataError
from modules.features import Feature, Kind
from modules.validation.check import check_dataset
from modules.validation.settings import NextActionValidationSettings, ValidationSettings
from modules.validation.workers import cores, fit_all, processes, threads

DATASET = Dataset(
    name="leads",
    files=("leads.csv",),
    id="lead_id",
    label=Label(column="converted"),
    features=(Feature(name="household", kind=Kind.CATEGORICAL),),
    personal_data=(PersonalData(column="email", action="hash", name="contact"), PersonalData(column="phone")),
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 5, "method": "group"}, "needs `group`"),
        ({"folds": 5, "group": "household"}, "goes with method group"),
        ({"folds": 5, "gap_days": 3}, "goes with method time"),
        ({"folds": 5, "method": "time", "repeats": 2}, "leave repeats at 1"),
        ({"min": {"auc": 0.7}}, "folds is null"),
        ({"folds": 5, "min": {"aug": 0.7}}, "did you mean 'auc'"),
        ({"folds": 5, "fold": 5}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        ValidationSettings(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gap_days": 7}, "gap_days goes with method time; the method is hash"),
        ({"method": "order", "gap_days": 7}, "gap_days goes with method time; the method is order"),
        ({"method": "time", "stratify": True}, "stratify goes with method hash; the method is time"),
    ],
)
def test_a_hold_out_refuses_what_its_method_would_ignore(values, message):
    with pytest.raises(ValidationError, match=message):
        Split(**values)


def test_folds_of_journeys_are_cut_by_lead_and_nothing_else():
    assert NextActionValidationSettings(folds=3).group == "lead"
    assert NextActionValidationSettings(folds=3, min={"accuracy": 0.5}).min == {"accuracy": 0.5}
    for wrong in ({"method": "stratified"}, {"workers": 4}, {"min": {"auc": 0.5}}):
        with pytest.raises(ValidationError):
            NextActionValidationSettings(folds=3, **wrong)


def test_another_bound_is_no_reason_to_fit_again():
    strict = ValidationSettings(folds=5, min={"auc": 0.9}, max={"log_loss": 0.1})
    assert strict.without_bounds() == ValidationSettings(folds=5).without_bounds()
    assert strict.without_bounds() != ValidationSettings(folds=4).without_bounds()


@pytest.mark.parametrize("group", ["household", "lead_id", "contact"])
def test_groups_may_be_a_feature_the_id_or_hashed_personal_data(group):
    check_dataset(ValidationSettings(folds=3, method="group", group=group), DATASET)


def test_a_group_that_is_in_no_example_is_refused():
    settings = ValidationSettings(folds=3, method="group", group="phone")
    with pytest.raises(ConfigError, match=r"received 'phone'; there are: lead_id, household, contact"):
        check_dataset(settings, DATASET)
    with pytest.raises(ConfigError, match="did you mean 'household'"):
        check_dataset(settings.model_copy(update={"group": "houshold"}), DATASET)


def test_folds_by_time_need_a_time_column():
    settings = ValidationSettings(folds=3, method="time")
    with pytest.raises(ConfigError, match="needs `time`"):
        check_dataset(settings, DATASET)
    check_dataset(settings, DATASET.model_copy(update={"time": TimeColumn(column="created")}))
    check_dataset(ValidationSettings(method="time"), DATASET)


def test_processes_share_the_cores():
    assert processes(ValidationSettings(folds=50)) == min(cores(), 50)
    assert processes(ValidationSettings(folds=2, workers=9)) == 2
    assert threads(1) == cores()
    assert threads(10 * cores()) == 1
    assert threads(1, wanted=1) == 1


def double(fold: int, plus: int) -> tuple[int, int]:
    return 2 * fold + plus, os.getpid()


def refuse(fold: int) -> None:
    raise DataError(f"fold {fold} cannot be fitted", ["row 7"])


def die(fold: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_one_worker_is_this_process():
    done = list(fit_all(range(3), double, (1,), 1))
    assert done == [(i, (2 * i + 1, os.getpid())) for i in range(3)]


def test_several_workers_are_other_processes_and_folds_are_prepared_meanwhile():
    prepared = []

    def prepare():
        for fold in range(9):
            prepared.append(fold)
            yield fold

    finished, ahead = {}, []
    for fold, (result, process) in fit_all(prepare(), double, (1,), 2):
        finished[fold] = result
        ahead.append(len(prepared) - len(finished))
        assert process != os.getpid()
    assert finished == {i: 2 * i + 1 for i in range(9)}
    assert max(ahead) <= 4


def test_what_a_fold_raises_is_raised_with_its_details():
    with pytest.raises(DataError, match=r"fold \d cannot be fitted") as caught:
        list(fit_all(range(4), refuse, (), 2))
    assert caught.value.details == ["row 7"]


def test_a_process_that_was_killed_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match=r"Lower validation\.workers"):
        list(fit_all(range(4), die, (), 2))
