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

EXIT = "exit"  # how the space's parameters of exit placement begin


class Subnetworks:
    """The architectures of `space` that belong to one family."""

    def __init__(self, space: Space, name: str) -> None:
        self.name, self.heads, self.max_exits = name, [str(head) for head in space.parameters["head"]], space.max_exits
        self._space = space
        self._choices = {
            key: choices for key, choices in space.parameters.items() if key != "family" and not key.startswith(EXIT)
        }
        self._no_exits: dict[str, Choice] = {key: NO_EXIT for key in space.parameters if key.startswith(EXIT)}

    def covering(self) -> list[Arch]:
        """Architectures that together use every weight of the family, the largest last.

        All of them are as deep and wide as possible but for stem and first stage: which widths these have decides
        whether the first block has a projection.
        """
        keys = ("stem", "width0")
        pairs = itertools.product(*(sorted(map(int, self._choices[key])) for key in keys))
        largest = {key: _extreme(choices, max) for key, choices in self._choices.items()}
        archs = [self._decode({**largest, **dict(zip(keys, pair, strict=True))}) for pair in pairs]
        return [self.everywhere(arch, [head] * len(arch.blocks)) for arch in archs for head in self.heads]

    def largest(self, generator: np.random.Generator) -> Arch:
        """As deep and wide as possible, with an exit of a random kind on every block: it teaches the others' exits."""
        arch = self._decode({key: _extreme(choices, max) for key, choices in self._choices.items()})
        return self.everywhere(arch, [str(head) for head in generator.choice(self.heads, len(arch.blocks))])

    def smallest(self, generator: np.random.Generator) -> Arch:
        """As shallow and narrow as possible, with random exits."""
        arch = self._decode({key: _extreme(choices, min) for key, choices in self._choices.items()})
        return self._random_exits(arch, generator)

    def random(self, generator: np.random.Generator) -> Arch:
        """Every choice is equally likely, and so is every number of exits."""
        drawn = {key: choices[generator.integers(len(choices))] for key, choices in self._choices.items()}
        return self._random_exits(self._decode(drawn), generator)

    def everywhere(self, arch: Arch, heads: Sequence[str]) -> Arch:
        """`arch` with an exit on every block."""
        return replace_exits(arch, [Exit(block, head) for block, head in enumerate(heads)])

    def _random_exits(self, arch: Arch, generator: np.random.Generator) -> Arch:
        last = len(arch.blocks) - 1
        early = int(generator.integers(min(self.max_exits, len(arch.blocks))))
        places = sorted(generator.permutation(last)[:early].tolist())
        return replace_exits(arch, [Exit(block, str(generator.choice(self.heads))) for block in [*places, last]])

    def _decode(self, params: dict[str, Choice]) -> Arch:
        return self._space.decode({**self._no_exits, "family": self.name, **params})


def replace_exits(arch: Arch, exits: Sequence[Exit]) -> Arch:
    """`arch` with other exits, shallowest first, the last on its last block."""
    widths = tuple(head_width(exit_.head, arch.blocks[exit_.block].width) for exit_ in exits)
    return replace(arch, exits=tuple(exits), head_widths=widths)


def _extreme(choices: Sequence[Choice], pick: Callable[[Iterable[int]], int]) -> Choice:
    """The smallest or largest number; of names the first."""
    return choices[0] if isinstance(choices[0], str) else pick(map(int, choices))
