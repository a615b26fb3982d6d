"""What all candidates of a run share, made once: views, teacher, its logits, and how fast a training step runs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.device.exit_rules import ExitRule, exit_rule
from erde_nas.device.machine import usable_cores
from erde_nas.distil.objective import Objective, teacher_exits
from erde_nas.distil.teachers.cached_logits import cached_logits, is_cached
from erde_nas.distil.teachers.foreign import ForeignTeacher
from erde_nas.distil.teachers.teacher import Teacher, prepare_teacher
from erde_nas.distil.terms.make import make_term
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.together import Job
from erde_nas.distil.training.train import Progress, steps_per_epoch
from erde_nas.errors import UserError
from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import count_macs, macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.onnx_files.quantize import ON_EVERY_CPU, Quantization
from erde_nas.progress.meter import Meter
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import OptimizerSection, Recipe

GPU_STREAMS = 4  # small students leave most of a GPU idle
FORWARDS = 3  # as many forward passes as long as a training step
PROBED = 32  # images that say how long the teacher takes for all
LOGITS = "logits"  # the stage of the teacher's pass over all views, as the meter calls it


@dataclass(frozen=True)
class TrainingContext:
    """Made by `prepare`; read by every stage."""

    recipe: Recipe
    profiles: tuple[HardwareProfile, ...]
    dataset: Dataset
    views: Views
    teacher: Teacher
    teacher_macs: tuple[float, ...]  # per exit
    logits: Tensor  # (views, images, teacher exits, classes) fp16
    compute: Compute
    reference_ms: Mapping[str, float] | None = None  # of the reference network, by profile: see quick_latency
    int8: Quantization = ON_EVERY_CPU  # how the run's int8 files are made

    @property
    def device(self) -> torch.device:
        """Where training runs."""
        return self.views.device

    @property
    def exit_rule(self) -> ExitRule:
        """When images leave at an exit of a student or of the teacher."""
        return exit_rule(self.recipe.exit_rule)

    def build(self, arch: Arch, repetition: int = 0) -> EarlyExitNetwork:
        """An untrained network on the training device; the recipe's seed, `arch` and `repetition` say which weights."""
        torch.manual_seed(self.seed(arch) + repetition)
        return on_device(EarlyExitNetwork(arch, self.dataset.mean, self.dataset.std), self.device)

    def seed(self, arch: Arch) -> int:
        """A seed for everything random about one architecture."""
        return (int(arch.id, 16) + self.recipe.search.seed) % 2**31

    def job(
        self,
        network: EarlyExitNetwork,
        options: OptimizerSection,
        section: DistilSection | None = None,
        repetition: int = 0,
    ) -> Job:
        """How a student is trained: with the recipe's loss, or `section`'s. `repetition`: another order and dropout."""
        section = section or self.recipe.distil
        shares = [macs / self.teacher_macs[-1] for macs in self.teacher_macs]
        macs = macs_per_exit(network)
        return Job(
            network,
            self.views,
            Objective(section, macs, make_term(section, network, self.teacher.early_exit)).to(self.device),
            options,
            targets=Targets(
                self.logits, tuple(teacher_exits(macs, shares, section.teacher_exits)), self.teacher.early_exit
            ),
            seed=self.seed(network.arch) + repetition,
            compute=self.compute,
            repetition=repetition,
        )

    def distil(self, network: EarlyExitNetwork, options: OptimizerSection, progress: Progress | None = None) -> float:
        """Train a student in place with the recipe's loss; returns the last epoch's mean loss."""
        return self.job(network, options).run(progress)

    def uncached(self, arch: Arch, section: DistilSection | None = None) -> str:
        """What a loss needs in every step because no cache can hold it, in words; empty where there is nothing.

        Raises UserError where the teacher cannot give it.
        """
        term = make_term(section or self.recipe.distil, self.build(arch), self.teacher.early_exit)
        return "" if term is None else term.uncached

    @property
    def workers(self) -> int:
        """How many students can be trained at once."""
        return trainings_at_once(self.device)

    def training_seconds(self, options: OptimizerSection) -> float:
        """Estimated seconds to train one student."""
        return _seconds(options, self.views, self.compute)


