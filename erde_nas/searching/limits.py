"""Limits that nobody can meet: noticed before anything is trained, and explained where no candidate met them."""

from collections import Counter
from collections.abc import Sequence

import torch

from erde_nas.data.dataset import Dataset
from erde_nas.errors import UserError
from erde_nas.measurement.candidate_latency import LATENCY_SLACK, latency_per_exit
from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import macs_per_exit, parameter_count
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.searching.forecast import Forecast
from erde_nas.searching.objectives import LIMITS, limited_value
from erde_nas.space.space import Space
from erde_nas.space.trial import Trial, judged_students


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
        least = {"latency_ms": latencies[profile.name][0], **_least(macs_per_exit(lightest)[0], params, profile)}
        for key, value in _beyond(least, profile).items():
            raise UserError(
                f"profile {profile.name}: no student can keep limits.{key} {getattr(profile.limits, key):g}: the "
                f"smallest of the space needs {value:.4g} at its first exit; raise the limit, or widen the recipe's "
                "space downwards"
            )


def _least(first_macs: float, params: int, profile: HardwareProfile) -> dict[str, float]:
    """The least that a student with so many MACs at its first exit can need."""
    return {"macs": first_macs, "params": params, "size_bytes": params * profile.bytes_per_parameter}


def _beyond(values: dict[str, float], profile: HardwareProfile) -> dict[str, float]:
    """Those of the values that are beyond the profile's limit."""
    slack = {"latency_ms": LATENCY_SLACK}
    limits = {key: getattr(profile.limits, key) for key in values}
    return {k: v for k, v in values.items() if limits[k] is not None and v > limits[k] * slack.get(k, 1.0)}


class Screen:
    """Turns architectures away, before they are measured or trained, that keep a limit of MACs, parameters or size in
    no case: not even where every image leaves at the first exit. And those for which, from what it has learnt of this
    run's candidates, the same is predicted of latency. It counts what it has turned away, by limit."""

    def __init__(self, profiles: tuple[HardwareProfile, ...], dataset: Dataset) -> None:
        self._profiles = [p for p in profiles if any(getattr(p.limits, key) is not None for key in LIMITS[1:])]
        self._dataset = dataset
        self.forecast = Forecast(profiles, dataset)
        self._latency = {profile.name: profile.limits.latency_ms for profile in profiles}
        self.seen, self.excluded = 0, Counter[str]()

    def learn(self, trial: Trial) -> None:
        """Take in what was measured of one candidate."""
        self.forecast.learn(trial)

    def admits(self, arch: Arch) -> bool:
        """Whether the architecture could keep all limits."""
        excluding = self._counted(arch) or [
            f"limits.latency_ms {self._latency[name]:g} of {name} (predicted)" for name in self.forecast.hopeless(arch)
        ]
        self.seen += 1
        self.excluded.update(excluding)
        return not excluding

    def _counted(self, arch: Arch) -> list[str]:
        """The limits that the architecture misses by what can be counted."""
        if not self._profiles:
            return []
        network = EarlyExitNetwork(arch, self._dataset.mean, self._dataset.std)
        first_macs, params = macs_per_exit(network)[0], parameter_count(network)
        return [
            f"limits.{key} {getattr(profile.limits, key):g} of {profile.name}"
            for profile in self._profiles
            for key in _beyond(_least(first_macs, params, profile), profile)
        ]

    def summary(self) -> str:
        """Which limit excludes how much of what was seen, to follow another message; empty where none does."""
        counts = ", ".join(f"{limit} excludes {count}" for limit, count in self.excluded.most_common())
        return f" (of {self.seen} that were drawn, {counts})" if counts else ""


def nothing_feasible(trials: Sequence[Trial], profiles: Sequence[HardwareProfile]) -> str:
    """Which limit excludes how many of the complete trials, and how near the nearest came."""
    lines = []
    for profile in profiles:
        for key in LIMITS:
            limit = getattr(profile.limits, key)
            if limit is None:
                continue
            values = [limited_value(judged, key, profile) for judged in judged_students(trials).values()]
            beyond = sum(value > limit for value in values)
            lines.append(f"{profile.name}: {beyond} exceed limits.{key} {limit:g} (least: {min(values):.4g})")
    advice = "raise one in a new folder, or search longer"
    return f"none of {len(trials)} candidates keeps all limits; {'; '.join(lines)}; {advice}"
