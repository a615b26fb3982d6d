"""Trained exits of a frozen network -> the sets of them that promise most, measured beside the network itself."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from erde_nas.data.views import Views
from erde_nas.distil.context import TrainingContext
from erde_nas.distil.frozen.attach import TrainedExit, TrainedExits
from erde_nas.distil.frozen.own_model import OwnModel
from erde_nas.distil.task import Task
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.measurement.candidate_latency import latencies_side_by_side
from erde_nas.measurement.failures import LeftOut
from erde_nas.measurement.int8_form import int8_form
from erde_nas.networks.attached import AttachedNetwork
from erde_nas.networks.exit_choice import ExitCandidate, FrozenNetwork, choose_exits
from erde_nas.networks.macs import count_macs, macs_per_exit
from erde_nas.networks.own.base import saved_base
from erde_nas.networks.weights import save_network
from erde_nas.progress.meter import Meter
from erde_nas.recipe.goal import GoalSection
from erde_nas.report_data.report_file import FILE as REPORT
from erde_nas.results.measure_networks import Wanted, measure_networks
from erde_nas.results.measured_file import Measured, write_measured
from erde_nas.results.network_files import TrainedNetwork
from erde_nas.results.timings import FinalTimings
from erde_nas.run.context import RunContext
from erde_nas.run.folder import RunStore, existing_run, locked
from erde_nas.run.manifest import FILE, is_run
from erde_nas.run.pace import Pace

OWN = "own"  # the student that is the network itself, without exits
ALL = "own-all"  # what every set is a part of: the network with every exit that was trained
SETS = 3  # that are measured
PLACES = 5  # at which exits are trained
LEFT = ("students", "profiles", "timings.json", "measured.json", "study.db", "study.db-journal", "recipe.yaml", FILE)


def own_run(store: RunStore, task: Task, model: OwnModel, meter: Meter) -> RunContext:
    """What every stage is handed: nothing is searched, and the network itself is the teacher."""
    dataset, recipe = task.dataset, task.recipe
    views = Views(dataset.train, recipe.views, seed=recipe.search.seed, device=task.device, data=dataset.fingerprint)
    whole = model.attached([])
    macs = tuple(map(float, macs_per_exit(whole)))
    compute = Compute("fp32", torch.get_num_threads(), 0.0, "contiguous")
    teacher = Teacher(whole, "", trained=False)
    nothing = torch.empty(0, len(dataset.train), 1, len(dataset.classes), dtype=torch.float16)
    context = TrainingContext(
        recipe, task.profiles, dataset, views, teacher, macs, nothing, compute, int8=int8_form(task.profiles)
    )
    pace = Pace(profiles=task.profiles, teacher=1.0)
    return RunContext(store, context, task.space, meter, pace)


def forget_unfinished(folder: Path) -> None:
    """Remove what is left of exits that were begun in a folder and not finished. Raises UserError for a folder that
    holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    exits = is_run(folder) and existing_run(folder).recipe().space.own is not None and saved_base(folder) is None
    if exits and not (folder / REPORT).is_file():
        with locked(folder):
            for path in map(folder.joinpath, LEFT):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return
    raise UserError(f"--out {folder} holds something already; give a new folder")


def candidates_of(model: OwnModel, trained: TrainedExits, run: RunContext) -> tuple[list[ExitCandidate], FrozenNetwork]:
    """What every trained exit answers and costs, in milliseconds under the first profile.

    Measured are the network alone, and with the first kind of head at each place, every exit forced. What the heads and
    their rules add is shared out among them by their MACs, at the network's own pace, and in equal parts.
    """
    validation = run.context.dataset.validation
    first = {exit_.place.number: exit_ for exit_ in reversed(trained.exits)}
    places = sorted(first)
    every = model.attached([(first[number].place, first[number].kind, first[number].head) for number in places])
    whole = model.attached([])
    timed = latencies_side_by_side(
        {"whole": whole, "all": every}, run.context.profiles[0], validation.images, run.context.exit_rule
    )
    whole_ms, leaving_ms = timed["whole"][-1], timed["all"]
    pace = whole_ms / max(1, macs_per_exit(whole)[-1])  # milliseconds per MAC
    heads = {number: pace * _head_macs(first[number]) for number in places}
    rule = max(0.0, (leaving_ms[-1] - whole_ms - sum(heads.values())) / len(places))
    body, passed = [], 0.0
    for place, number in enumerate(places):
        passed += heads[number] + rule
        body.append(min(whole_ms, max(0.0, leaving_ms[place] - passed)))
    candidates = [
        ExitCandidate(places.index(e.place.number), e.kind, e.val_logits, rule + pace * _head_macs(e))
        for e in trained.exits
    ]
    return candidates, FrozenNetwork(trained.own, validation.labels, (*body, whole_ms))


def _head_macs(exit_: TrainedExit) -> int:
    channels, side = exit_.place.condensed
    return count_macs(exit_.head.head.eval(), torch.zeros(1, channels, side, side))


def own_networks(model: OwnModel, trained: TrainedExits, run: RunContext, max_drop: float) -> list[TrainedNetwork]:
    """The network itself, and the sets of exits that promise most, kept in the run folder."""
    candidates, own = candidates_of(model, trained, run)
    floor = float((own.logits.argmax(-1) == own.labels).mean()) - max_drop
    sets = choose_exits(candidates, own, floor, most_sets=SETS, rule=run.context.exit_rule)
    last = len(trained.exits)
    networks = [_kept(OWN, model.attached([]), (last,), floor, run)]
    for chosen in sets:
        exits = [trained.exits[number] for number in chosen.exits]
        name = "-".join([OWN, *(f"{exit_.kind}{exit_.place.number}" for exit_ in exits)])
        network = model.attached([(exit_.place, exit_.kind, exit_.head) for exit_ in exits])
        networks.append(_kept(name, network, (*chosen.exits, last), floor, run))
    if not sets:
        run.meter.say("exits: none is worth its time at that accuracy, so the network stays without")
    return networks


def _kept(name: str, network: AttachedNetwork, exits: Sequence[int], floor: float, run: RunContext) -> TrainedNetwork:
    folder = run.store.student(name)
    save_network(network, folder)
    run.store.update_student(name, stage="finished")
    macs = tuple(map(float, macs_per_exit(network)))
    return TrainedNetwork(
        name,
        network,
        folder,
        "finished",
        macs,
        role="teacher" if name == OWN else "student",
        points=1 if name == OWN else 3,
        cut_of=ALL,
        kept_exits=tuple(exits),
        floor=floor,
    )


def measure_own(run: RunContext, networks: Sequence[TrainedNetwork], goal: GoalSection) -> None:
    """Deploy, measure and test them in the same processes; the network itself counts as a student, too."""
    final, left_out = FinalTimings(run.store.folder, True, run.meter.say), LeftOut()
    names = tuple(trained.name for trained in networks)
    points, screened = measure_networks(networks, run, final, left_out, Wanted(goal, frozenset(names)))
    itself = [point for point in points if point.student == OWN and point.stage == "finished"]
    if not itself:
        why = "; ".join(dict.fromkeys([*left_out.values(), *final.lost.values()]))
        raise UserError(f"the network cannot be measured as a file: {why}")
    students = [replace(point, role="student") for point in points]
    write_measured(run.store, Measured(names, itself[0], (), tuple(students), final.lost, left_out, tuple(screened)))
    final.close()
    for name, reason in (final.lost | left_out).items():
        run.meter.say(f"measure: {name} is left out: {reason}")
