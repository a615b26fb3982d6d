"""The only file that knows the order of the stages.

Whatever took time is in the run folder when a stage moves on, so the same call on the same folder continues.
"""

import resource
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from erde_nas.compression.students import compress_students
from erde_nas.data.load import describe, load_dataset
from erde_nas.data.summary import describe_data
from erde_nas.device.exit_rules import exit_rule
from erde_nas.distil.context import TrainingContext, pick_device
from erde_nas.distil.frozen.attach import HEADS, train_exits
from erde_nas.distil.frozen.own_model import searched_base, take_apart
from erde_nas.distil.prepare import prepare
from erde_nas.distil.task import Task
from erde_nas.distil.teacher_check import best_exit, check_teacher, learns_from_teacher, without_teacher
from erde_nas.distil.teachers.teacher import Kept
from erde_nas.distil.training.timing_cache import bf16_may_help
from erde_nas.distil.verdict import Verdict
from erde_nas.errors import UserError
from erde_nas.measurement.detect import describe_machine
from erde_nas.measurement.int8_form import explained, int8_form
from erde_nas.measurement.target import machine_of, obstacle
from erde_nas.networks.own.base import save_base, saved_base
from erde_nas.networks.placement import choose_places
from erde_nas.networks.weights import save_network
from erde_nas.onnx_files.quantize import Quantization
from erde_nas.onnx_files.rule_check import check_rule
from erde_nas.progress import interrupt
from erde_nas.progress.meter import Meter
from erde_nas.recipe.goal import GoalSection
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.report.build import write_report
from erde_nas.report_data.json_records import to_json
from erde_nas.report_data.report import Report
from erde_nas.report_data.report_file import read_report
from erde_nas.results.build_report import build_report
from erde_nas.results.goal_outcome import GoalOutcome, already_reached, goal_outcome, profile_of
from erde_nas.results.measured import measure_run
from erde_nas.results.measured_file import set_aside_stale
from erde_nas.results.own_exits import PLACES, forget_unfinished, measure_own, own_networks, own_run
from erde_nas.run.belonging import set_aside_strays
from erde_nas.run.context import RunContext
from erde_nas.run.folder import RunStore, check_identity, discard_empty, existing_run, locked, open_run
from erde_nas.run.manifest import Int8Form, is_run, read_manifest
from erde_nas.run.own_teacher import identity_of, inspect_teacher
from erde_nas.run.pace import ALLOWANCE, CHECK, EXPORT, MEASURE
from erde_nas.run.studies.shared import check_storage
from erde_nas.searching.limits import check_reachable
from erde_nas.searching.loop import explore
from erde_nas.searching.objectives import objective_names, optimised
from erde_nas.searching.probe import PlanAlone, Planned, Planner
from erde_nas.searching.rank_check import check_ranks
from erde_nas.searching.shortlist import finish, finish_shortlist
from erde_nas.searching.supernet.evaluator import candidate_maker, train_supernets
from erde_nas.searching.workers.placement import Place, Placement, open_placement
from erde_nas.searching.workers.work import longest_training
from erde_nas.space.space import Space

Profiles = tuple[HardwareProfile, ...]
Target = tuple[GoalSection, HardwareProfile]  # what one student is to reach, and on what
ONE_WORKER = Placement()
DETERMINISTIC = "deterministic"  # in the identity of a run that began so


