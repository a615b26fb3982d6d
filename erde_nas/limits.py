"""Limits that nobody can meet: noticed before anything is trained, and explained where no candidate met them."""

from collections.abc import Sequence

import torch

from erde_nas.candidate import latency_per_exit
from erde_nas.errors import UserError
from erde_nas.hardware import HardwareProfile
from erde_nas.measure.macs import macs_per_exit, parameter_count
from erde_nas.records import Dataset, Trial
from erde_nas.space import Space
from erde_nas.students.network import EarlyExitNetwork

LIMITS = ("latency_ms", "macs", "params", "size_bytes")


def check_reachable(space: Space, profiles: tuple[HardwareProfile, ...], dataset: Dataset) -> None:
    """Raises UserError where even the smallest student, leaving at its first exit, is beyond a limit.

    Its latency is measured, untrained: latency does not depend on the weights.
    """
    if all(getattr(profile.limits, key) is None for profile in profiles for key in LIMITS):
        return
    networks = [EarlyExitNetwork(arch, dataset.mean, dataset.std) for arch in space.smallest()]
    lightest = min(networks, key=lambda network: macs_per_exit(network)[0])
    with torch.no_grad():
        latencies = latency_per_exit(lightest, profiles, dataset.validation.images)
    params = min(map(parameter_count, networks))
    for profile in profiles:
        least = {
            "latency_ms": latencies[profile.name][0],
            "macs": macs_per_exit(lightest)[0],
            "params": params,
            "size_bytes": params * profile.bytes_per_parameter,
        }
        for key, value in least.items():
            limit = getattr(profile.limits, key)
            # Latency is measured: leave the search a little room.
            if limit is not None and value > limit * (1.2 if key == "latency_ms" else 1.0):
                raise UserError(
                    f"profile {profile.name}: no student can keep limits.{key} {limit:g}: the smallest of the space "
                    f"needs {value:.4g} at its first exit; raise the limit, or widen the recipe's space downwards"
                )


def nothing_feasible(trials: Sequence[Trial], profiles: Sequence[HardwareProfile]) -> str:
    """Which limit excludes how many of the complete trials, and how near the nearest came."""
    lines = []
    for profile in profiles:
        for key in LIMITS:
            limit = getattr(profile.limits, key)
            if limit is None:
                continue
            values = [_value(trial, key, profile) for trial in trials]
            beyond = sum(value > limit for value in values)
            lines.append(f"{profile.name}: {beyond} exceed limits.{key} {limit:g} (least: {min(values):.4g})")
    advice = "raise one in a new folder, or search longer"
    return f"none of {len(trials)} candidates keeps all limits; {'; '.join(lines)}; {advice}"


def _value(trial: Trial, key: str, profile: HardwareProfile) -> float:
    if key == "latency_ms":
        return trial.metrics["latency_ms"][profile.name]
    if key == "size_bytes":
        return trial.metrics["params"] * profile.bytes_per_parameter
    return trial.metrics[key]
