"""What may vary between students that are made of a network of the user's own: exits, channels per stage, blocks."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from erde_nas.data.dataset import Dataset
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.own.base import OwnBase
from erde_nas.networks.own.groups import MULTIPLE
from erde_nas.networks.own.student import own_arch
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.space import SpaceSection
from erde_nas.space.space import REMEMBERED, Space, space_of
from erde_nas.space.trial import Choice
from erde_nas.space.variation import NO_EXIT


class OwnSpace(Space):
    """Exits at the places of `base`, one share of channels to keep for each of its stages, and blocks to skip."""

    def __init__(self, section: SpaceSection, base: OwnBase) -> None:
        self.base, self.image_shape, self.classes, self.max_exits = base, base.shape, base.classes, section.max_exits
        self._stages = list(dict.fromkeys(group.stage for group in base.groups))
        parameters: dict[str, tuple[Choice, ...]] = {}
        for stage in range(len(self._stages)):
            parameters[f"keep{stage}"] = tuple(sorted(section.keep))
        for number in range(len(base.skips) if section.skip else 0):
            parameters[f"skip{number}"] = (0, 1)
        for place in range(len(base.places) if section.max_exits > 1 else 0):
            parameters[f"exit{place}"] = (NO_EXIT, *section.heads)
        self.parameters: Mapping[str, tuple[Choice, ...]] = parameters
        self._decode = lru_cache(REMEMBERED)(self._make_arch)
        self._layers = _Layers(base)

    def _make_arch(self, choices: tuple[Choice, ...]) -> Arch:
        params = dict(zip(self.parameters, choices, strict=True))
        skipped = [number for number in range(len(self.base.skips)) if params.get(f"skip{number}")]
        heads = {place: str(params.get(f"exit{place}", NO_EXIT)) for place in range(len(self.base.places))}
        early = [Exit(place, head) for place, head in heads.items() if head != NO_EXIT]
        kept = early[max(0, len(early) - self.max_exits + 1) :]
        return own_arch(self.base, self._widths(params), skipped, kept)

    def _widths(self, params: Mapping[str, Choice]) -> list[int]:
        """The channels of each group, in multiples, but for those that keep all."""
        shares = {stage: float(params[f"keep{number}"]) for number, stage in enumerate(self._stages)}
        return [kept_of(group.channels, shares[group.stage]) for group in self.base.groups]

    def costs(self, params: Mapping[str, Choice]) -> tuple[float, ...]:
        """What is known before a training: about the MACs of the last and the first exit, without heads, and the number
        of exits."""
        arch = self.decode(params)
        macs = self._layers.macs(arch)
        return macs[-1], macs[0], float(len(macs))

    def middle(self) -> Arch:
        """An architecture of middling size with two exits, for estimates."""
        params = {name: choices[len(choices) // 2] for name, choices in self.parameters.items()}
        params |= {name: self.parameters[name][0] for name in params if not name.startswith("keep")}
        return self.decode({**params, **self._exit(len(self.base.places) // 2)})

    def smallest(self) -> list[Arch]:
        """For each head the cheapest architecture that leaves as early as the space allows."""
        least: dict[str, Choice] = {name: choices[0] for name, choices in self.parameters.items()}
        least |= {name: choices[-1] for name, choices in self.parameters.items() if name.startswith("skip")}
        heads = self.parameters.get("exit0", (NO_EXIT, ""))[1:]
        return [self.decode({**least, **self._exit(0, number)}) for number in range(len(heads))]

    def _exit(self, place: int, head: int = 0) -> dict[str, Choice]:
        """The parameter of an early exit there, with that head; nothing where there are none."""
        name = f"exit{place}"
        return {name: self.parameters[name][1 + head]} if name in self.parameters else {}


def space_of_any(recipe: Recipe, dataset: Dataset, own: OwnBase | None) -> Space:
    """What may vary between students of families for the images of `dataset`, or between those of the user's `own`
    network. Raises UserError where the images are not square."""
    return space_of(recipe, dataset) if own is None else OwnSpace(recipe.space, own)


def kept_of(channels: int, share: float) -> int:
    """The channels that are kept of so many: all at a share of 1, else a multiple of 8, and at least one."""
    return channels if share >= 1 else min(channels, max(MULTIPLE, round(channels * share / MULTIPLE) * MULTIPLE))


class _Layers:
    """The MACs of a base's layers by the channels of its groups, so that no student needs to be built."""

    def __init__(self, base: OwnBase) -> None:
        nodes = list(base.graph.graph.nodes)
        self._base = base
        self._macs = np.array([float(base.macs[node.name]) for node in nodes])
        self._whole = np.array([group.channels for group in base.groups], float)
        self._sides = {side: np.zeros((len(nodes), len(base.groups))) for side in ("out", "in")}  # shares of channels
        at: dict[str, list[int]] = {}
        for number, node in enumerate(nodes):
            at.setdefault(str(node.target) if node.op == "call_module" else "", []).append(number)
        for number, group in enumerate(base.groups):
            for member in (member for member in group.members if member.layer in at):
                weight: Any = base.graph.get_submodule(member.layer).weight
                if weight is not None:  # a norm without one costs nothing
                    share = len(member.channels) / weight.shape[member.side == "in"]
                    self._sides[member.side][at[member.layer], number] += share
        names = [node.name for node in nodes]
        self._ends = [*(names.index(name) for name in base.nodes), len(names) - 1]
        self._skipped = [_inside(base, number) for number in range(len(base.skips))]

    def macs(self, arch: Arch) -> tuple[float, ...]:
        """Up to each exit of a student."""
        assert arch.own is not None
        lost = 1 - np.array(arch.own.widths) / np.maximum(self._whole, 1)
        macs = self._macs * np.prod([1 - shares @ lost for shares in self._sides.values()], axis=0)
        for number in arch.own.skipped:
            macs[self._skipped[number]] = 0.0
        total = np.cumsum(macs)
        return tuple(float(total[self._ends[exit_.block]]) for exit_ in arch.exits)


def _inside(base: OwnBase, skip: int) -> list[int]:
    """The numbers of the nodes behind the source of a block, up to its sum."""
    names = [node.name for node in base.graph.graph.nodes]
    return list(range(names.index(base.skips[skip].source) + 1, names.index(base.skips[skip].node) + 1))
