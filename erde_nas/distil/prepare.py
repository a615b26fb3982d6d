"""What all candidates of a run share, made once: views, teacher, its logits, and how fast a training step runs."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.distil.context import TrainingContext, training_seconds, trainings_at_once
from erde_nas.distil.task import Task
from erde_nas.distil.teachers.cached_logits import cached_logits, is_cached
from erde_nas.distil.teachers.teacher import Kept, Teacher, prepare_teacher
from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.compute import DETERMINISTIC, Compute
from erde_nas.distil.training.train import steps_per_epoch
from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import count_macs, macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.progress.meter import Meter

FORWARDS = 3  # as many forward passes as long as a training step
PROBED = 32  # images that say how long the teacher takes for all
LOGITS = "logits"  # the stage of the teacher's pass over all views, as the meter calls it


class Listener:
    """Hears what `prepare` finds out; by itself it makes nothing of it."""

    def on_compute(self, compute: Compute, steps: float) -> None:
        """How a student's step runs; an epoch has `steps`."""

    def on_teacher(self, teacher: Teacher) -> None:
        """The teacher is there."""

    def on_planned(self, teacher_macs: float) -> None:
        """The time for the teacher is planned, which one that has to be trained takes longest of all."""


def prepare(
    task: Task,
    meter: Meter,
    *,
    typical: Arch,
    epochs: int,
    known: Compute | None = None,
    listener: Listener | None = None,
    kept: Kept | None = None,
) -> TrainingContext:
    """Make what all candidates share; what is cached is loaded.

    `typical` is a student of middling size: how its steps run fastest decides for all students, unless it is `known`
    from an earlier start of the same run. The teacher's logits are made for as many views as `epochs` epochs see.
    `kept`: where the run keeps its teacher.
    """
    recipe, dataset, listener = task.recipe, task.dataset, listener or Listener()
    views = Views(dataset.train, recipe.views, seed=recipe.search.seed, device=task.device, data=dataset.fingerprint)

    def make_typical() -> EarlyExitNetwork:
        return on_device(EarlyExitNetwork(typical, dataset.mean, dataset.std), task.device)

    compute = known or _calibrated(task, make_typical, views, recipe.train.batch_size)
    listener.on_compute(compute, steps_per_epoch(views, recipe.train))
    count = views.count(epochs)
    teacher = _teacher(task, views, count, (meter, listener), kept)
    listener.on_teacher(teacher)
    macs = teacher_macs(teacher, dataset)
    pass_s = 0.0 if is_cached(teacher, views, count) else pass_seconds(teacher, views)
    meter.plan({LOGITS: pass_s * count})
    if not teacher.trained:
        listener.on_planned(macs[-1])

    def progress(done: int, total: int) -> None:
        meter.add(LOGITS, pass_s, f"view {done}/{total}")

    logits = cached_logits(teacher, views, count, progress, meter.say)
    meter.close(LOGITS)
    if kept is not None:
        kept = replace(kept, digest=teacher.weights)
    return TrainingContext(
        recipe, task.profiles, dataset, views, teacher, macs, logits, compute, kept=kept, own=task.own
    )


def _calibrated(task: Task, make: Callable[[], EarlyExitNetwork], views: Views, batch_size: int) -> Compute:
    """How steps run fastest here; those of a deterministic run as everywhere."""
    if task.deterministic:
        return calibrate(make, views, batch_size, only=DETERMINISTIC)
    return calibrate(make, views, batch_size)


def _teacher(task: Task, views: Views, passes: int, told: tuple[Meter, Listener], kept: Kept | None) -> Teacher:
    """The teacher, loaded or trained. `passes` over all images follow, which the plan needs to know beforehand."""
    options, (meter, listener) = task.recipe.teacher.train, told

    def fastest(make: Callable[[], EarlyExitNetwork]) -> Compute:
        compute = _calibrated(task, make, views, options.batch_size)
        image_s = compute.seconds_per_step / options.batch_size / FORWARDS * compute.threads
        passes_s = image_s * passes * len(views) / trainings_at_once(task.device)
        meter.plan({"teacher": training_seconds(options, views, compute), LOGITS: passes_s})
        listener.on_planned(macs_per_exit(make())[-1])
        return compute

    def progress(done: int, total: int, compute: Compute) -> None:
        meter.add("teacher", training_seconds(options, views, compute) / total, f"epoch {done}/{total}")

    teacher = prepare_teacher(task.recipe, task.dataset, views, fastest, progress, meter.say, kept)
    meter.close("teacher")
    return teacher


@torch.no_grad()
def pass_seconds(teacher: Teacher, views: Views) -> float:
    """Estimated seconds that the teacher takes for one view of all training images."""
    images = views.batch(0, torch.arange(min(PROBED, len(views)), device=views.device))
    for _ in range(2):  # the first time something is made ready
        begin = time.perf_counter()
        teacher.network(images)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    return seconds / len(images) * len(views)


def teacher_macs(teacher: Teacher, dataset: Dataset) -> tuple[float, ...]:
    """MACs per exit: of all that leads to it."""
    network = teacher.network
    if isinstance(network, EarlyExitNetwork):
        return tuple(float(macs) for macs in macs_per_exit(network))
    assert isinstance(network, ForeignTeacher)
    count = network.batch.least
    x = torch.zeros(count, *dataset.train.images.shape[1:], device=next(network.buffers()).device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # attention as matrix products, which can be counted
        seen, exits = network.prepare(x), range(len(network(x)))
        return tuple(_program_macs(network.exit(number).program, seen) / count for number in exits)


def _program_macs(program: nn.Module, x: Tensor) -> float:
    """MACs; of a program with branches of its own (`torch.cond`), which ptflops cannot follow, by torch's counter."""
    try:
        return count_macs(program, x)
    except RuntimeError:
        with FlopCounterMode(display=False) as counter:
            program(x)
        return counter.get_total_flops() / 2