def search(  # noqa: PLR0913 (what a call decides, besides the recipe)
    recipe: Recipe,
    profiles: Profiles,
    out: Path,
    *,
    data_dir: Path | None,
    meter: Meter,
    placement: Placement = ONE_WORKER,
    storage: str | None = None,
    planner: type[Planner] = Planner,
) -> Report:
    """Search, finish, compress, measure and report; returns the report model, also where it was interrupted.

    `storage` is the URL of a database in which several searches share a study; None: the study is in `out`.
    """
    if storage is not None:
        check_storage(storage)
    if placement.cluster is not None and recipe.search.evaluator == "supernet":
        raise UserError(
            "--cluster is for candidates that are trained, but the recipe's search.evaluator is supernet, which only "
            "cuts them; leave --cluster away, or use evaluator: train"
        )
    optimised(recipe.search, profiles)
    check_rule(exit_rule(recipe.exit_rule))
    check_hardware(profiles)
    with open_placement(placement, profiles) as place:
        if place.remark:
            meter.say(place.remark)
        dataset = load_dataset(recipe.dataset, data_dir)
        for line in describe_data(dataset):
            meter.say(line)
        device, deterministic = pick_device(placement.own_device), _deterministic(placement, out)
        task = Task(recipe, profiles, dataset, device, deterministic, searched_base(recipe, dataset, out))
        identity = _identity(task)
        own_teacher = inspect_teacher(recipe, profiles, dataset, task.device, meter.say)
        discard_empty(out, recipe, profiles, identity)
        if not is_run(out):  # first, so that a limit can still be corrected: a run is bound to its profiles
            check_reachable(task.space, profiles, dataset)
        with open_run(out, recipe, profiles, identity, meter.clock) as store:
            store.update_manifest(
                data_dir=None if data_dir is None else str(data_dir.resolve()),
                data=describe(dataset),
                own_teacher=tuple(own_teacher),
            )
            _open_study(store, task, storage)
            set_aside_strays(store, meter.say)
            set_aside_stale(store, meter.say)
            run = _prepare(store, task, planner(task, store, meter, place.workers), meter)
            return _search(run, place, data_dir)


def plan(
    recipe: Recipe, profiles: Profiles, *, data_dir: Path | None, meter: Meter, placement: Placement = ONE_WORKER
) -> None:
    """Say what `search` would do in a new folder, and what that should take, by a few steps and measurements. Nothing
    is trained; what was found out about this machine stays in the cache."""
    with TemporaryDirectory(prefix="erde-nas-") as folder, suppress(Planned):
        out = Path(folder) / "run"
        search(recipe, profiles, out, data_dir=data_dir, meter=meter, placement=placement, planner=PlanAlone)


def _search(run: RunContext, place: Place, data_dir: Path | None) -> Report:
    """Every stage from the supernets to the report."""
    store = run.store
    try:
        train_supernets(run)
        maker = candidate_maker(store.folder, run.context)
        with store.timed("search"), place.pool(run.context, run.space, data_dir, maker) as pool:
            explore(run, pool)
        with store.timed("finish"):
            fit = list(dict.fromkeys([*_finished(store), *finish_shortlist(run)]))
        run.meter.close("finish")
        _complete(run, fit)
        check_ranks(run)
    except KeyboardInterrupt:
        interrupt.answered()
        if not store.trials():
            raise
        return _report(run, interrupted=True)
    return _report(run, interrupted=False)


def exits(
    recipe: Recipe,
    profiles: Profiles,
    out: Path,
    *,
    data_dir: Path | None,
    meter: Meter,
    goal: GoalSection,
    seconds: float,
) -> tuple[Report, GoalOutcome]:
    """Attach exits to the recipe's own network, which stays as it is; and which of its forms reaches the `goal`, which
    is about accuracy, at the lowest latency. Training takes about so many `seconds`."""
    check_rule(exit_rule(recipe.exit_rule))
    check_hardware(profiles)
    dataset = load_dataset(recipe.dataset, data_dir)
    for line in describe_data(dataset):
        meter.say(line)
    device = pick_device("cpu")
    own_teacher = inspect_teacher(recipe, profiles, dataset, device, meter.say)
    model = take_apart(recipe.teacher, dataset)
    places = choose_places(model.network.cuts, PLACES)
    if not places:
        raise UserError(f"{model.program} has no place for an exit: where it can be cut, nearly all or nothing is done")
    forget_unfinished(out)
    identity = {"dataset": dataset.fingerprint, "device": device.type}
    with open_run(out, recipe, profiles, identity, meter.clock) as store:
        store.update_manifest(data=describe(dataset), own_teacher=tuple(own_teacher))
        run = own_run(store, Task(recipe, profiles, dataset, device), model, meter)
        _open_study(store, Task(recipe, profiles, dataset, device))
        with store.timed(HEADS):
            trained = train_exits(model.backbone(places), run.context, meter, seconds)
            networks = own_networks(model, trained, run, goal.accuracy_drop or 0.0)
        with store.timed("measure"):
            measure_own(run, networks, goal)
        for stage in (EXPORT, MEASURE, ALLOWANCE):
            meter.close(stage)
        report = _report(run, interrupted=False)
        return report, goal_outcome(store, profiles, goal, profiles[0])


