"""Children of told candidates, for every strategy that evolves; and how candidates of an arbitrary space vary."""

from collections.abc import Sequence

import numpy as np

from erde_nas.searching.searchers.interface import Seen
from erde_nas.space.interface import Parameters, Params, SearchSpace, Variation, VariedSpace
from erde_nas.space.trial import Choice
from erde_nas.space.variation import steps

CROSSOVER = 0.5  # share of the children that have two parents
ATTEMPTS = 16  # children, before one that was seen is let through
PATIENCE = 4  # attempts after which a child gets one more mutation


class OrderedChoices:
    """Variation for spaces without one of their own: uniform crossover; one parameter changes by one step."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def cross(self, first: Params, second: Params, generator: np.random.Generator) -> dict[str, Choice]:
        """See `interface.Variation`."""
        return {name: (first, second)[generator.integers(2)][name] for name in self._parameters}

    def canonical(self, params: Params) -> dict[str, Choice]:
        """See `interface.Variation`. Nothing is known of what means the same."""
        return dict(params)

    def mutate(self, params: Params, generator: np.random.Generator) -> dict[str, Choice]:
        """See `interface.Variation`."""
        varying = [name for name, choices in self._parameters.items() if len(choices) > 1]
        child = dict(params)
        if varying:
            name = varying[generator.integers(len(varying))]
            others = steps(self._parameters[name], params[name])
            child[name] = others[generator.integers(len(others))]
        return child


def variation_of(space: SearchSpace) -> Variation:
    """The space's own variation, or the one that fits any choices."""
    return space.variation if isinstance(space, VariedSpace) else OrderedChoices(space.parameters)


def breed(
    parents: Sequence[Params], variation: Variation, generator: np.random.Generator, seen: Seen
) -> dict[str, Choice]:
    """An unseen child of one or two of at least one parent; the more children were seen, the more they mutate."""
    child: dict[str, Choice] = {}
    for attempt in range(ATTEMPTS):
        first = parents[int(generator.integers(len(parents)))]
        child = dict(first)
        if len(parents) > 1 and generator.random() < CROSSOVER:
            child = variation.cross(first, parents[int(generator.integers(len(parents)))], generator)
        for _ in range(1 + attempt // PATIENCE):
            child = variation.mutate(child, generator)
        if not seen(child):
            break
    return child


def random_params(parameters: Parameters, generator: np.random.Generator) -> dict[str, Choice]:
    """Every choice with equal probability."""
    return {name: choices[generator.integers(len(choices))] for name, choices in parameters.items()}
