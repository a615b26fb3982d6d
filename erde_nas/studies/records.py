"""Trial <-> Optuna's FrozenTrial. What Optuna has no place for stands in the user attributes."""

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from erde_nas.records import Trial
from erde_nas.searchers.interface import SearchSpace

Distributions = Mapping[str, BaseDistribution]
PACKED = "trial"


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Every parameter of the space is a choice."""
    return {name: CategoricalDistribution(choices) for name, choices in space.parameters.items()}


def freeze(trial: Trial, choices: Distributions | None) -> FrozenTrial:
    """A finished trial. Raises ValueError for params that are no choices.

    Without `choices` all but the objectives stands in one user attribute, the params too: Optuna asks a database
    several questions for each param and each attribute, which takes most of the time of storing a trial.
    """
    complete, packed = trial.state == "complete", choices is None
    attributes = {
        "student": trial.student,
        "constraints": list(trial.constraints),
        "metrics": trial.metrics,
        "attrs": trial.attrs,
        "reason": trial.reason,
    }
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.FAIL,
        values=list(trial.objectives) if complete else None,
        params={} if packed else dict(trial.params),
        distributions=dict(choices or {}),
        user_attrs={PACKED: {**attributes, "params": trial.params}} if packed else attributes,
    )


def thaw(frozen: FrozenTrial, number: int) -> Trial:
    """The inverse of `freeze`."""
    found = frozen.user_attrs.get(PACKED, {**frozen.user_attrs, "params": frozen.params})
    return Trial(
        number=number,
        student=found["student"],
        params=found["params"],
        state="complete" if frozen.values is not None else "failed",
        objectives=tuple(frozen.values or ()),
        constraints=tuple(found["constraints"]),
        metrics=found["metrics"],
        attrs=found["attrs"],
        reason=found["reason"],
    )
