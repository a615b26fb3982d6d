"""What evaluates candidates: in this process, in several, or on a cluster. All look the same to the search."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from erde_nas.space.trial import Proposal, Trial


@dataclass(frozen=True)
class Evaluated:
    """A trial and, unless it failed, the trained weights as a safetensors file's bytes: they travel as they are.

    `lost`: it failed for a device that may come back; `again`: for passing trouble of its own process.
    """

    trial: Trial
    weights: bytes | None = None
    lost: bool = False
    again: bool = False


Evaluate = Callable[[Proposal], Evaluated]
"""Evaluates one candidate. The trial's number means nothing until the study gives it one."""

Factory = Callable[[], Evaluate]
"""Makes an `Evaluate` where the work is done. It travels there by pickle."""


class Pool(Protocol):
    """Up to `size` candidates at once. Use as a context manager: leaving it stops what still runs."""

    size: int

    @property
    def busy(self) -> int:
        """How many candidates were submitted and have not come back."""

    def submit(self, proposal: Proposal, student: str) -> None:
        """Start on a candidate; fewer than `size` must be busy. `student` is the id of its architecture."""

    def next(self, timeout_s: float) -> Evaluated | None:
        """The next candidate to be done, in the order of completion; None where none is within the time.

        A candidate whose worker died is tried once more, then it comes back as a failed trial with the reason. Raises
        UserError for what no further trial could do better, such as a runtime that cannot run here.
        """

    def __enter__(self) -> "Pool":
        """Nothing is started before the first `submit`."""

    def __exit__(self, *raised: object) -> None:
        """Stop all workers; what they were at is lost."""


ATTEMPTS = 2  # at a candidate whose worker dies


def died(proposal: Proposal, student: str, how: str) -> Evaluated:
    """The failed trial of a candidate whose worker died in every attempt; `how` the last one did."""
    reason = f"its worker died in {ATTEMPTS} attempts, the last time {how}"
    return Evaluated(Trial(0, student, proposal.params, "failed", attrs=proposal.attrs, reason=reason), again=True)
