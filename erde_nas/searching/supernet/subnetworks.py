"""Which architectures of a family are trained in a step: the largest, the smallest, and random ones between them.

The sandwich rule: Yu & Huang, "Universally slimmable networks", ICCV 2019, arXiv 1903.05134.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import head_width
from erde_nas.space.space import NO_EXIT, Space
from erde_nas.space.trial import Choice
from erde_nas.space.variation import blocks

EXIT = "exit"  # how the space's parameters of exit placement begin


class Subnetworks:
    """The architectures of `space` that belong to one family."""

    def __init__(self, space: Space, name: str) -> None:
        self.name, self.heads, self.max_exits = name, [str(head) for head in space.parameters["head"]], space.max_exits
        self._space = space
        self._choices = {
            key: choices for key, choices in space.parameters.items() if key != "family" and not key.startswith(EXIT)
        }
        self._largest = {key: _extreme(choices, max) for key, choices in self._choices.items()}
        self._no_exits: dict[str, Choice] = {key: NO_EXIT for key in space.parameters if key.startswith(EXIT)}

    def covering(self) -> list[Arch]:
        """Architectures that together use every weight of the family, the largest last.

        All of them are as deep and wide as possible but for stem and first stage: which widths these have decides
        whether the first block has a projection.
        """
        keys = ("stem", "width0")
        pairs = itertools.product(*(sorted(map(int, self._choices[key])) for key in keys))
        archs = [self._decode({**self._largest, **dict(zip(keys, pair, strict=True))})[0] for pair in pairs]
        places = self._every_place()
        return [everywhere(arch, places, [head] * len(places)) for arch in archs for head in self.heads]

    def largest(self, generator: np.random.Generator) -> Arch:
        """As deep and wide as possible, with exits of random kinds wherever students have theirs: it teaches them."""
        arch, _ = self._decode(self._largest)
        places = self._every_place()
        return everywhere(arch, places, [str(head) for head in generator.choice(self.heads, len(places))])

    def smallest(self, generator: np.random.Generator) -> Arch:
        """As shallow and narrow as possible, with random exits."""
        shape = self._decode({key: _extreme(choices, min) for key, choices in self._choices.items()})
        return self._random_exits(*shape, generator)

    def random(self, generator: np.random.Generator) -> Arch:
        """Every choice is equally likely, and so is every number of exits."""
        drawn = {key: choices[generator.integers(len(choices))] for key, choices in self._choices.items()}
        return self._random_exits(*self._decode(drawn), generator)

    def _every_place(self) -> list[int]:
        """The blocks of the deepest architecture on which some architecture has an exit, early or last."""
        found = set()
        for key in (key for key in self._choices if key.startswith("depth")):
            for depth in self._choices[key]:
                params = {**self._largest, key: depth}
                found |= {*self._space.variation.places(params), blocks(params, self._space.stages)[-1]}
        return [number for number, block in enumerate(blocks(self._largest, self._space.stages)) if block in found]

    def _random_exits(self, arch: Arch, places: Sequence[int], generator: np.random.Generator) -> Arch:
        *free, last = places
        early = int(generator.integers(min(self.max_exits, len(places))))
        chosen = sorted(free[number] for number in generator.permutation(len(free))[:early])
        return replace_exits(arch, [Exit(block, str(generator.choice(self.heads))) for block in [*chosen, last]])

    def _decode(self, choices: dict[str, Choice]) -> tuple[Arch, list[int]]:
        """The architecture with its last exit alone, and the blocks that may carry one, that of the last included."""
        params = {**self._no_exits, "family": self.name, **choices}
        arch = self._space.decode(params)
        return arch, [*self._space.exit_blocks(params), len(arch.blocks) - 1]


def everywhere(arch: Arch, places: Sequence[int], heads: Sequence[str]) -> Arch:
    """`arch` with an exit on every block of `places`."""
    return replace_exits(arch, [Exit(block, head) for block, head in zip(places, heads, strict=True)])


def replace_exits(arch: Arch, exits: Sequence[Exit]) -> Arch:
    """`arch` with other exits, shallowest first, the last on its last block."""
    widths = tuple(head_width(exit_.head, arch.blocks[exit_.block].width) for exit_ in exits)
    return replace(arch, exits=tuple(exits), head_widths=widths)


def _extreme(choices: Sequence[Choice], pick: Callable[[Iterable[int]], int]) -> Choice:
    """The smallest or largest number; of names the first."""
    return choices[0] if isinstance(choices[0], str) else pick(map(int, choices))
