"""Crossover and mutation of architectures: on stages, widths, depths and placements of exits, not on a vector.

An exit has a relative depth: the number of its stage plus the share of the stage's blocks that it has behind it, so
that 1.5 is half-way through the second stage and 2 is its end. Where a child's depths are not its parent's, each exit
goes to the nearest relative depth that may carry one. Choices that are numbers change by one step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from erde_nas.networks.families import family_of
from erde_nas.space.trial import Choice

NO_EXIT = "none"
END = "end"  # in place of a position: the last block of its stage, whatever its depth
Given = Mapping[str, Choice]
Params = dict[str, Choice]
Block = tuple[int, int]  # stage, position in the stage
Exits = dict[Block, Choice]  # the early exits, with their heads


class ArchitectureVariation:
    """For the parameters of a `space.Space`. What it returns has no exit beyond its depths or above `max_exits`."""

    def __init__(self, parameters: Mapping[str, tuple[Choice, ...]], max_exits: int) -> None:
        self._parameters, self._room = parameters, max_exits - 1
        self._stages = sum(name.startswith("depth") for name in parameters)
        self._steps = {name: {choice: steps(of, choice) for choice in of} for name, of in parameters.items()}

    def cross(self, first: Given, second: Given, generator: np.random.Generator) -> Params:
        """A child: every stage is that of one parent, and so are family, stem and last head.

        Of the parents' exits, carried to the child's depths, it has those that both have, and each other one by a
        coin; where that is more than there is room for, a random choice of them.
        """
        parents = (first, second)
        child: Params = {}
        for names in self._groups():
            donor = parents[generator.integers(2)]
            child |= {name: donor[name] for name in names}
        placed = [self.carry(self.exits(parent), parent, child) for parent in parents]
        kept: Exits = {}
        for block in sorted(placed[0].keys() | placed[1].keys()):
            heads = [of[block] for of in placed if block in of]
            if len(heads) == 2 or generator.integers(2):
                kept[block] = heads[generator.integers(len(heads))]
        return self.write(child, self._crop(kept, generator))

    def canonical(self, params: Given) -> Params:
        """What means the same, always written alike: what does not apply has its first choice, or no exit."""
        first = {name: choices[0] for name, choices in self._parameters.items()}
        means = {name: choice for name, choice in params.items() if applies(name, params["family"])}
        return self.write({**first, **means}, self.exits(params))

    def mutate(self, params: Given, generator: np.random.Generator) -> Params:
        """One of the `neighbours`: first what changes is drawn, then how. Params without neighbours come back."""
        ways = [found for found in self._ways(params).values() if found]
        if not ways:
            return dict(params)
        chosen = ways[generator.integers(len(ways))]
        return chosen[generator.integers(len(chosen))]()

    def neighbours(self, params: Given) -> dict[str, list[Params]]:
        """Everything that one change makes of an architecture, by what changes: a parameter, or the placement."""
        return {way: [make() for make in makes] for way, makes in self._ways(params).items()}

    def _ways(self, params: Given) -> dict[str, list[Callable[[], Params]]]:
        """What makes each of the `neighbours`: there are far more of them than a mutation needs."""
        here = self.exits(params)
        found: dict[str, list[Callable[[], Params]]] = {}
        for name, nearest in self._steps.items():
            if not name.startswith("exit") and applies(name, params["family"]):
                found[name] = [partial(self._change, params, here, name, choice) for choice in nearest[params[name]]]
        for way, others in self._placements(params, here):
            found[way] = [partial(self.write, params, other) for other in others]
        return found

    def _change(self, params: Given, here: Exits, name: str, choice: Choice) -> Params:
        """The params with another choice, and the exits of `here` where they then belong."""
        other = {**params, name: choice}
        return self.write(other, self.carry(here, params, other))

    def exits(self, params: Given) -> Exits:
        """The early exits that count: those on a block that is there and not the last; the deepest, where room ends."""
        heads = {block: params[name] for block, name in self.places(params).items()}
        wanted = [(block, head) for block, head in heads.items() if head != NO_EXIT]
        return dict(wanted[max(0, len(wanted) - self._room) :])

    def places(self, params: Given) -> dict[Block, str]:
        """The blocks that may carry an early exit, in order, and the parameter that says so."""
        found: dict[Block, str] = {}
        for stage, position in blocks(params, self._stages)[:-1]:
            ends = position == int(params[f"depth{stage}"]) - 1
            for name in (f"exit{stage}.{position}", f"exit{stage}.{END}" if ends else ""):
                if name in self._parameters:
                    found[stage, position] = name
        return found

    def carry(self, placed: Mapping[Block, Choice], old: Given, new: Given) -> Exits:
        """Exits of `old` on the blocks of `new` with the nearest relative depth; where two meet, the deeper stays."""
        free = list(self.places(new))
        result: Exits = {}
        for block, head in sorted(placed.items()):
            if free:
                result[min(free, key=lambda other: abs(relative(other, new) - relative(block, old)))] = head
        return result

    def write(self, params: Given, placed: Mapping[Block, Choice]) -> Params:
        """The params with exits where `placed` says, and nowhere else."""
        names = {name: placed[block] for block, name in self.places(params).items() if block in placed}
        return {n: names.get(n, NO_EXIT) if n.startswith("exit") else params[n] for n in self._parameters}

    def _placements(self, params: Given, here: Exits) -> Iterable[tuple[str, list[Exits]]]:
        """Every placement that is one exit away: one that moves by a block, appears, vanishes or has a new head."""
        free = list(self.places(params))
        heads = self._parameters["head"]
        rest = {block: {b: h for b, h in here.items() if b != block} for block in here}
        yield "vanish", list(rest.values())
        yield "rehead", [{**here, block: head} for block in here for head in heads if head != here[block]]
        yield (
            "move",
            [
                {**rest[block], free[other]: here[block]}
                for block in here
                for other in (free.index(block) - 1, free.index(block) + 1)
                if 0 <= other < len(free) and free[other] not in here
            ],
        )
        fresh = [block for block in free if block not in here] if len(here) < self._room else []
        yield "appear", [{**here, block: head} for block in fresh for head in heads]

    def _groups(self) -> list[list[str]]:
        """The names of parameters that are inherited together: stage by stage."""
        common = [[name] for name in ("family", "stem", "stem_stride", "head")]
        kinds = ("depth", "width", "stride", "kernel", "expansion")
        stages = [[f"{kind}{stage}" for kind in kinds] for stage in range(self._stages)]
        return [[name for name in names if name in self._parameters] for names in (*common, *stages)]

    def _crop(self, placed: Exits, generator: np.random.Generator) -> Exits:
        if len(placed) <= self._room:
            return placed
        kept = generator.choice(len(placed), self._room, replace=False)
        return {block: head for number, (block, head) in enumerate(placed.items()) if number in kept}


def blocks(params: Given, stages: int) -> list[Block]:
    """All blocks in order."""
    return [(stage, position) for stage in range(stages) for position in range(int(params[f"depth{stage}"]))]


def relative(block: Block, params: Given) -> float:
    """The relative depth of a block."""
    stage, position = block
    return stage + (position + 1) / int(params[f"depth{stage}"])


def applies(name: str, family: Choice) -> bool:
    """Whether a parameter other than an exit means anything in a family."""
    if name.startswith("kernel"):
        return family_of(str(family)).kernels
    return not name.startswith("expansion") or family_of(str(family)).expansions


def steps(choices: Sequence[Choice], value: Choice) -> list[Choice]:
    """What one change makes of a choice: its neighbours among numbers, any other among names."""
    if isinstance(value, str):
        return [choice for choice in choices if choice != value]
    ordered = sorted(choices, key=float)
    at = ordered.index(value)
    return [ordered[other] for other in (at - 1, at + 1) if 0 <= other < len(ordered)]
