"""Finished or pruned students -> the same with fewer exits. Whether one of them is worth having is not judged here: the
final measurement does, by dominance.

Each is a student of its own in the run folder (stage `pruned`): `ID-x02` is the student ID with exits 0 and 2 alone,
`ID-x0` ends at exit 0, and ID without early exits is the one that has its last exit alone.
"""

from collections.abc import Sequence

from erde_nas.compression.prune_students import keep_made, load_student
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import EarlyExitNetwork, keep_exits
from erde_nas.networks.operating_points import OperatingPoint, operating_curve, spread
from erde_nas.run.context import RunContext
from erde_nas.run.pace import SLIM, SLIM_S

POINTS = 3  # operating points that a student is offered with


def drop_exits(run: RunContext, names: Sequence[str]) -> None:
    """Make students with fewer exits of `names`: without those that no image takes, cut at each exit that an operating
    point uses, and without early exits. The students stay. Operating points are those of MACs, on validation."""
    for name in names:
        record = run.store.record(name)
        if record is None or record.used_exits is not None or record.stage not in ("finished", "pruned"):
            continue
        with run.store.timed(SLIM):
            network = load_student(run, name)
            points = _operating_points(run, network)
            sets = sets_of_exits(points)
            for kept in sets:
                made = _name_with_exits(name, kept)
                keep_made(
                    run,
                    made,
                    name,
                    keep_exits(network, kept),
                    origin=record.origin or name,
                    used_exits=tuple(range(len(kept))),
                    kept_exits=tuple(kept),
                )
            run.store.update_student(name, used_exits=tuple(_used(points)))
        run.meter.add(SLIM, SLIM_S, f"{name} with fewer exits: {', '.join(map(_digits, sets)) or 'it has one'}")


def _name_with_exits(name: str, kept: Sequence[int]) -> str:
    return f"{name}-x{_digits(kept)}"


def _digits(kept: Sequence[int]) -> str:
    return "".join(map(str, kept)) if max(kept) < 10 else "-".join(map(str, kept))


def _operating_points(run: RunContext, network: EarlyExitNetwork) -> list[OperatingPoint]:
    context = run.context
    logits, labels = all_logits(network, context.dataset.validation.images), context.dataset.validation.labels
    curve = operating_curve(logits, labels, exit_macs(network.arch), context.exit_rule)
    return [*spread(curve, context.recipe.search.accuracy_tolerance, POINTS), curve[0]]


def _used(points: Sequence[OperatingPoint]) -> list[int]:
    return [number for number in range(len(points[0].exit_fractions)) if any(p.exit_fractions[number] for p in points)]


def sets_of_exits(points: Sequence[OperatingPoint]) -> list[list[int]]:
    """The exits that some of the points use, those that each point uses, each used one alone, and the last alone, which
    is the student without early exits; only sets that lack an exit, once."""
    exits = len(points[0].exit_fractions)
    used = _used(points)
    sets = [used, *(_used([point]) for point in points), *([number] for number in used), [exits - 1]]
    return [kept for number, kept in enumerate(sets) if len(kept) < exits and kept not in sets[:number]]
