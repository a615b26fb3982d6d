"""Finished students -> smaller ones: channels pruned, and exits dropped that no image takes.

Every one of them is a student of its own in the run folder (stage `pruned`), named after the one it was made from:
`ID-p40` lacks about 40 % of the channels, `ID-x02` has exits 0 and 2 alone, because no image takes the others.
"""

from collections.abc import Sequence

from erde_nas.compress.gradients import loss_gradients_
from erde_nas.compress.prune import Gradients, Pruning, prune
from erde_nas.errors import DeviceLost
from erde_nas.files import read_json
from erde_nas.finish import train_on
from erde_nas.measure.policy import OperatingPoint, operating_curve, spread
from erde_nas.quick_latency import latency_per_exit
from erde_nas.run import Run
from erde_nas.students.infer import all_logits
from erde_nas.students.network import EarlyExitNetwork, keep_exits
from erde_nas.students.weights import load_network, save_network

TAYLOR_BATCHES = 8  # of training images
POINTS = 3  # operating points that a student is offered with
Planned = tuple[str, float]  # a finished student and the share of its channels to remove


def pruned_name(name: str, ratio: float) -> str:
    """The id of a pruned student; that of the student itself where nothing is removed."""
    return f"{name}-p{ratio * 100:.0f}" if ratio else name


def load_student(run: Run, name: str) -> EarlyExitNetwork:
    """A student of the run with its last weights."""
    return load_network(run.store.student(name) / "weights.safetensors")


def made_of(run: Run, names: Sequence[str]) -> list[str]:
    """The fit students that were ever made of the finished students `names`."""
    found = []
    for path in sorted((run.store.folder / "students").glob("*/metrics.json")):
        metrics = read_json(path)
        if metrics.get("stage") == "pruned" and metrics.get("origin", metrics.get("parent")) in names:
            found.append(path.parent.name)
    return found


def how_to_prune(run: Run) -> Pruning:
    """What the recipe says, with channels in multiples that suit every profile."""
    section = run.shared.recipe.compress
    return Pruning(section.importance, section.scope, max(p.channel_multiple for p in run.shared.profiles))


def gradients_of(run: Run) -> Gradients:
    """The gradients of the run's loss, for Taylor importance."""
    options = run.shared.recipe.compress.train
    return lambda network: loss_gradients_(network, run.shared.job(network, options), TAYLOR_BATCHES)


def prune_and_train(run: Run, planned: Sequence[Planned]) -> None:
    """Prune and train what is not there yet, as many at once as the device takes, in the recipe's steps."""
    steps, how = run.shared.recipe.compress.steps, how_to_prune(run)
    missing = [(name, ratio) for name, ratio in planned if not run.store.metrics(pruned_name(name, ratio))]
    networks = {(name, ratio): load_student(run, name) for name, ratio in missing}
    for step in range(1, steps + 1):
        for (name, ratio), network in list(networks.items()):
            smaller, arch = prune(network, share_of_step(ratio, step, steps), how, gradients_of(run))
            if steps == 1 and arch == network.arch:
                run.meter.say(f"prune {name}: {ratio:.0%} removes nothing in multiples of {how.multiple} channels")
                del networks[name, ratio]
            else:
                networks[name, ratio] = smaller
        networks = _trained(run, networks, between=step < steps)
    for (name, ratio), network in networks.items():
        save_network(network, run.store.student(pruned_name(name, ratio)))
        run.store.update_metrics(pruned_name(name, ratio), stage="pruned", parent=name, origin=name, ratio=ratio)


def share_of_step(ratio: float, step: int, steps: int) -> float:
    """What to remove of what is left, so that after all steps a share `ratio` of the whole is gone."""
    return 1 - (1 - ratio * step / steps) / (1 - ratio * (step - 1) / steps)


def _trained(run: Run, networks: dict[Planned, EarlyExitNetwork], between: bool) -> dict[Planned, EarlyExitNetwork]:
    """Train the networks with the recipe's loss; those that are fit. `between` two steps of pruning: a little."""
    options = run.shared.recipe.compress.train
    if between:
        options = options.lasting(max(1, options.epochs // 4))
    planned_by_name = {pruned_name(*planned): planned for planned in networks}
    pairs, fit = [(name, networks[planned]) for name, planned in planned_by_name.items()], {}
    for start in range(0, len(pairs), run.shared.workers):
        for name, network in train_on(run, pairs[start : start + run.shared.workers], options, "prune"):
            fit[planned_by_name[name]] = network
    return fit


def drop_unused_exits(run: Run, name: str) -> None:
    """Make students without the exits that no image takes, where that is faster: at any operating point worth keeping,
    and at the cheapest one of them; and without early exits, where the median image takes none. The student stays.

    Judged by the first profile's brief measurement and the validation split.
    """
    metrics, profile, shared = run.store.metrics(name), run.shared.profiles[0], run.shared
    if "used_exits" in metrics or metrics.get("stage") not in ("finished", "pruned"):
        return
    network, validation = load_student(run, name), shared.dataset.validation
    try:
        before = latency_per_exit(network, (profile,), validation.images)[profile.name]
    except DeviceLost:  # what can be measured of the run goes on; the next start tries this again
        return
    curve = operating_curve(all_logits(network, validation.images), validation.labels, before)
    sets = used_exits(spread(curve, shared.recipe.search.accuracy_tolerance, POINTS))
    for used in sets:
        smaller = keep_exits(network, used)
        after = latency_per_exit(smaller, (profile,), validation.images)[profile.name]
        if after[-1] >= before[used[-1]]:
            continue
        made = f"{name}-x{''.join(map(str, used))}"
        run.meter.say(f"{made} is {name} with {len(used)} of its {len(before)} exits: no image takes the others")
        save_network(smaller, run.store.student(made))
        here = {"parent": name, "origin": metrics.get("origin", name), "used_exits": list(range(len(used)))}
        run.store.update_metrics(made, stage="pruned", **here)
    run.store.update_metrics(name, used_exits=sets[0] if sets else list(range(len(before))))


def used_exits(points: Sequence[OperatingPoint]) -> list[list[int]]:
    """The exits that some of the points use, then those of the cheapest point, then the last alone, where the median
    image of a point runs to it; only sets that lack an exit, once."""
    exits = range(len(points[0].exit_fractions))
    cheapest = min(points, key=lambda point: point.cost)
    sets = [[e for e in exits if any(p.exit_fractions[e] for p in some)] for some in (points, [cheapest])]
    if any(point.exit_fractions[-1] > 0.5 for point in points):
        sets.append([exits[-1]])
    return [used for number, used in enumerate(sets) if len(used) < len(exits) and used not in sets[:number]]