def compress(
    out: Path,
    students: Sequence[str],
    *,
    device: str,
    meter: Meter,
    goal: GoalSection | None = None,
    profile: str | None = None,
) -> tuple[Report, GoalOutcome | None]:
    """Finish, prune, quantize and measure again: the given students besides those that were, or the shortlist.

    With a `goal`, on the run's profile of that name, pruning heads for it, and what came of it is returned
    beside the report; where a measured student reaches it already, that is the answer and nothing is done.
    """
    existing_run(out)
    with ExitStack() as stack:
        stack.enter_context(locked(out))
        store = stack.enter_context(closing(existing_run(out, meter.clock)))
        recipe, profiles = store.recipe(), tuple(store.profiles())
        own = saved_base(out)
        if recipe.space.own is not None and own is None:
            raise UserError(f"{out} is of `erde-nas exits`: its network stays as it is; use `erde-nas search`")
        target = None if goal is None else (goal, profile_of(profiles, profile, out))
        _check_front(store)
        if target is not None and (found := already_reached(store, profiles, *target, students)):
            meter.say("the run holds a student that reaches the goal already: nothing is trained or measured")
            return read_report(out), found
        check_hardware(profiles)
        saved = store.manifest().data_dir
        dataset = load_dataset(recipe.dataset, Path(saved) if saved else None)
        task = Task(recipe, profiles, dataset, pick_device(device), DETERMINISTIC in store.manifest().identity, own)
        check_identity(store, {key: value for key, value in _identity(task).items() if key != "device"})
        _open_study(store, task)
        set_aside_strays(store, meter.say)
        set_aside_stale(store, meter.say)
        _check_candidates(store, students)
        own_teacher = inspect_teacher(recipe, profiles, dataset, task.device, meter.say)
        store.update_manifest(own_teacher=tuple(own_teacher))
        run = _prepare(store, task, Planner(task, store, meter, measured_stays=False), meter)
        chosen = list(dict.fromkeys([*_finished(store), *students]))
        with store.timed("finish"):
            fit = finish(run, chosen) if chosen else finish_shortlist(run)
        run.meter.close("finish")
        _complete(run, fit, True, target, students)
        return _report(run, interrupted=False), None if target is None else goal_outcome(store, profiles, *target)


def _check_front(store: RunStore) -> None:
    """Raises UserError for a run that has no candidate yet, before anything is loaded for it."""
    students = store.folder / "students"
    shared_study = store.manifest().storage is not None
    if not students.is_dir() or not (shared_study or (store.folder / "study.db").exists()):
        raise UserError(f"{store.folder} holds no candidate yet, so there is no front; continue its search")


def _check_candidates(store: RunStore, students: Sequence[str]) -> None:
    """Raises UserError for students that are no complete candidates of the run."""
    known = [trial.student for trial in store.trials() if trial.state == "complete"]
    if unknown := [name for name in students if name not in known]:
        raise UserError(
            f"{store.folder} holds no complete candidate '{unknown[0]}'; it has {', '.join(known) or 'none'}"
        )


def _finished(store: RunStore) -> list[str]:
    """The candidates that were finished before, on a shortlist or at the user's wish."""
    finished = {name for name, record in store.records().items() if record.stage == "finished"}
    return [trial.student for trial in store.trials() if trial.state == "complete" and trial.student in finished]


def check_hardware(profiles: Profiles) -> None:
    """Raises UserError where a profile's machine, this one or one elsewhere, may not answer for it."""
    here = describe_machine()
    for profile in profiles:
        reason = obstacle(profile, machine_of(profile) if profile.elsewhere else here)
        if reason:
            raise UserError(reason)


def _identity(task: Task) -> dict[str, str]:
    """What decides a run's results besides its recipe and profiles."""
    found = identity_of(task.recipe, task.dataset, task.device)
    own = {} if task.own is None else {"own network": task.own.digest}
    return {**found, **own, **({DETERMINISTIC: "yes"} if task.deterministic else {})}


def _deterministic(placement: Placement, out: Path) -> bool:
    """Whether training is fixed: as it is wanted for a new run, and as it was for one that goes on."""
    begun = DETERMINISTIC in read_manifest(out).identity if is_run(out) else None
    if placement.deterministic and begun is False and (out / "students").is_dir():
        raise UserError(
            f"--out {out} holds a run that began without --deterministic; leave it away, or use another --out"
        )
    wanted = placement.deterministic or bool(begun)
    if wanted and pick_device(placement.own_device).type != "cpu":
        raise UserError("--deterministic is for training on a CPU; add --device cpu, or leave it away")
    if wanted:
        torch.set_num_threads(1)
    return wanted


