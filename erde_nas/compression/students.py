"""What compression tries for every finished student: shares of its channels, a goal, and fewer exits."""

from bisect import bisect_left
from collections.abc import Sequence

from erde_nas.compression.drop_exits import drop_exits
from erde_nas.compression.goal_estimates import GoalMeasures
from erde_nas.compression.prune import shapes
from erde_nas.compression.prune_students import (
    gradients_of,
    how_to_prune,
    load_student,
    made_of,
    prune_and_train,
    pruned_name,
)
from erde_nas.networks.arch import Arch
from erde_nas.recipe.goal import GoalSection, describe, misses
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.run.context import RunContext
from erde_nas.run.pace import SLIM

Shape = tuple[float, Arch]  # a share of the channels to remove, and what is left then


def compress_students(
    run: RunContext, names: Sequence[str], target: tuple[GoalSection, HardwareProfile] | None = None
) -> list[str]:
    """Prune the finished students `names` by the recipe's shares or towards its goal, train the results, and make
    students with fewer exits of all; the names of all students that were ever made so of `names`.

    A `target` comes besides what the recipe asks for. The recipe's goal is about the first profile.
    """
    section = run.context.recipe.compress
    goals = [] if section.goal is None else [(section.goal, run.context.profiles[0])]
    if not goals:
        prune_and_train(run, [(name, ratio) for name in names for ratio in section.prune])
    for goal, profile in [*goals, *([] if target is None else [target])]:
        measures = GoalMeasures(run.context, profile)
        for name in names:
            if goal.needs_no_training:
                _small_enough(run, name, goal, measures)
            else:
                _accurate_enough(run, name, goal, measures)
    run.meter.close("prune")
    drop_exits(run, [*names, *made_of(run, names)])
    run.meter.close(SLIM)
    return made_of(run, names)


def _shapes(run: RunContext, name: str) -> list[Shape]:
    """The student as it is, and everything that pruning can make of it, the cheapest last."""
    network = load_student(run, name)
    return [(0.0, network.arch), *shapes(network, how_to_prune(run), gradients_of(run))]


def _small_enough(run: RunContext, name: str, goal: GoalSection, measures: GoalMeasures) -> None:
    """Train the least pruned architecture that is fast and small enough, found by measuring untrained ones.

    Latency and size do not depend on the weights; how images share out over the exits is taken from the student.
    """
    fractions = measures.point(load_student(run, name)).exit_fractions

    def meets(shape: Shape) -> bool:
        network = run.context.build(shape[1]).cpu().eval()
        reached = measures.reached(network, fractions, size=goal.size_kb is not None)
        run.meter.say(f"prune {name}: {shape[0]:.0%} of the channels less would give {describe(reached, goal)}")
        return all(miss <= 0 for miss in misses(reached, goal).values())

    every = _shapes(run, name)
    place = bisect_left(every, True, key=meets)
    least, _ = every[min(place, len(every) - 1)]
    if least:
        prune_and_train(run, [(name, least)])
    if place == len(every):
        run.meter.say(
            f"prune {name}: no shape reaches the goal on {measures.profile.name}; the cheapest is taken, "
            f"with {least:.0%} of the channels less"
        )
        if run.store.record(pruned_name(name, least)):  # else its training failed
            run.store.update_student(pruned_name(name, least), cheapest=True)


def _accurate_enough(run: RunContext, name: str, goal: GoalSection, measures: GoalMeasures) -> None:
    """Train architectures until the most pruned one is found that is accurate enough; all of them stay in the run."""

    def fails(shape: Shape) -> bool:
        pruned = pruned_name(name, shape[0])
        if shape[0]:
            prune_and_train(run, [(name, shape[0])])
            record = run.store.record(pruned)
            if record is None or record.stage != "pruned":
                return True
        drop = measures.teacher_accuracy - measures.accuracy(load_student(run, pruned))
        what = describe({"accuracy_drop": drop}, goal)
        run.meter.say(f"prune {name}: {shape[0]:.0%} of the channels less is {what} on validation")
        return any(miss > 0 for miss in misses({"accuracy_drop": drop}, goal).values())

    bisect_left(_shapes(run, name), True, key=fails)
