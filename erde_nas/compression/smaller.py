"""Finished students -> smaller ones: channels pruned, and exits dropped that no image takes.

Every one of them is a student of its own in the run folder (stage `pruned`), named after the one it was made from:
`ID-p40` lacks about 40 % of the channels, `ID-x02` has exits 0 and 2 alone, because no image takes the others.
"""

from collections.abc import Sequence

from erde_nas.compression.gradients import loss_gradients_
from erde_nas.compression.prune import Gradients, Pruning, prune
from erde_nas.errors import UserError
from erde_nas.measurement.candidate_latency import latencies_side_by_side
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork, keep_exits
from erde_nas.networks.operating_points import OperatingPoint, operating_curve, spread
from erde_nas.networks.weights import load_network, save_network
from erde_nas.run.context import RunContext
from erde_nas.run.pace import SLIM, SLIM_S
from erde_nas.run.train import train_on

TAYLOR_BATCHES = 8  # of training images
POINTS = 3  # operating points that a student is offered with
Planned = tuple[str, float]  # a finished student and the share of its channels to remove


def pruned_name(name: str, ratio: float) -> str:
    """The id of a pruned student; that of the student itself where nothing is removed."""
    return f"{name}-p{ratio * 100:.0f}" if ratio else name


def load_student(run: RunContext, name: str) -> EarlyExitNetwork:
    """A student of the run with its last weights."""
    return load_network(run.store.student(name) / "weights.safetensors")


def made_of(run: RunContext, names: Sequence[str]) -> list[str]:
    """The fit students that were ever made of the finished students `names`."""
    return [name for name, record in run.store.records().items() if record.stage == "pruned" and record.origin in names]


def how_to_prune(run: RunContext) -> Pruning:
    """What the recipe says, with channels in multiples that suit every profile."""
    section = run.context.recipe.compress
    return Pruning(section.importance, section.scope, max(p.channel_multiple for p in run.context.profiles))


def gradients_of(run: RunContext) -> Gradients:
    """The gradients of the run's loss, for Taylor importance."""
    options = run.context.recipe.compress.train
    return lambda network: loss_gradients_(network, run.context.job(network, options), TAYLOR_BATCHES)


def prune_and_train(run: RunContext, planned: Sequence[Planned]) -> None:
    """Prune and train what is not there yet, as many at once as the device takes, in the recipe's steps."""
    steps, how = run.context.recipe.compress.steps, how_to_prune(run)
    missing = [(name, ratio) for name, ratio in planned if run.store.record(pruned_name(name, ratio)) is None]
    whole = {(name, ratio): load_student(run, name) for name, ratio in missing}
    networks = dict(whole)
    for step in range(1, steps + 1):
        for (name, ratio), network in list(networks.items()):
            before = whole[name, ratio]
            smaller, arch = prune(network, ratio * step / steps, how, gradients_of(run), before)
            if step == steps and arch == before.arch:
                run.meter.say(f"prune {name}: {ratio:.0%} removes nothing in multiples of {how.multiple} channels")
                del networks[name, ratio]
            else:
                networks[name, ratio] = smaller
        networks = _trained(run, networks, between=step < steps)
    for (name, ratio), network in networks.items():
        save_network(network, run.store.student(pruned_name(name, ratio)))
        run.store.update_student(pruned_name(name, ratio), stage="pruned", parent=name, origin=name, ratio=ratio)


def _trained(
    run: RunContext, networks: dict[Planned, EarlyExitNetwork], between: bool
) -> dict[Planned, EarlyExitNetwork]:
    """Train the networks with the recipe's loss; those that are fit. `between` two steps of pruning: a little."""
    options = run.context.recipe.compress.train
    if between:
        options = options.lasting(max(1, options.epochs // 4))
    planned_by_name = {pruned_name(*planned): planned for planned in networks}
    pairs, fit = [(name, networks[planned]) for name, planned in planned_by_name.items()], {}
    for start in range(0, len(pairs), run.context.workers):
        for name, network in train_on(run, pairs[start : start + run.context.workers], options, "prune"):
            fit[planned_by_name[name]] = network
    return fit


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
                _slim_name(name, used): keep_exits(networks[name], used) for name in early for used in sets[name]
            }
            run.meter.add(SLIM, SLIM_S * len(fresh) / 2, f"{len(smaller)} students with fewer exits")
            after = latencies_side_by_side(smaller, profile, images, rule)
        except UserError as error:  # what can be measured of the run goes on; the next start tries this again
            run.meter.say(f"{SLIM}: exits cannot be judged: {error}")
            return
        for name, network in networks.items():
            found = sets.get(name, [])
            for used in found:
                if after[_slim_name(name, used)][-1] < before[name][used[-1]]:
                    _keep_smaller(run, name, _slim_name(name, used), smaller[_slim_name(name, used)])
            run.store.update_student(name, used_exits=tuple(found[0] if found else range(len(network.segments))))


def _slim_name(name: str, used: Sequence[int]) -> str:
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


def _keep_smaller(run: RunContext, name: str, made: str, network: EarlyExitNetwork) -> None:
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
