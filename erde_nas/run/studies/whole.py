"""Optuna's storage in a database, with the params of a finished trial written in one statement.

Optuna itself asks the database a few questions for each param, which takes five times as long as all the rest of
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
        bare.params, bare.distributions = {}, {}
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
        return trial
