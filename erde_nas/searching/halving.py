"""Successive halving: many students are trained a little, and the better half of them on, to the full budget.

Jamieson & Talwalkar 2016 (arXiv 1502.07943), with the multi-objective rank of NSGA-II in place of one loss: what is
kept is the better half by non-dominated rank, then by crowding distance.
"""

from dataclasses import dataclass

from erde_nas.recipe.recipe import FinishSection


@dataclass(frozen=True)
class Rung:
    """So many students are trained for so many further epochs."""

    number: int
    students: int
    epochs: int


def rungs(section: FinishSection) -> list[Rung]:
    """The rungs in their order. The last has `section.students`, and all epochs of a student add up to the recipe's.

    Fewer rungs than asked for where there are not as many epochs.
    """
    total = section.train.epochs
    count = min(section.rungs, total.bit_length())  # the epochs are halved at most to one
    ends = [0, *(max(1, round(total / 2 ** (count - 1 - rung))) for rung in range(count))]
    return [
        Rung(number, section.students * 2 ** (count - 1 - number), ends[number + 1] - ends[number])
        for number in range(count)
    ]
