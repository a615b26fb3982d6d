"""What a search minimises, and which limits a candidate must keep. `registry.OBJECTIVES` names the objectives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.search import SearchSection
from erde_nas.registry import OBJECTIVES
from erde_nas.report_data.objectives import QUANTILES
from erde_nas.space.findings import Judged

Profiles = tuple[HardwareProfile, ...]
LIMITS = ("latency_ms", "macs", "params", "size_bytes")


@dataclass(frozen=True)
class Objective:
    """What is minimised: `value` of a judged network, under the profile of that name where it is `per_profile`, which
    then says how it is called there."""

    value: Callable[[Judged, str], float]
    per_profile: str = ""


ERROR = Objective(lambda judged, _: 1 - judged.val_accuracy)
MACS = Objective(lambda judged, _: judged.macs)
PARAMS = Objective(lambda judged, _: float(judged.params))
LATENCY = Objective(Judged.cost_ms, "latency_ms")


def objective_values(judged: Judged, search: SearchSection, profiles: Profiles) -> tuple[float, ...]:
    """What a search minimises, of one network, in the order of `objective_names`."""
    return tuple(OBJECTIVES[name].value(judged, profile) for name, profile in _objectives(search, profiles))


def objective_names(search: SearchSection, profiles: Profiles) -> list[str]:
    """The objectives one by one: `latency` stands for one per optimised profile, `p95_ms:NAME` where that is its
    `objective`."""
    found = _objectives(search, profiles)
    quantiles = {profile.name: f"{profile.objective}_ms" for profile in profiles if profile.objective in QUANTILES}

    def called(name: str, profile: str) -> str:
        return quantiles.get(profile, "latency_ms") if name == "latency" else OBJECTIVES[name].per_profile

    return [f"{called(name, profile)}:{profile}" if profile else name for name, profile in found]


def _objectives(search: SearchSection, profiles: Profiles) -> Iterator[tuple[str, str]]:
    """Every objective with the name of its profile, if it has one."""
    for name in search.objectives:
        if OBJECTIVES[name].per_profile:
            yield from ((name, profile.name) for profile in optimised(search, profiles))
        else:
            yield name, ""


def cost_of_exits(search: SearchSection, profiles: Profiles) -> str:
    """The cost by which thresholds are chosen: `macs`, or the name of the first optimised profile where latency is
    named before them."""
    named = [name for name in search.objectives if name in ("macs", "latency")]
    return optimised(search, profiles)[0].name if named and named[0] == "latency" else "macs"


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


def limits_exceeded(judged: Judged, profiles: Profiles) -> tuple[float, ...]:
    """For every limit of every profile, by how much of itself it is exceeded; at most 0 where it is kept.

    The file's size is taken for that of its weights; the file itself is held to the limit once it is written.
    """
    excess = []
    for profile in profiles:
        for key in LIMITS:
            limit = getattr(profile.limits, key)
            if limit is not None:
                excess.append(limited_value(judged, key, profile) / limit - 1)
    return tuple(excess)


def limited_value(judged: Judged, key: str, profile: HardwareProfile) -> float:
    """What a profile's limit `key` is about; a size is that of the weights in the profile's precision."""
    if key == "latency_ms":
        return judged.latency_ms[profile.name]
    return judged.params * profile.bytes_per_parameter if key == "size_bytes" else float(getattr(judged, key))
