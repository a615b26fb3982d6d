"""Finished or pruned students -> the same without the exits that no image takes.

Each is a student of its own in the run folder (stage `pruned`): `ID-x02` is the student ID with exits 0 and 2 alone.
"""

from collections.abc import Sequence

from erde_nas.compression.prune_students import load_student
from erde_nas.errors import UserError
from erde_nas.measurement.candidate_latency import latencies_side_by_side
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork, keep_exits
from erde_nas.networks.operating_points import OperatingPoint, operating_curve, spread
from erde_nas.networks.weights import save_network
from erde_nas.run.context import RunContext
from erde_nas.run.pace import SLIM, SLIM_S

POINTS = 3  # operating points that a student is offered with


def drop_unused_exits(run: RunContext, names: Sequence[str]) -> None:
    """Make students without the exits that no image takes, where that is faster: at any operating point worth keeping,
    and at the cheapest one of them; and without early exits, where the median image takes none. The students stay.

    Judged by the first profile's brief measurement, all students in the same processes, and the validation split.
    """
    fresh = [name for name in names if _has_exits_to_judge(run, name)]
    if not fresh:
        return
    profile, images = run.context.profiles[0], run.context.dataset.validation.images
    rule = run.context.exit_rule
    with run.store.timed(SLIM):
        networks = {name: load_student(run, name) for name in fresh}
        early = {name: network for name, network in networks.items() if len(network.segments) > 1}
        try:
            run.meter.add(SLIM, 0.0, f"what every exit of {len(early)} students costs")
            before = latencies_side_by_side(early, profile, images, rule)
            sets = {name: _worth_trying(run, network, before[name]) for name, network in early.items()}
            smaller = {
                _name_with_exits(name, used): keep_exits(networks[name], used) for name in early for used in sets[name]
            }
            run.meter.add(SLIM, SLIM_S * len(fresh) / 2, f"{len(smaller)} students with fewer exits")
            after = latencies_side_by_side(smaller, profile, images, rule)
        except UserError as error:  # what can be measured of the run goes on; the next start tries this again
            run.meter.say(f"{SLIM}: exits cannot be judged: {error}")
            return
        for name, network in networks.items():
            found = sets.get(name, [])
            for used in found:
                if after[_name_with_exits(name, used)][-1] < before[name][used[-1]]:
                    _store(run, name, _name_with_exits(name, used), smaller[_name_with_exits(name, used)])
            run.store.update_student(name, used_exits=tuple(found[0] if found else range(len(network.segments))))


def _name_with_exits(name: str, used: Sequence[int]) -> str:
    return f"{name}-x{''.join(map(str, used))}"


def _has_exits_to_judge(run: RunContext, name: str) -> bool:
    record = run.store.record(name)
    return record is not None and record.used_exits is None and record.stage in ("finished", "pruned")


def _worth_trying(run: RunContext, network: EarlyExitNetwork, per_exit_ms: Sequence[float]) -> list[list[int]]:
    """Sets of exits of which a student might be faster."""
    context = run.context
    logits, labels = all_logits(network, context.dataset.validation.images), context.dataset.validation.labels
    curve = operating_curve(logits, labels, per_exit_ms, context.exit_rule)
    return used_exits(spread(curve, context.recipe.search.accuracy_tolerance, POINTS))


def _store(run: RunContext, name: str, made: str, network: EarlyExitNetwork) -> None:
    """Store a student with fewer exits than the one it was made from."""
    left, exits = len(network.segments), len(load_student(run, name).segments)
    run.meter.say(f"{made} is {name} with {left} of its {exits} exits: no image takes the others")
    save_network(network, run.store.student(made))
    record = run.store.record(name)
    origin = (record and record.origin) or name
    run.store.update_student(made, stage="pruned", parent=name, origin=origin, used_exits=tuple(range(left)))


def used_exits(points: Sequence[OperatingPoint]) -> list[list[int]]:
    """The exits that some of the points use, then those of the cheapest point, then the last alone, where the median
    image of a point runs to it; only sets that lack an exit, once."""
    exits = range(len(points[0].exit_fractions))
    cheapest = min(points, key=lambda point: point.cost)
    sets = [[e for e in exits if any(p.exit_fractions[e] for p in some)] for some in (points, [cheapest])]
    if any(point.exit_fractions[-1] > 0.5 for point in points):
        sets.append([exits[-1]])
    return [used for number, used in enumerate(sets) if len(used) < len(exits) and used not in sets[:number]]
