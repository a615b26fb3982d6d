"""What a search has found so far, from its events: how many candidates, and the best one of each profile."""

from erde_nas.progress.event import Candidate, Event

MOST_DROP = 0.01  # of accuracy, below the teacher's on validation
MACS = "MACs"  # what candidates cost that were not timed


class Board:
    """Candidates `done` and `failed`, the `teacher`'s accuracy on validation where it is known, and the best so far.

    Of all candidates only those are kept that no other one dominates.
    """

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.teacher: float | None = None
        self._fronts: dict[str, list[Candidate]] = {}  # by profile

    def hear(self, event: Event) -> None:
        """Learn from an event."""
        if event.val_accuracy is not None:
            self.teacher = event.val_accuracy
        if event.candidate is not None:
            self.add(event.candidate)

    def add(self, candidate: Candidate) -> None:
        """Count a candidate, also one of a former start of the run."""
        self.done += candidate.state != "failed"
        self.failed += candidate.state == "failed"
        for profile, cost in costs(candidate).items() if candidate.state == "complete" else ():
            front = self._fronts.get(profile, [])
            if all(one.val_accuracy < candidate.val_accuracy or costs(one)[profile] > cost for one in front):
                worse = [c for c in front if c.val_accuracy <= candidate.val_accuracy and costs(c)[profile] >= cost]
                self._fronts[profile] = [one for one in front if one not in worse] + [candidate]

    @property
    def best(self) -> dict[str, Candidate]:
        """Of each profile the fastest candidate that keeps the limits within a point of the teacher's accuracy, or the
        most accurate one."""
        found = {}
        least = float("inf") if self.teacher is None else self.teacher - MOST_DROP
        for profile, front in list(self._fronts.items()):
            close = [one for one in front if one.val_accuracy >= least]
            by_accuracy = sorted(close or front, key=lambda one: one.val_accuracy)  # on a front the fastest first
            found[profile] = by_accuracy[0 if close else -1]
        return found


def costs(candidate: Candidate) -> dict[str, float]:
    """Milliseconds by profile; the MACs of one that was not timed."""
    return dict(candidate.latency_ms) or {MACS: candidate.macs}
