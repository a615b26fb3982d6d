"""One candidate at a time, in this process."""

from erde_nas.searching.workers.interface import Evaluate, Evaluated
from erde_nas.space.trial import Proposal


class InlinePool:
    """See `interface.Pool`. A candidate is evaluated while `next` waits for it."""

    size = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._waiting: list[Proposal] = []

    @property
    def busy(self) -> int:
        """See `Pool.busy`."""
        return len(self._waiting)

    def submit(self, proposal: Proposal, student: str) -> None:
        """See `Pool.submit`."""
        self._waiting.append(proposal)

    def next(self, timeout_s: float) -> Evaluated | None:
        """See `Pool.next`; an evaluation takes the time that it takes."""
        return self._evaluate(self._waiting.pop(0)) if self._waiting and timeout_s > 0 else None

    def __enter__(self) -> "InlinePool":
        return self

    def __exit__(self, *raised: object) -> None:
        self._waiting.clear()
