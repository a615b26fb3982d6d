"""A trial in Optuna's form: as the version before wrote it, and damaged."""

import copy
import json
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from erde_nas.errors import UserError
from erde_nas.run.studies.records import freeze, thaw
from erde_nas.space.trial import Trial
from tests.run.damage import damaged
from tests.run.test_students import OLD
from tests.space.builders import findings, judged

CHOICES = {"width": CategoricalDistribution((8, 16))}
METRICS = {key: value for key, value in OLD.items() if key not in ("stage", "rungs", "used_exits")}
ATTRIBUTES = {"student": "abc", "constraints": [-0.5], "metrics": METRICS, "attrs": {"generation": 1}, "reason": ""}
TRIAL = Trial(3, "abc", {"width": 8}, "complete", (0.2, 0.3), (-0.5,), findings(judged()), {"generation": 1})


def frozen(attributes: dict[str, Any]) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE, values=[0.2, 0.3], params={"width": 8}, distributions=CHOICES, user_attrs=attributes
    )


def test_a_trial_of_the_version_before_is_read_and_written_alike() -> None:
    assert thaw(frozen(copy.deepcopy(ATTRIBUTES)), 3) == TRIAL
    assert thaw(frozen({"trial": copy.deepcopy(ATTRIBUTES)}), 3) == TRIAL
    written = freeze(TRIAL, CHOICES)
    assert json.loads(json.dumps(written.user_attrs)) == ATTRIBUTES
    assert freeze(TRIAL, CHOICES, pack=True).user_attrs == {"trial": written.user_attrs}


def test_a_damaged_trial_is_read_or_refused_in_one_line() -> None:
    refused = []
    for text in damaged(ATTRIBUTES, cuts=1):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            try:
                thaw(frozen(values), 3)
            except UserError as error:
                refused.append(str(error))
    assert len(refused) > 200
    assert all(line.startswith("trial -1 of the study is damaged: ") and "\n" not in line for line in refused)


def test_a_trial_of_another_program_is_refused() -> None:
    with pytest.raises(UserError, match=r"trial -1 of the study is damaged: 'student'; restore the study, or search"):
        thaw(frozen({"colour": "blue"}), 0)
