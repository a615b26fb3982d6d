"""How much of the gradient of each exit's loss reaches what the exits share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GradientFlow:
    """`rescaled`: what flows back from each exit and from what follows it is scaled, so that the trunk's gradient does
    not grow with the number of exits behind it (gradient equilibrium, Li et al., ICCV 2019, eq. 1). `heads`: the share
    of an early head's gradient that reaches the trunk, 0..1; its own weights get all of it, and so does the trunk from
    the last head. With 0 the trunk learns from the last exit alone."""

    rescaled: bool = False
    heads: float = 1.0


WHOLE = GradientFlow()
