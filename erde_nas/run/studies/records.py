"""Trial <-> Optuna's FrozenTrial. What Optuna has no place for stands in the user attributes."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from erde_nas.errors import UserError
from erde_nas.files import problem
from erde_nas.space.findings import Findings
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Trial

Distributions = Mapping[str, BaseDistribution]
PACKED = "trial"


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Every parameter of the space is a choice."""
    return {name: CategoricalDistribution(choices) for name, choices in space.parameters.items()}


def name_objectives(study: optuna.Study, names: Sequence[str]) -> None:
    """Tell Optuna's dashboard and plots what the objectives are called."""
    if study.metric_names != list(names):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(names))


def freeze(trial: Trial, choices: Distributions, pack: bool = False) -> FrozenTrial:
    """A finished trial: its accuracy on validation by exit as intermediate values, begun when its work began. Raises
    ValueError for params that are no choices.

    With `pack`, what is neither params nor objectives stands in one user attribute: Optuna asks a database several
    questions for each, which takes most of the time of storing a trial.
    """
    complete = trial.state == "complete"
    attributes = {
        "student": trial.student,
        "constraints": list(trial.constraints),
        "metrics": {} if trial.findings is None else trial.findings.to_json(),
        "attrs": trial.attrs,
        "reason": trial.reason,
    }
    frozen = optuna.trial.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.FAIL,
        values=list(trial.objectives) if complete else None,
        params=dict(trial.params),
        distributions=dict(choices),
        user_attrs={PACKED: attributes} if pack else attributes,
        intermediate_values=dict(enumerate(trial.judged.val_exit_accuracy)) if trial.judged is not None else {},
    )
    if frozen.datetime_complete and trial.findings is not None and trial.findings.seconds:
        frozen.datetime_start = frozen.datetime_complete - timedelta(seconds=trial.findings.seconds)
    return frozen


def thaw(frozen: FrozenTrial, number: int) -> Trial:
    """The inverse of `freeze`; of packed trials of earlier versions, too, whose params are among the attributes.

    Raises UserError for a trial that another program stored, or that is damaged.
    """
    try:
        return _thaw(frozen, number)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"trial {frozen.number} of the study is damaged: {problem(error)}"
        raise UserError(f"{what}; restore the study, or search in a new folder") from error


def _thaw(frozen: FrozenTrial, number: int) -> Trial:
    found = frozen.user_attrs.get(PACKED, frozen.user_attrs)
    return Trial(
        number=number,
        student=found["student"],
        params=found.get("params", frozen.params),
        state="complete" if frozen.values is not None else "failed",
        objectives=tuple(frozen.values or ()),
        constraints=tuple(found["constraints"]),
        findings=Findings.from_json(found["metrics"]) if found["metrics"] else None,
        attrs=found["attrs"],
        reason=found["reason"],
    )
