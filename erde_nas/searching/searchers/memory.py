"""The complete trials that a strategy looks at: all while they are few, later the best and the latest."""

from collections.abc import Sequence

import numpy as np

from erde_nas.pareto import select
from erde_nas.space.trial import Trial

LIMIT = 400  # trials, above which a memory is cut: more than most searches have
BEST = 100  # that are kept then
LATEST = 100


class Memory:
    """Trials in the order in which they were told, so that what is kept follows from the tells alone."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def tell(self, trial: Trial) -> bool:
        """Keep a trial if it is complete; True where others were forgotten."""
        if trial.state == "failed":
            return False
        self.trials.append(trial)
        if len(self.trials) <= LIMIT:
            return False
        kept = {*best(self.trials, BEST), *range(len(self.trials) - LATEST, len(self.trials))}
        self.trials = [trial for index, trial in enumerate(self.trials) if index in kept]
        return True


def violation(trial: Trial) -> float:
    """By how much a trial violates its constraints in all; 0 for a feasible one."""
    return sum(max(value, 0.0) for value in trial.constraints)


def best(trials: Sequence[Trial], count: int) -> list[int]:
    """Indices of the best complete trials: feasible ones by rank and crowding distance, then by least violation."""
    violations = np.array([violation(trial) for trial in trials])
    feasible, others = np.flatnonzero(violations == 0), np.flatnonzero(violations > 0)
    ordered = others[np.argsort(violations[others], kind="stable")]
    if len(feasible):
        points = np.array([trials[int(index)].objectives for index in feasible])
        ordered = np.concatenate([feasible[select(points, count)], ordered])
    return [int(index) for index in ordered[:count]]