def trainings_at_once(device: torch.device) -> int:
    """One on each core, or several streams on a GPU."""
    return len(usable_cores()) if device.type == "cpu" else GPU_STREAMS


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`. Raises UserError for a device that is not here."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device must be auto, cpu or cuda, but got '{name}'")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu, or see `erde-nas doctor`")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def prepare(
    recipe: Recipe,
    profiles: tuple[HardwareProfile, ...],
    dataset: Dataset,
    device: torch.device,
    meter: Meter,
    *,
    typical: Arch,
    epochs: int,
    known: Compute | None,
    on_compute: Callable[[Compute, float], None],
    on_planned: Callable[[float], None] = lambda teacher_macs: None,
) -> TrainingContext:
    """Make what all candidates share; what is cached is loaded.

    `typical` is a student of middling size: how its steps run fastest decides for all students, unless it is `known`
    from an earlier start of the same run. `on_compute` hears of it, with the steps of an epoch. The teacher's logits
    are made for as many views as `epochs` epochs see. `on_planned` hears of the teacher's MACs once the time for it is
    planned, which a teacher that has to be trained takes longest of all.
    """
    views = Views(dataset.train, recipe.views, seed=recipe.search.seed, device=device, data=dataset.fingerprint)

    def make_typical() -> EarlyExitNetwork:
        return on_device(EarlyExitNetwork(typical, dataset.mean, dataset.std), device)

    def fastest(make: Callable[[], EarlyExitNetwork], options: OptimizerSection) -> Compute:
        return calibrate(make, views, options.batch_size)

    def fastest_for_teacher(make: Callable[[], EarlyExitNetwork]) -> Compute:
        compute = fastest(make, recipe.teacher.train)
        image_s = compute.seconds_per_step / recipe.teacher.train.batch_size / FORWARDS * compute.threads
        passes = image_s * views.count(epochs) * len(views) / trainings_at_once(device)
        meter.plan({"teacher": _seconds(recipe.teacher.train, views, compute), LOGITS: passes})
        on_planned(macs_per_exit(make())[-1])
        return compute

    def teacher_progress(done: int, total: int, compute: Compute) -> None:
        meter.add("teacher", _seconds(recipe.teacher.train, views, compute) / total, f"epoch {done}/{total}")

    compute = known or fastest(make_typical, recipe.train)
    on_compute(compute, steps_per_epoch(views, recipe.train))
    teacher = prepare_teacher(recipe, dataset, views, fastest_for_teacher, teacher_progress, meter.say)

    meter.close("teacher")
    macs = teacher_macs(teacher, dataset)
    pass_s = 0.0 if is_cached(teacher, views, views.count(epochs)) else _pass_seconds(teacher, views)
    meter.plan({LOGITS: pass_s * views.count(epochs)})
    if not teacher.trained:
        on_planned(macs[-1])

    def logits_progress(done: int, total: int) -> None:
        meter.add(LOGITS, pass_s, f"view {done}/{total}")

    logits = cached_logits(teacher, views, views.count(epochs), logits_progress, meter.say)
    meter.close(LOGITS)
    return TrainingContext(recipe, profiles, dataset, views, teacher, macs, logits, compute)


@torch.no_grad()
def _pass_seconds(teacher: Teacher, views: Views) -> float:
    """Estimated seconds that the teacher takes for one view of all training images."""
    images = views.batch(0, torch.arange(min(PROBED, len(views)), device=views.device))
    for _ in range(2):  # the first time something is made ready
        begin = time.perf_counter()
        teacher.network(images)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    return seconds / len(images) * len(views)


def _seconds(options: OptimizerSection, views: Views, compute: Compute) -> float:
    return options.epochs * steps_per_epoch(views, options) * compute.seconds_per_step


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
