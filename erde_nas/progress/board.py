"""What a search has found so far, from its events: how many candidates, and the best one of each profile."""

from collections.abc import Iterable

from erde_nas.progress.event import Candidate, Event

MOST_DROP = 0.01  # of accuracy, below the teacher's on validation
MACS = "MACs"  # what candidates cost that were not timed


class Board:
    """Candidates `done` and `failed`, the `teacher`'s accuracy on validation where it is known, and the best so far."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.teacher: float | None = None
        self.best: dict[str, Candidate] = {}
        self._fit: list[Candidate] = []

    def hear(self, event: Event) -> None:
        """Learn from an event."""
        if event.val_accuracy is not None:
            self.teacher = event.val_accuracy
            self.best = self._best()
        if event.candidate is not None:
            self.add([event.candidate])

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Count candidates, also those of former starts of the run."""
        for candidate in candidates:
            self.done += candidate.state != "failed"
            self.failed += candidate.state == "failed"
            if candidate.state == "complete":
                self._fit.append(candidate)
        self.best = self._best()

    def _best(self) -> dict[str, Candidate]:
        """Of each profile the fastest candidate that keeps the limits within a point of the teacher's accuracy, or the
        most accurate one."""
        found = {}
        for profile in dict.fromkeys(name for candidate in self._fit for name in costs(candidate)):
            known = [candidate for candidate in self._fit if profile in costs(candidate)]
            least = float("inf") if self.teacher is None else self.teacher - MOST_DROP
            close = [candidate for candidate in known if candidate.val_accuracy >= least]
            if close:
                found[profile] = min(close, key=lambda one: (costs(one)[profile], -one.val_accuracy))
            else:
                found[profile] = max(known, key=lambda one: (one.val_accuracy, -costs(one)[profile]))
        return found


def costs(candidate: Candidate) -> dict[str, float]:
    """Milliseconds by profile; the MACs of one that was not timed."""
    return dict(candidate.latency_ms) or {MACS: candidate.macs}
