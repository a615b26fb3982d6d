"""Finished students -> pruned ones, trained again.

Every one of them is a student of its own in the run folder (stage `pruned`), named after the one it was made from:
`ID-p40` lacks about 40 % of the channels.
"""

from collections.abc import Sequence
from typing import Any

from erde_nas.compression.gradients import loss_gradients_
from erde_nas.compression.prune import Gradients, Pruning, prune
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.weights import load_network, recorded_digest, save_network
from erde_nas.run.context import RunContext
from erde_nas.run.train import train_on

TAYLOR_BATCHES = 8  # of training images
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
    return lambda network: loss_gradients_(network, run.context.training(network, options), TAYLOR_BATCHES)


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
        keep_made(run, pruned_name(name, ratio), name, network, origin=name, ratio=ratio)


def keep_made(run: RunContext, made: str, parent: str, network: EarlyExitNetwork, **known: Any) -> None:
    """Keep the student `made` of `parent`: its weights first, then what is known of it."""
    folder, source = run.store.student(made), run.store.record(parent)
    save_network(network, folder)
    run.store.update_student(
        made,
        stage="pruned",
        parent=parent,
        weights=recorded_digest(folder / "weights.safetensors"),
        made_of="" if source is None else source.weights,
        **known,
    )


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
