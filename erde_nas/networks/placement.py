"""The cuts of a network -> the few at which exits are tried."""

from collections.abc import Sequence
from typing import Protocol

from erde_nas.networks.attached import Kind, Place

EARLIEST, LATEST = 0.05, 0.9  # share of the network's MACs before an exit: what remains must be worth saving
NEAR = 0.06  # of the MACs: within it, the end of a stage is better than any other place
LEAST_CHANNELS = 4


class Cut(Protocol):
    """A place where one tensor alone is alive; `shape` is without the batch, `share` is of the MACs up to here."""

    @property
    def number(self) -> int: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def share(self) -> float: ...
    @property
    def stage(self) -> str: ...


def choose_places(cuts: Sequence[Cut], most: int) -> list[Place]:
    """At most `most` places, spread evenly over the network's MACs, rising; none where nothing can be saved.

    Of cuts with as many MACs before them the last one counts: what is done in between costs next to nothing. Ends of
    stages are preferred to what is near them.
    """
    fit = [cut for cut in cuts if EARLIEST <= cut.share <= LATEST and _channels(cut) >= LEAST_CHANNELS]
    if not fit:
        return []
    last = list({round(cut.share, 4): cut for cut in fit}.values())
    stages = [*(cut.stage for cut in last[1:]), ""]
    ends = {cut.number for cut, after in zip(last, stages, strict=True) if cut.stage != after}
    chosen: dict[int, Cut] = {}
    for step in range(most):
        wanted = EARLIEST + (LATEST - EARLIEST) * (step + 0.5) / most
        left = [cut for cut in last if cut.number not in chosen]
        if not left:
            break
        best = min(left, key=lambda cut: abs(cut.share - wanted) - (NEAR if cut.number in ends else 0.0))
        chosen[best.number] = best
    return [Place(number, chosen[number].kind, tuple(chosen[number].shape)) for number in sorted(chosen)]


def _channels(cut: Cut) -> int:
    return cut.shape[0] if cut.kind == "map" else cut.shape[-1]
