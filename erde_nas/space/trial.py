"""What a searcher proposes, and what is known of a candidate once it was evaluated."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from math import isclose
from typing import Any, Literal

from erde_nas.space.findings import Findings, Judged

Choice = str | int | float


@dataclass(frozen=True)
class Proposal:
    """What a searcher wants evaluated. `attrs` is the searcher's own state, stored with the trial untouched."""

    params: dict[str, Choice]
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One evaluated candidate. Objectives are minimised; a constraint above 0 is violated; failed: no objectives.

    `findings` are there as far as the candidate came: none where its worker died, nothing judged where it failed.
    """

    number: int
    student: str
    params: dict[str, Choice]
    state: Literal["complete", "failed"]
    objectives: tuple[float, ...] = ()
    constraints: tuple[float, ...] = ()
    findings: Findings | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def feasible(self) -> bool:
        """Whether it is complete and keeps all limits."""
        return self.state == "complete" and all(excess <= 0 for excess in self.constraints)

    @property
    def points(self) -> tuple[tuple[float, ...], ...]:
        """The objectives of all its operating points worth having, as far as they are known to keep the limits; of at
        least the one that is told."""
        curve = () if self.constraints or self.judged is None else self.judged.curve
        return operating_objectives(self.objectives, curve)

    @property
    def judged(self) -> Judged | None:
        """What its trained network is; None where it failed."""
        return None if self.findings is None else self.findings.judged


def operating_objectives(
    told: tuple[float, ...], curve: Iterable[tuple[float, float]]
) -> tuple[tuple[float, ...], ...]:
    """The objectives of the points of a curve (accuracy, cost), if those are error and that cost, in either order:
    then the point that is `told` lies on it. Otherwise `told` alone."""
    same = partial(isclose, rel_tol=1e-6)
    errors = [(1 - accuracy, cost) for accuracy, cost in curve]
    for points in (errors, [(cost, error) for error, cost in errors]):
        if any(all(map(same, point, told)) for point in points if len(told) == 2):
            return tuple(points)
    return (told,)


def judged_students(trials: Iterable[Trial]) -> dict[str, Judged]:
    """What the networks of the complete trials are, by student."""
    return {trial.student: judged for trial in trials if trial.state == "complete" and (judged := trial.judged)}
