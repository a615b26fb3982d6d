"""When a search has had enough: so many candidates, so many hours, or a hypervolume that no longer grows."""

from collections.abc import Sequence

import numpy as np

from erde_nas.pareto import hypervolume
from erde_nas.recipe.search import SearchSection
from erde_nas.space.trial import Trial

GROWTH = 1e-3  # of the hypervolume: less is noise of the accuracies and latencies that it is made of


def spent(section: SearchSection, trials: Sequence[Trial], seconds: float, after_search_s: float) -> str:
    """Why no further candidate should be proposed, or nothing.

    `seconds` is what the whole run has taken so far, `after_search_s` what everything after the search should take.
    """
    if section.trials is not None and len(trials) >= section.trials:
        return f"{section.trials} candidates are evaluated"
    if section.hours is not None and seconds + after_search_s >= section.hours * 3600:
        return f"{section.hours:g} h are nearly over, and the rest needs about {after_search_s:.0f} s"
    if section.patience is not None and stalled(trials, section.patience):
        return f"the last {section.patience} candidates did not raise the hypervolume of the front"
    return ""


def stalled(trials: Sequence[Trial], patience: int) -> bool:
    """Whether the last `patience` trials raised the hypervolume of the front by less than GROWTH.

    Only complete trials that keep all limits are on it. The reference point is the worst of each objective so far.
    """
    before = _objectives(trials[:-patience])
    if not len(before):
        return False
    now = _objectives(trials)
    low, high = now.min(0), now.max(0)
    scale = np.where(high > low, high - low, 1.0)
    reference = np.full(now.shape[1], 1.1)  # a little beyond the worst, so that the ends of the front count
    old, new = (hypervolume((points - low) / scale, reference) for points in (before, now))
    return new - old <= GROWTH * new


def _objectives(trials: Sequence[Trial]) -> np.ndarray:
    """Of all operating points of the feasible trials."""
    return np.array([point for trial in trials if trial.feasible for point in trial.points])


def expected_trials(section: SearchSection, done: int, unit_s: float, left_s: float) -> int:
    """How many candidates there will be in all, for a plan: each takes `unit_s`, and `left_s` are there for them."""
    bounds = [section.trials] if section.trials is not None else []
    if section.hours is not None:
        bounds.append(done + max(0, int(left_s / unit_s)))
    return max(1, min(bounds, default=done + 4 * (section.patience or 1)))
