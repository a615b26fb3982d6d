"""What a search minimises, and which limits a candidate must keep."""

from typing import Any

from erde_nas.errors import UserError
from erde_nas.networks.operating_points import OperatingPoint
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import SearchSection

Profiles = tuple[HardwareProfile, ...]


def objective_values(
    point: OperatingPoint, metrics: dict[str, Any], search: SearchSection, profiles: Profiles
) -> tuple[float, ...]:
    """What the search minimises, of a judged network at an operating point."""
    values: list[float] = []
    for goal in search.objectives:
        if goal == "error":
            values.append(1 - point.accuracy)
        elif goal == "latency":
            values += [metrics["latency_ms"][profile.name] for profile in optimised(search, profiles)]
        else:
            values.append(float(metrics[goal]))
    return tuple(values)


def objective_names(search: SearchSection, profiles: Profiles) -> list[str]:
    """The objectives one by one: `latency` stands for one per optimised profile."""
    latencies = [f"latency_ms:{profile.name}" for profile in optimised(search, profiles)]
    return [name for goal in search.objectives for name in (latencies if goal == "latency" else [goal])]


def optimised(search: SearchSection, profiles: Profiles) -> Profiles:
    """The profiles whose latency the search minimises. Raises UserError where the recipe names one that is not used."""
    if search.latency_of is None:
        return profiles
    names = [profile.name for profile in profiles]
    for name in search.latency_of:
        if name not in names:
            raise UserError(
                f"the recipe's search.latency_of names '{name}', but the profiles of this run are {', '.join(names)}; "
                f"name one of those, or add --profile {name}"
            )
    return tuple(profile for profile in profiles if profile.name in search.latency_of)


def timed(search: SearchSection, profiles: Profiles) -> Profiles:
    """The profiles under which candidates are measured during the search: the optimised ones, and those that limit
    latency. The others wait for the finished students."""
    wanted = optimised(search, profiles)
    return tuple(p for p in profiles if p in wanted or p.limits.latency_ms is not None)


def limits_exceeded(metrics: dict[str, Any], profiles: Profiles) -> tuple[float, ...]:
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
