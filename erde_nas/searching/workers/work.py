"""The work itself: a proposal -> a trial and its weights. Made from what this process has, or from the cache."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from erde_nas.data.load import load_dataset
from erde_nas.device.machine import usable_cores
from erde_nas.distil.context import TrainingContext, pick_device
from erde_nas.distil.prepare import prepare
from erde_nas.distil.task import Task
from erde_nas.distil.teachers.teacher import Kept
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.timing_cache import bf16_may_help
from erde_nas.errors import DeviceLost, ProcessLost
from erde_nas.networks.own.base import OwnBase
from erde_nas.networks.weights import pack
from erde_nas.progress.meter import Meter
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.searching.evaluate import Make, evaluate, train_briefly
from erde_nas.searching.rank_check import trainings
from erde_nas.searching.workers.interface import Evaluate, Evaluated
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal, Trial

NO_MEMORY = "can't allocate memory"  # torch raises a RuntimeError that says so where the main memory is full


def evaluator(context: TrainingContext, space: Space, make: Make = train_briefly) -> Evaluate:
    """Evaluates candidates, whose networks `make` makes with what all of them share."""

    def evaluated(proposal: Proposal) -> Evaluated:
        arch = space.decode(proposal.params)

        def failed(reason: str) -> Trial:
            return Trial(0, arch.id, proposal.params, "failed", attrs=proposal.attrs, reason=reason)

        try:
            trial, network = evaluate(proposal, arch, 0, context, make)
        except DeviceLost as error:
            return Evaluated(failed(str(error)), lost=True)
        except ProcessLost as error:
            return Evaluated(failed(str(error)), again=True)
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            words = (str(error).splitlines() or [""])[0]
            if not isinstance(error, MemoryError | torch.OutOfMemoryError) and NO_MEMORY not in words:
                raise
            return Evaluated(failed(f"out of memory: {words}".removesuffix(": ")), again=True)
        return Evaluated(trial, None if network is None else pack(network))

    return evaluated


def longest_training(recipe: Recipe) -> int:
    """The epochs of the longest training that reads the teacher's logits."""
    sections = [recipe.search_training, recipe.finish.train, recipe.compress.train]
    return max(section.epochs for section in (*sections, *(options for options, _ in trainings(recipe).values())))


@dataclass(frozen=True)
class Prepared:
    """A run as another process has prepared it: its recipe and data, how its steps are made, and what its reference
    takes."""

    recipe: Recipe
    profiles: tuple[HardwareProfile, ...]
    data_dir: Path | None
    device: str
    compute: Compute
    reference_ms: Mapping[str, float] | None
    kept: Kept | None = None  # its teacher
    own: OwnBase | None = None


def prepared(context: TrainingContext, data_dir: Path | None) -> Prepared:
    """What `from_cache` needs to know of a run."""
    device, how, kept = context.device.type, context.compute, context.kept
    return Prepared(context.recipe, context.profiles, data_dir, device, how, context.reference_ms, kept, context.own)


def from_cache(run: Prepared, make: Make) -> Evaluate:
    """An evaluator in a process that shares the cache with the one that prepared the run: it only reads.

    The threads are no more than this process has cores.
    """
    dataset = load_dataset(run.recipe.dataset, run.data_dir)
    task = Task(run.recipe, run.profiles, dataset, pick_device(run.device), own=run.own)
    context = context_from_cache(task, run.compute, run.kept)
    return evaluator(replace(context, reference_ms=run.reference_ms), task.space, make)


def context_from_cache(task: Task, compute: Compute, kept: Kept | None = None) -> TrainingContext:
    """What all candidates share, as another process has prepared it."""
    epochs, known = longest_training(task.recipe), fitting(compute, task.device)
    return prepare(task, Meter(tell=_nobody), typical=task.space.middle(), epochs=epochs, known=known, kept=kept)


def fitting(compute: Compute, device: torch.device) -> Compute:
    """The same with no more threads than this process may run on cores, and in bf16 only where that may help."""
    precision = compute.precision if bf16_may_help(device) else "fp32"
    return replace(compute, precision=precision, threads=min(compute.threads, len(usable_cores())))


def _nobody(share: float, text: str) -> None:
    """The search reports for its workers."""