def _open_study(store: RunStore, task: Task, storage: str | None = None) -> None:
    if task.own is not None:
        save_base(task.own, store.folder)
    store.open_study(objective_names(task.recipe.search, task.profiles), task.space, storage)


def _prepare(store: RunStore, task: Task, planner: Planner, meter: Meter) -> RunContext:
    """Make what all candidates share, while the planner plans the time. The study is open."""
    space, saved = task.space, store.manifest().compute
    if saved and saved.precision == "bf16" and not bf16_may_help(task.device):
        meter.say("the run was begun in bf16, on another machine: from here on it trains in fp32, to other weights")
        saved = None
    epochs = longest_training(task.recipe)
    with store.timed("teacher"):
        folder = store.folder / "teacher"
        kept = Kept(folder, store.manifest().teacher if store.trials() else "")
        context = prepare(task, meter, typical=space.middle(), epochs=epochs, known=saved, listener=planner, kept=kept)
    if uncached := context.uncached(space.middle()):
        meter.say(uncached)
    if context.teacher.early_exit is not None:
        save_network(context.teacher.early_exit, folder)
    context = replace(context, reference_ms=planner.reference_ms, int8=_int8(store, task.profiles, meter))
    return RunContext(store, _with_fit_teacher(store, context, space, meter), space, meter, planner.pace)


def _int8(store: RunStore, profiles: Profiles, meter: Meter) -> Quantization:
    """How int8 files are made: right on the machines of the profiles, also those of earlier starts of the run."""
    how, saved = int8_form(profiles), store.manifest().int8
    if saved is not None:
        how = replace(how, weight_bits=min(how.weight_bits, saved.weight_bits), signed=how.signed and saved.signed)
    store.update_manifest(int8=Int8Form(how.weight_bits, how.signed))
    if any(profile.precision == "int8" for profile in profiles):
        meter.say(explained(how, profiles))
    return how


def _with_fit_teacher(store: RunStore, context: TrainingContext, space: Space, meter: Meter) -> TrainingContext:
    """`context`, or without its teacher where a student is better.

    What was found out once stays, and holds for all searches of the study: their students learn alike.
    """
    verdict = store.manifest().teacher_check
    with store.timed("teacher"):
        accuracy = best_exit(context.teacher.network, context) if verdict is None else verdict.teacher
    meter.teacher(accuracy)
    if not context.recipe.search.check_teacher or not learns_from_teacher(context.recipe.distil):
        return context
    with store.timed(CHECK):
        if verdict is None:
            check = partial(check_teacher, context, space.middle(), accuracy)
            verdict = Verdict(**store.study.agree("teacher_check", lambda: asdict(check())))
    meter.close(CHECK)
    store.update_manifest(teacher_check=verdict)
    if verdict.trusted:
        return context
    meter.say(f"{verdict.text()}; give a better teacher, or say search.check_teacher: false")
    return without_teacher(context)


def _complete(
    run: RunContext,
    fit: Sequence[str],
    again: bool = False,
    target: Target | None = None,
    asked: Sequence[str] = (),
) -> None:
    """Prune the finished students, deploy everything that came out fit, and measure what may be worth offering, with
    the students `asked` for."""
    if not fit:
        raise UserError(
            "no student of the shortlist could be finished: lower finish.train.learning_rate in the recipe "
            "and search in a new folder"
        )
    with run.store.timed("prune"):
        pruned = compress_students(run, fit, target)
    with run.store.timed("measure"):
        measure_run(run, [*fit, *pruned], again, None if target is None else target[0], asked)
    for stage in (EXPORT, MEASURE, ALLOWANCE):
        run.meter.close(stage)


def _report(run: RunContext, interrupted: bool) -> Report:
    """Write the report of what is finished."""
    with run.store.timed("report"):
        run.store.record_time()  # the report says what everything before it took
        report = build_report(run, interrupted)
        write_report(run.store.folder, report)
    run.meter.close("report")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run.store.update_manifest(environment=to_json(report.environment), peak_memory_mb=round(peak / 1024))
    return report
