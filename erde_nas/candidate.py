"""One candidate of the search: build, train briefly, measure -> Trial."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from erde_nas.deploy import make_segments, write_file
from erde_nas.errors import TrainingFailed
from erde_nas.hardware import HardwareProfile
from erde_nas.measure.health import check_exits
from erde_nas.measure.latency import Deployed, Timing, measure
from erde_nas.measure.macs import macs_per_exit, parameter_count
from erde_nas.measure.policy import OperatingPoint, cheapest_within, operate, operating_curve
from erde_nas.records import Arch, Proposal, Trial
from erde_nas.shared import Shared
from erde_nas.students.infer import all_logits
from erde_nas.students.network import EarlyExitNetwork

QUICK_BLOCKS = 5  # of calls, in one process: enough to rank candidates
QUICK_CALIBRATION = 32  # images: latency does not depend on the ranges


def train_briefly(arch: Arch, shared: Shared) -> EarlyExitNetwork:
    """A student trained as the recipe's `train` section says. Raises TrainingFailed."""
    network = shared.build(arch)
    shared.distil(network, shared.recipe.train)
    return network


def evaluate(
    proposal: Proposal,
    arch: Arch,
    number: int,
    shared: Shared,
    make: Callable[[Arch, Shared], EarlyExitNetwork] = train_briefly,
) -> tuple[Trial, EarlyExitNetwork | None]:
    """Make and measure one candidate. A failure is a trial too, with its reason; the network is None then."""
    begin = time.perf_counter()
    try:
        network = make(arch, shared)
        metrics, objectives, constraints = _measure(network, shared)
    except (TrainingFailed, torch.OutOfMemoryError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Trial(number, arch.id, proposal.params, "failed", attrs=proposal.attrs, reason=reason), None
    metrics["seconds"] = round(time.perf_counter() - begin, 3)
    trial = Trial(number, arch.id, proposal.params, "complete", objectives, constraints, metrics, proposal.attrs)
    return trial, network


def _measure(network: EarlyExitNetwork, shared: Shared) -> tuple[dict[str, Any], tuple[float, ...], tuple[float, ...]]:
    validation = shared.dataset.validation
    logits = all_logits(network, validation.images)
    check_exits(logits)
    macs = macs_per_exit(network)
    per_exit = latency_per_exit(network, shared.profiles, validation.images)
    costs: dict[str, tuple[float, ...]] = {"macs": tuple(map(float, macs)), **per_exit}
    goals = [goal for goal in shared.recipe.search.objectives if goal in ("macs", "latency")]
    first = shared.profiles[0].name if goals and goals[0] == "latency" else "macs"
    curve = operating_curve(logits, validation.labels, costs[first])
    point = cheapest_within(curve, shared.recipe.search.accuracy_tolerance)
    expected = {name: operate(logits, validation.labels, cost, point.thresholds).cost for name, cost in costs.items()}
    params = parameter_count(network)
    metrics = {
        "arch": network.arch.to_dict(),
        "val_accuracy": point.accuracy,
        "thresholds": list(point.thresholds),
        "exit_fractions": list(point.exit_fractions),
        "val_exit_accuracy": [float(a) for a in (logits.argmax(-1) == validation.labels).mean(1)],
        "macs": expected.pop("macs"),
        "macs_per_exit": list(macs),
        "params": params,
        "size_bytes": 4 * params,
        "latency_ms": expected,
        "latency_per_exit_ms": {name: list(cost) for name, cost in per_exit.items()},
        "curve": [[p.accuracy, p.cost] for p in curve],
    }
    return metrics, _objectives(point, metrics, shared), limits_exceeded(metrics, shared.profiles)


def _objectives(point: OperatingPoint, metrics: dict[str, Any], shared: Shared) -> tuple[float, ...]:
    values: list[float] = []
    for goal in shared.recipe.search.objectives:
        if goal == "error":
            values.append(1 - point.accuracy)
        elif goal == "latency":
            values += [metrics["latency_ms"][profile.name] for profile in shared.profiles]
        else:
            values.append(float(metrics[goal]))
    return tuple(values)


def objective_names(shared_objectives: tuple[str, ...], profiles: tuple[HardwareProfile, ...]) -> list[str]:
    """The objectives one by one: `latency` stands for one per profile."""
    return [
        name
        for goal in shared_objectives
        for name in ([f"latency_ms:{p.name}" for p in profiles] if goal == "latency" else [goal])
    ]


def limits_exceeded(metrics: dict[str, Any], profiles: tuple[HardwareProfile, ...]) -> tuple[float, ...]:
    """For every limit of every profile, by how much of itself it is exceeded; at most 0 where it is kept.

    The file's size is taken for that of its weights; the file itself is held to the limit once it is written.
    """
    excess = []
    for profile in profiles:
        limits = profile.limits
        if limits.latency_ms is not None:
            excess.append(metrics["latency_ms"][profile.name] / limits.latency_ms - 1)
        values = {**metrics, "size_bytes": metrics["params"] * profile.bytes_per_parameter}
        for key in ("macs", "params", "size_bytes"):
            limit = getattr(limits, key)
            if limit is not None:
                excess.append(values[key] / limit - 1)
    return tuple(excess)


def latency_per_exit(
    network: EarlyExitNetwork, profiles: tuple[HardwareProfile, ...], images: np.ndarray
) -> dict[str, tuple[float, ...]]:
    """Milliseconds of leaving at each exit under each profile, quickly measured on the deployable file.

    An int8 profile allows both precisions: the one whose last exit is faster counts.
    """
    never = [0.0] * (len(network.segments) - 1)
    by_setting: dict[str, dict[str, Timing]] = {}
    with TemporaryDirectory(prefix="erde-nas-") as folder:
        files = {}
        for precision, segments in make_segments(network, allowed(profiles), images[:QUICK_CALIBRATION]).items():
            path = Path(folder) / f"{precision}.onnx"
            write_file(segments, never, path, {})
            files[precision] = Deployed(precision, path, len(network.segments))
        for setting, group in settings(profiles).items():
            wanted = [files[precision] for precision in allowed(group)]
            by_setting[setting] = measure(wanted, group[0], images, processes=1, blocks=QUICK_BLOCKS)
    best = {}
    for setting, group in settings(profiles).items():
        for profile in group:
            choices = [by_setting[setting][precision].per_exit for precision in precisions(profile)]
            best[profile.name] = min(choices, key=lambda per_exit: per_exit[-1])
    return best


def precisions(profile: HardwareProfile) -> tuple[str, ...]:
    """Which files may serve a profile: an int8 profile allows fp32 as well, since int8 can be slower."""
    return ("fp32", "int8") if profile.precision == "int8" else ("fp32",)


def allowed(profiles: Sequence[HardwareProfile]) -> list[str]:
    """Every precision that one of the profiles allows."""
    return sorted({precision for profile in profiles for precision in precisions(profile)})


def settings(profiles: tuple[HardwareProfile, ...]) -> dict[str, list[HardwareProfile]]:
    """Profiles that time the same file the same way, so that one measurement serves them."""
    groups: dict[str, list[HardwareProfile]] = {}
    for profile in profiles:
        key = profile.model_dump_json(include={"runtime", "device", "threads", "batch_size", "measure"})
        groups.setdefault(key, []).append(profile)
    return groups
