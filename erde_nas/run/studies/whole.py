"""Optuna's storage in a database, with the params and the intermediate values of a finished trial written at once.

Optuna itself asks the database a few questions for each of them, which takes five times as long as all the rest of
storing a trial (docs/scale.md); and without params its dashboard has little to show.
"""

import copy
from typing import TYPE_CHECKING

from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import insert

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class WholeTrialStorage(RDBStorage):
    """For studies in which the choices of a param are always the same: that is what Optuna asks about."""

    def stored(self, study_id: int, after: int = -1) -> list[FrozenTrial]:
        """The trials behind the one of the id `after`. A `Study` of Optuna's keeps all that it ever read or stored."""
        return self._get_trials(study_id, None, set(), after)

    # Where a later Optuna has no such method, its own way of storing takes over: slower, with the same result.
    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: "Session"
    ) -> models.TrialModel:
        if template_trial is None or not template_trial.params:
            return super()._get_prepared_new_trial(study_id, template_trial, session)
        bare = copy.copy(template_trial)
        bare.params, bare.distributions, bare.intermediate_values = {}, {}, {}
        trial = super()._get_prepared_new_trial(study_id, bare, session)
        rows = [
            {
                "trial_id": trial.trial_id,
                "param_name": name,
                "param_value": choices.to_internal_repr(template_trial.params[name]),
                "distribution_json": distribution_to_json(choices),
            }
            for name, choices in template_trial.distributions.items()
        ]
        session.execute(insert(models.TrialParamModel), rows)
        table = models.TrialIntermediateValueModel
        if steps := template_trial.intermediate_values:
            pairs = ((step, *table.intermediate_value_to_stored_repr(value)) for step, value in steps.items())
            keys = ("step", "intermediate_value", "intermediate_value_type")
            session.execute(
                insert(table), [{"trial_id": trial.trial_id, **dict(zip(keys, p, strict=True))} for p in pairs]
            )
        return trial
