"""What a searcher proposes, and what is known of a candidate once it was evaluated."""

from dataclasses import dataclass, field
from typing import Any, Literal

Choice = str | int | float


@dataclass(frozen=True)
class Proposal:
    """What a searcher wants evaluated. `attrs` is the searcher's own state, stored with the trial untouched."""

    params: dict[str, Choice]
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One evaluated candidate. Objectives are minimised; a constraint above 0 is violated; failed: no objectives."""

    number: int
    student: str
    params: dict[str, Choice]
    state: Literal["complete", "failed"]
    objectives: tuple[float, ...] = ()
    constraints: tuple[float, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
