"""When a search has had enough: so many candidates, so many hours, or a hypervolume that no longer grows."""

from collections import deque

import numpy as np

from erde_nas.pareto import hypervolume, non_dominated
from erde_nas.recipe.search import SearchSection
from erde_nas.space.trial import Trial

GROWTH = 1e-3  # of the hypervolume: less is noise of the accuracies and latencies that it is made of


class Budget:
    """What a search may spend and how much of it is spent. It keeps no trials: of their points those alone that can
    still decide whether the front grows, so that the ten-thousandth trial takes as long as the hundredth."""

    def __init__(self, section: SearchSection) -> None:
        self._section, self.trials = section, 0
        self._latest: deque[np.ndarray] = deque()  # the points of each of the last `patience` trials
        self._front = np.empty((0, 0))  # of all trials before those
        self._least, self._most = np.empty(0), np.empty(0)  # of each objective, over all trials

    def learn(self, trial: Trial) -> None:
        """Count a trial. Only those that are complete and keep all limits are on the front, with all of their operating
        points."""
        self.trials += 1
        if self._section.patience is None:
            return
        points = np.array(trial.points) if trial.feasible else np.empty((0, 0))
        self._latest.append(points)
        if len(points):
            known = [self._least, self._most] if len(self._least) else []
            self._least, self._most = np.min([*points, *known], axis=0), np.max([*points, *known], axis=0)
        if len(self._latest) > self._section.patience:
            self._front = _front(self._front, self._latest.popleft())

    def spent(self, seconds: float, after_search_s: float) -> str:
        """Why no further candidate should be proposed, or nothing.

        `seconds` is what the whole run has taken so far, `after_search_s` what everything after the search should take.
        """
        section = self._section
        if section.trials is not None and self.trials >= section.trials:
            return f"{section.trials} candidates are evaluated"
        if section.hours is not None and seconds + after_search_s >= section.hours * 3600:
            return f"{section.hours:g} h are nearly over, and the rest needs about {after_search_s:.0f} s"
        if section.patience is not None and self._stalled():
            return f"the last {section.patience} candidates did not raise the hypervolume of the front"
        return ""

    def _stalled(self) -> bool:
        """Whether the last `patience` trials raised the hypervolume of the front by less than GROWTH.

        The reference point is a little beyond the worst of each objective so far, so that the ends of the front count.
        """
        if not len(self._front):
            return False
        span = self._most - self._least
        scale, reference = np.where(span > 0, span, 1.0), np.full(len(span), 1.1)
        fronts = self._front, _front(self._front, *self._latest)
        old, new = (hypervolume((points - self._least) / scale, reference) for points in fronts)
        return new - old <= GROWTH * new


def _front(*parts: np.ndarray) -> np.ndarray:
    """The points of all parts that none dominates; parts without points may have any shape."""
    filled = [part for part in parts if len(part)]
    points = np.unique(np.concatenate(filled), axis=0) if filled else np.empty((0, 0))
    return points[non_dominated(points)] if len(points) else points


def expected_trials(section: SearchSection, done: int, unit_s: float, left_s: float) -> int:
    """How many candidates there will be in all, for a plan: each takes `unit_s`, and `left_s` are there for them."""
    bounds = [section.trials] if section.trials is not None else []
    if section.hours is not None:
        bounds.append(done + max(0, int(left_s / unit_s)))
    return max(1, min(bounds, default=done + 4 * (section.patience or 1)))
