"""Toy search spaces, and trials on them."""

import json
from dataclasses import dataclass, field

import pytest

from erde_nas.space.trial import Trial


@dataclass
class Toy:
    """A space in which the parameters `ignored[p]` do not matter while p has its first choice."""

    parameters: dict
    ignored: dict = field(default_factory=dict)

    def identify(self, params):
        off = {name for key, names in self.ignored.items() if params[key] == self.parameters[key][0] for name in names}
        return json.dumps({name: value for name, value in params.items() if name not in off}, sort_keys=True)

    def objectives(self, params):
        """Two conflicting objectives, both sums over the parameters: small choices cost little and err much."""
        level = [self.parameters[name].index(value) for name, value in params.items()]
        return float(sum((5 - i) * (k + 1) for k, i in enumerate(level))), float(sum(1.7**i for i in level))

    def trial(self, number, proposal, **changes):
        values = {"state": "complete", "objectives": self.objectives(proposal.params), **changes}
        return Trial(number, self.identify(proposal.params), proposal.params, attrs=proposal.attrs, **values)


@pytest.fixture
def small():
    """2 * 3 * 2 * 1 combinations, but with 'plain' neither size nor head matters: 1 + 6 architectures."""
    parameters = {"family": ("plain", "fancy"), "size": (8, 16, 24), "head": (0.5, 1.5), "single": ("only",)}
    return Toy(parameters, {"family": ("size", "head")})


@pytest.fixture
def large():
    """Over 10**5 combinations: strings, integers and floats."""
    parameters = {f"width{i}": (8, 16, 32, 64) for i in range(6)}
    return Toy(parameters | {"family": ("a", "b", "c"), "scale": (0.5, 1.0, 1.5, 2.0), "depth": (1, 2, 3), "one": (7,)})
