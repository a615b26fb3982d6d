"""Trial <-> Optuna's FrozenTrial. What Optuna has no place for stands in the user attributes."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from erde_nas.records import Proposal, Trial
from erde_nas.searchers.interface import SearchSpace

Distributions = Mapping[str, BaseDistribution]


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Every parameter of the space is a choice."""
    return {name: CategoricalDistribution(choices) for name, choices in space.parameters.items()}


def state_of(trial: Trial) -> TrialState:
    """Optuna's word for it."""
    return TrialState.COMPLETE if trial.state == "complete" else TrialState.FAIL


def result_of(trial: Trial) -> dict[str, Any]:
    """What an evaluation adds to the candidate, besides its objectives."""
    return {"constraints": list(trial.constraints), "metrics": trial.metrics, "reason": trial.reason}


def freeze(trial: Trial, choices: Distributions) -> FrozenTrial:
    """A finished trial. Raises ValueError for params that are no choices."""
    return optuna.trial.create_trial(
        state=state_of(trial),
        values=list(trial.objectives) if trial.state == "complete" else None,
        params=dict(trial.params),
        distributions=dict(choices),
        user_attrs={"student": trial.student, "attrs": trial.attrs, **result_of(trial)},
    )


def freeze_claim(proposal: Proposal, student: str, choices: Distributions) -> FrozenTrial:
    """A candidate that is being evaluated."""
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=dict(proposal.params),
        distributions=dict(choices),
        user_attrs={"student": student, "attrs": proposal.attrs},
    )


def thaw(frozen: FrozenTrial, number: int, result: Mapping[str, Any] | None = None) -> Trial:
    """The inverse of `freeze`; `result` is what `result_of` gave, where it is kept elsewhere."""
    result = frozen.user_attrs if result is None else result
    return Trial(
        number=number,
        student=frozen.user_attrs["student"],
        params=frozen.params,
        state="complete" if frozen.values is not None else "failed",
        objectives=tuple(frozen.values or ()),
        constraints=tuple(result["constraints"]),
        metrics=result["metrics"],
        attrs=frozen.user_attrs["attrs"],
        reason=result["reason"],
    )
