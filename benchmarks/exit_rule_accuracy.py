"""Exit rules, and answers that use the exits before, compared on the same trained networks.

    python benchmarks/exit_rule_accuracy.py WORK [OUT.csv]

WORK is what exit_rules_networks.py wrote. For each network and rule: thresholds for 101 budgets between the first
exit's MACs and the last one's come from validation, accuracy at them from test. `area` is the mean accuracy over the
budgets, `more` what it is above that of `entropy` with each exit's own answer, `above_margin` what it is above that of
`margin` with the same answers: in points, with a 95 % interval over the test images, paired.

`averaged` answers with the mean of the log-probabilities of all exits so far (Zero Time Waste, arXiv 2106.05409),
`weighted` with the weights that have the least cross-entropy on validation. OUT-few-images.csv has the same areas where
only FEW of the validation images are known, drawn DRAWS times: their means, and those of the differences from `margin`
with the standard deviation of one draw.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from erde_nas.comparison.metrics import curve_budgets
from erde_nas.device.exit_rules import exit_rule
from erde_nas.networks.operating_points import exit_indices, operating_curve, scores
from erde_nas.registry import EXIT_RULES

FEW, DRAWS = (50, 200, 1000), 12
SHARES = (0.25, 0.5, 0.75)  # of the way between the first exit's MACs and the last one's


def combined(logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Logits (exits, n, classes), weights (exits, exits) -> the weighted sums of all exits' log-probabilities."""
    return np.einsum("ij,jnc->inc", weights, log_softmax(logits.astype(float), -1))


def least_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights (exits, exits): for each exit those of itself and the ones before."""
    log_p, rows = log_softmax(logits.astype(float), -1), np.arange(len(labels))
    weights = np.eye(len(logits))
    for number in range(1, len(logits)):

        def loss(own: np.ndarray, so_far: np.ndarray = log_p[: number + 1]) -> float:
            return -float(log_softmax(np.tensordot(own, so_far, 1), -1)[rows, labels].mean())

        start = np.full(number + 1, 1 / (number + 1))
        weights[number, : number + 1] = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-3}).x
    return weights


def right_at_budgets(name: str, network: dict[str, np.ndarray], answers: dict[str, np.ndarray]) -> np.ndarray:
    """Whether each test image is answered rightly at every budget: (budgets, n)."""
    rule, macs = exit_rule(name), network["macs"].astype(float)
    labels = network["validation_labels"]
    points = operating_curve(answers["validation"], labels, macs, rule)
    score = scores(rule.fitted(answers["validation"], labels), answers["test"])
    correct = answers["test"].argmax(-1) == network["test_labels"]
    each = []
    for point in points:
        taken = exit_indices(score, point.thresholds)
        each.append(correct[taken, np.arange(len(taken))])
    limits = np.array([point.cost for point in points])
    chosen = np.maximum(np.searchsorted(limits, curve_budgets(macs) * (1 + 1e-9), side="right") - 1, 0)
    return np.array(each)[chosen]


def difference(right: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Of the mean accuracies over the budgets, in points, with its 95 % interval over the images (budgets, n)."""
    each = 100 * (right.mean(0) - other.mean(0))
    half = 1.96 * each.std(ddof=1) / len(each) ** 0.5
    return each.mean(), each.mean() - half, each.mean() + half


def rows_of(path: Path) -> list[list[str]]:
    """The lines of one network."""
    with np.load(path) as arrays:
        network = dict(arrays)
    splits, exits = ("validation", "test"), len(network["macs"])
    averaged = np.tril(np.ones((exits, exits))) / np.arange(1, exits + 1)[:, None]
    weighted = least_cross_entropy(network["validation"], network["validation_labels"])
    reference, rows = None, list[list[str]]()
    for answer, weights in (("own", None), ("averaged", averaged), ("weighted", weighted)):
        answers = {s: network[s] if weights is None else combined(network[s], weights) for s in splits}
        found = {name: right_at_budgets(name, network, answers) for name in EXIT_RULES}
        reference = found["entropy"] if reference is None else reference
        for name, right in found.items():
            at = [100 * right[round(share * (len(right) - 1))].mean() for share in SHARES]
            last = 100 * (answers["test"][-1].argmax(-1) == network["test_labels"]).mean()
            more, above_margin = difference(right, reference), difference(right, found["margin"])
            figures = [100 * right.mean(), *more, *above_margin, *at, last]
            rows.append([path.stem, answer, name, *(f"{figure:.3f}" for figure in figures)])
            print(*rows[-1], flush=True)
    return rows


def few_images(path: Path) -> list[list[str]]:
    """The lines of one network."""
    with np.load(path) as arrays:
        network = dict(arrays)
    rows = []
    for count in (few for few in FEW if few < len(network["validation_labels"])):
        rng, areas = np.random.default_rng(0), {name: list[float]() for name in EXIT_RULES}
        for _ in range(DRAWS):
            drawn = rng.choice(len(network["validation_labels"]), count, replace=False)
            some = {**network, "validation_labels": network["validation_labels"][drawn]}
            answers = {"validation": network["validation"][:, drawn], "test": network["test"]}
            for name, found in areas.items():
                found.append(100 * right_at_budgets(name, some, answers).mean())
        for name, found in areas.items():
            above = np.subtract(found, areas["margin"])
            figures = [np.mean(found), above.mean(), above.std(ddof=1)]
            rows.append([path.stem, str(count), name, *(f"{figure:.3f}" for figure in figures)])
            print(*rows[-1], flush=True)
    return rows


def main(work: Path, out: Path) -> None:
    few = [row for path in sorted(work.glob("*.npz")) for row in few_images(path)]
    with out.with_stem(f"{out.stem}-few-images").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "validation_images", "rule", "area", "above_margin", "deviation_of_a_draw"])
        writer.writerows(few)
    rows = [row for path in sorted(work.glob("*.npz")) for row in rows_of(path)]
    with out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        at = [f"at_{share:.0%}_of_the_way" for share in SHARES]
        more = [f"{name}{end}" for name in ("more", "above_margin") for end in ("", "_low", "_high")]
        writer.writerow(["network", "answer", "rule", "area", *more, *at, "last_exit"])
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "benchmarks/results/exit-rule-accuracy.csv"))
