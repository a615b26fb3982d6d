"""What all candidates of a run share, and how each of them is built and trained with it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.device.exit_rules import ExitRule, exit_rule
from erde_nas.device.machine import usable_cores
from erde_nas.distil.objective import Objective, teacher_exits
from erde_nas.distil.teachers.teacher import Kept, Teacher
from erde_nas.distil.terms.make import make_term
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Progress, Training, steps_per_epoch, train
from erde_nas.errors import UserError
from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.networks.own.base import OwnBase
from erde_nas.networks.seeded import seeded
from erde_nas.networks.whitening import whiten_
from erde_nas.onnx_files.quantize import ON_EVERY_CPU, Quantization
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe

GPU_STREAMS = 4  # small students leave most of a GPU idle


@dataclass(frozen=True)
class TrainingContext:
    """Made by `prepare.prepare`; read by every stage."""

    recipe: Recipe
    profiles: tuple[HardwareProfile, ...]
    dataset: Dataset
    views: Views
    teacher: Teacher
    teacher_macs: tuple[float, ...]  # per exit
    logits: Tensor  # (views, images, teacher exits, classes) fp16
    compute: Compute
    reference_ms: Mapping[str, float] | None = None  # of the reference network, by profile: see candidate_latency.py
    int8: Quantization = ON_EVERY_CPU  # how the run's int8 files are made
    kept: Kept | None = None  # where the run keeps its teacher
    own: OwnBase | None = None  # the network of the user's own that students are made of

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
        with seeded(self.seed(arch) + repetition):
            network = EarlyExitNetwork(arch, self.dataset.mean, self.dataset.std)
        return on_device(whiten_(network, self.views.patch_covariance), self.device)

    def seed(self, arch: Arch) -> int:
        """A seed for everything random about one architecture."""
        return (int(arch.id, 16) + self.recipe.search.seed) % 2**31

    def training(
        self,
        network: EarlyExitNetwork,
        options: OptimizerSection,
        section: DistilSection | None = None,
        repetition: int = 0,
    ) -> Training:
        """How a student is trained: with the recipe's loss, or `section`'s. `repetition`: another order and dropout."""
        section = section or self.recipe.distil
        shares = [macs / self.teacher_macs[-1] for macs in self.teacher_macs]
        macs = macs_per_exit(network)
        return Training(
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
        return train(self.training(network, options), progress)

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
        return training_seconds(options, self.views, self.compute)


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


def training_seconds(options: OptimizerSection, views: Views, compute: Compute) -> float:
    """Estimated seconds of one training."""
    return options.epochs * steps_per_epoch(views, options) * compute.seconds_per_step
