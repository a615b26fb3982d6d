"""Candidates that passing trouble stopped: each one comes back once. Where their device was lost, when that is back."""

from erde_nas.errors import DeviceLost
from erde_nas.space.trial import Proposal, Trial

LOST_IN_A_ROW = 3  # candidates, besides those that were at it at the same time, before a search ends


class Postponed:
    """What a search keeps for later. `at_once` is how many candidates are evaluated at the same time."""

    def __init__(self, at_once: int) -> None:
        self._most = LOST_IN_A_ROW + at_once - 1
        self._waiting: list[tuple[Proposal, str]] = []
        self._seen: set[str] = set()
        self._lost = 0  # in a row

    def postpones(self, trial: Trial, lost: bool, again: bool = False) -> bool:
        """Whether a candidate is kept for later; false where it was evaluated, or stopped for the second time.

        `lost`: with its device; `again`: by trouble of its own, which says nothing of the others.

        Raises DeviceLost where too many were lost in a row: a search should not spend its candidates on that.
        """
        self._lost = self._lost + 1 if lost else 0
        if self._lost >= self._most:
            raise DeviceLost(
                f"{trial.reason}. {self._lost} candidates in a row could not be measured; what is finished is kept, "
                "and the same command continues when the device is back"
            )
        if not (lost or again) or trial.student in self._seen:
            return False
        self._seen.add(trial.student)
        self._waiting.append((Proposal(trial.params, trial.attrs), trial.student))
        return True

    def retries(self, free: int, nothing_else: bool) -> list[tuple[Proposal, str]]:
        """Up to `free` candidates with their students, whose turn it is: the device answers, or nothing else is left
        to do."""
        if self._lost and not nothing_else:
            return []
        ready, self._waiting = self._waiting[:free], self._waiting[free:]
        return ready
