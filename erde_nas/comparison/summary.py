"""All runs of a comparison -> distil.json: every measure's mean, interval and paired difference, and the curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from erde_nas.comparison.metrics import budget_curve, curve_budgets, measures
from erde_nas.comparison.statistics import estimate, paired_difference
from erde_nas.comparison.store import TrainedStudent
from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.recipe.distil import DistilSection

Trained = Mapping[str, Sequence[TrainedStudent]]
"""The finished runs of every loss, by its name; the first loss is the reference."""


def summarise(
    losses: Mapping[str, DistilSection],
    runs: Trained,
    validation_labels: np.ndarray,
    test_labels: np.ndarray,
    rule: ExitRule = ENTROPY,
) -> dict[str, Any]:
    """JSON-ready values. Differences from the first loss are taken over the seeds that both have finished."""
    values = {
        name: {run.seed: measures(run, validation_labels, test_labels, rule) for run in found}
        for name, found in runs.items()
    }
    curves = {
        name: {
            run.seed: budget_curve(run, validation_labels, test_labels, curve_budgets(run.macs_per_exit), rule)
            for run in found
        }
        for name, found in runs.items()
    }
    reference = next(iter(losses))
    entries = []
    for name, section in losses.items():
        accuracy = {seed: curve.accuracy for seed, curve in curves[name].items()}
        entry: dict[str, Any] = {"loss": name, "section": section.model_dump(), "seeds": sorted(accuracy)}
        if accuracy:
            entry |= {
                "measures": _estimates(values[name]),
                "difference": _differences(values[name], values[reference]),
                "curve": _curve(accuracy, {seed: curve.accuracy for seed, curve in curves[reference].items()}),
            }
        entries.append(entry)
    first = next((run for found in runs.values() for run in found), None)
    macs = None if first is None else list(first.macs_per_exit)
    budgets = None if macs is None else curve_budgets(macs).tolist()
    return {
        "schema": 1,
        "reference": reference,
        "macs_per_exit": macs,
        "budgets": budgets,
        "exit_rule": rule.name,
        "losses": entries,
    }


def _estimates(values: dict[int, dict[str, float]]) -> dict[str, Any]:
    names = next(iter(values.values()))
    found = {}
    for name in names:
        by_seed = {seed: measured[name] for seed, measured in sorted(values.items())}
        result = estimate(list(by_seed.values()))
        found[name] = {"mean": result.mean, "ci95": result.ci95, "values": list(by_seed.values())}
    return found


def _differences(values: dict[int, dict[str, float]], reference: dict[int, dict[str, float]]) -> dict[str, Any]:
    common = sorted(values.keys() & reference.keys())
    found: dict[str, Any] = {}
    for name in values[common[0]] if common else ():
        result = paired_difference([values[s][name] for s in common], [reference[s][name] for s in common])
        found[name] = {"mean": result.mean, "ci95": result.ci95, "p": result.p, "n": result.n}
    return found


def _curve(accuracy: dict[int, np.ndarray], reference: dict[int, np.ndarray]) -> dict[str, Any]:
    """Mean accuracy and mean paired difference at every budget, with their intervals."""
    common = sorted(accuracy.keys() & reference.keys())
    own = [estimate(column) for column in np.array([accuracy[s] for s in sorted(accuracy)]).T.tolist()]
    curve = {"mean": [e.mean for e in own], "ci95": [e.ci95 for e in own]}
    if common:
        gaps = [estimate(column) for column in np.array([accuracy[s] - reference[s] for s in common]).T.tolist()]
        curve |= {"difference": [e.mean for e in gaps], "difference_ci95": [e.ci95 for e in gaps]}
    return curve
