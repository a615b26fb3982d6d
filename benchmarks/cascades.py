"""Cascades of independent networks beside networks whose exits share features, at equal MACs.

    python benchmarks/cascades.py WORK/*.npz [--budgets 4,6,8] > benchmarks/results/cascades-cifar10.csv

Each file holds a trained network: `macs` per exit, the logits of every exit on `validation` and `test` (exits, n,
classes), and their labels; `benchmarks/exit_rules_networks.py` trains such networks. For every budget of mean MACs the
operating point of each kind that is most accurate on validation is chosen, and its test accuracy given: a network cut
to one exit, a network with its exits, and cascades of two networks (each cut to any of its exits) with a share of the
first network in the answers of the second.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from erde_nas.networks.cascade import cascade_costs, cascade_logits
from erde_nas.networks.cascade_choice import SHARES
from erde_nas.networks.operating_points import OperatingPoint, operate, operating_curve

KINDS = ("one exit", "its exits", *(f"cascade with {share:.0%} of the first" for share in SHARES))
Network = tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]  # name, validation and test logits, MACs per exit


def networks(path: Path) -> tuple[list[Network], np.ndarray, np.ndarray]:
    """The network of a file cut at each of its exits, then whole; the labels of validation and test."""
    data = np.load(path)
    macs, count = tuple(map(float, data["macs"])), len(data["macs"])
    cut = [
        (
            f"{path.stem} at exit {number}",
            data["validation"][[number]],
            data["test"][[number]],
            macs[number : number + 1],
        )
        for number in range(count)
    ]
    whole = [(path.stem, data["validation"], data["test"], macs)] if count > 1 else []
    return [*cut, *whole], data["validation_labels"], data["test_labels"]


def candidates(found: list[Network]) -> Iterator[tuple[str, Network]]:
    """Every network and every pair of different files, by kind."""
    for name, valid, test, macs in found:
        yield KINDS[len(macs) > 1], (name, valid, test, macs)
    single = [network for network in found if len(network[3]) == 1]
    for first in single:
        for second in single:
            if first[0].split(" at ")[0] != second[0].split(" at ")[0] and first[3][0] < second[3][0]:
                costs = cascade_costs(first[3], second[3])
                for number, share in enumerate(SHARES):
                    logits = [cascade_logits(a, b, share) for a, b in zip(first[1:3], second[1:3], strict=True)]
                    yield KINDS[2 + number], (f"{first[0]} + {second[0]}", *logits, costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--budgets", default="4,6,8,10,12,14,16,18,20,22", help="mean M MACs")
    given = parser.parse_args()
    found: list[Network] = []
    for path in given.files:
        more, valid_labels, test_labels = networks(path)
        found += more
    curves: dict[str, list[tuple[OperatingPoint, Network]]] = {kind: [] for kind in KINDS}
    for kind, network in candidates(found):
        points = operating_curve(network[1], valid_labels, network[3])
        curves[kind] += [(point, network) for point in points]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["budget_m_macs", "kind", "networks", "m_macs_validation", "validation_accuracy", "test_accuracy"])
    for budget in map(float, given.budgets.split(",")):
        for kind, points in curves.items():
            within = [(point, network) for point, network in points if point.cost <= 1e6 * budget]
            if not within:
                continue
            point, (name, _, test, macs) = max(within, key=lambda one: one[0].accuracy)
            tested = operate(test, test_labels, macs, point.thresholds)
            row = [
                f"{budget:g}",
                kind,
                name,
                f"{point.cost / 1e6:.2f}",
                f"{point.accuracy:.4f}",
                f"{tested.accuracy:.4f}",
            ]
            writer.writerow(row)


if __name__ == "__main__":
    main()
