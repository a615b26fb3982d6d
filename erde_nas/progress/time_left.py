"""The time left of long work: what is planned, times how far off the plan has been so far.

Every stage is planned in estimated seconds. The pace of a stage is that of its own finished part, as far as there is
one, and otherwise that of everything finished: a machine that trains half as fast as planned measures slower, too.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

TRUST = 5.0  # seconds of work that the plan itself counts for, beside what was seen
OWN = 0.15  # of a stage: what the pace of all others counts for, beside its own
LEAST = 0.05  # of what a stage took: it is expected to go on for that, until it is closed


@dataclass
class _Stage:
    planned: float = 0.0
    done: float = 0.0  # of the planned seconds
    took: float = 0.0  # real seconds, up to the last word of it
    closed: bool = False
    fixed: bool = False  # takes what is planned, however fast the machine is

    @property
    def rest(self) -> float:
        return 0.0 if self.closed else max(0.0, self.planned - self.done)


class TimeLeft:
    """Estimates of all stages, and what came of them. Times are seconds of one clock, which the caller reads."""

    def __init__(self, begin: float) -> None:
        self._stages: dict[str, _Stage] = {}
        self._last = begin
        self._at = ""  # the stage that was heard of last
        self._bounds: dict[str, float] = {}  # when a stage is over at the latest

    def plan(self, seconds: Mapping[str, float], now: float, fixed: Collection[str] = ()) -> None:
        """Estimated seconds of stages; replaces the estimate of a stage planned before. `fixed` ones keep to theirs."""
        for stage, planned in seconds.items():
            found = self._stage(stage)
            found.planned, found.fixed = planned, stage in fixed
        if not any(stage.done for stage in self._stages.values()):
            self._last = now  # what came before the plan is no part of it

    def add(self, stage: str, seconds: float, now: float) -> None:
        """So many of the planned seconds of `stage` are done; the time since the last word went into it."""
        found = self._stage(stage)
        found.done = min(found.planned, found.done + seconds)
        found.took += now - self._last
        self._last, self._at = now, stage

    def bound(self, stage: str, end: float) -> None:
        """`stage` is over at the time `end` whatever is done by then."""
        self._bounds[stage] = end

    def close(self, stage: str, now: float) -> None:
        """Nothing is left to do in `stage`."""
        found = self._stage(stage)
        if found.planned:
            self.add(stage, 0.0, now)
        found.closed = True  # what it had been planned for beyond that says nothing of the pace

    def by_stage(self, now: float) -> dict[str, float]:
        """The same by stage, in the order in which they were planned; those of which nothing is left are not there."""
        return {name: left for name in self._stages if (left := self._left(name, now))}

    @property
    def worked(self) -> float:
        """Seconds that planned stages took."""
        return sum(stage.took for stage in self._stages.values() if stage.planned)

    def seconds(self, now: float) -> float:
        """Estimated seconds from now to the end of all stages."""
        return sum(self._left(name, now) for name in self._stages)

    @property
    def open(self) -> bool:
        """Whether a planned stage is not closed yet."""
        return any(stage.planned and not stage.closed for stage in self._stages.values())

    def _left(self, name: str, now: float) -> float:
        stage = self._stages[name]
        if stage.closed or not stage.planned:
            return 0.0
        left = stage.rest * self._pace(name)
        if name == self._at:
            left = max(left - (now - self._last), LEAST * (stage.took + now - self._last))
        return min(left, max(0.0, self._bounds.get(name, left + now) - now))

    def _pace(self, name: str) -> float:
        """Real seconds for a planned second of a stage."""
        if self._stages[name].fixed:
            return 1.0
        others = [stage for key, stage in self._stages.items() if key != name and stage.done and not stage.fixed]
        seen, planned = sum(stage.took for stage in others), sum(stage.done for stage in others)
        general = (seen + TRUST) / (planned + TRUST)
        own, trust = self._stages[name], OWN * self._stages[name].planned
        return (own.took + trust * general) / (own.done + trust) if own.done else general

    def _stage(self, name: str) -> _Stage:
        return self._stages.setdefault(name, _Stage())


def duration(seconds: float) -> str:
    """Seconds in words: 45s, 3m10s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
