"""The work itself: a proposal -> a trial and its weights. Made from what this process has, or from the cache."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from erde_nas.data.dataset import Dataset
from erde_nas.data.load import load_dataset
from erde_nas.device.machine import usable_cores
from erde_nas.distil.context import TrainingContext, pick_device, prepare
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.timings import bf16_may_help
from erde_nas.errors import DeviceLost
from erde_nas.networks.weights import pack
from erde_nas.progress.meter import Meter
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.searching.evaluate import Make, evaluate, train_briefly
from erde_nas.searching.rank_check import trainings
from erde_nas.searching.workers.interface import Evaluate, Evaluated
from erde_nas.space.space import Space, space_of
from erde_nas.space.trial import Proposal, Trial

NO_MEMORY = "can't allocate memory"  # torch raises a RuntimeError that says so where the main memory is full


def evaluator(context: TrainingContext, space: Space, make: Make = train_briefly) -> Evaluate:
    """Evaluates candidates, whose networks `make` makes with what all of them share."""

    def evaluated(proposal: Proposal) -> Evaluated:
        arch = space.decode(proposal.params)
        try:
            trial, network = evaluate(proposal, arch, 0, context, make)
        except DeviceLost as error:
            trial = Trial(0, arch.id, proposal.params, "failed", attrs=proposal.attrs, reason=str(error))
            return Evaluated(trial, lost=True)
        except RuntimeError as error:
            if NO_MEMORY not in str(error):
                raise
            reason = "out of memory: " + str(error).splitlines()[0]
            return Evaluated(Trial(0, arch.id, proposal.params, "failed", attrs=proposal.attrs, reason=reason))
        return Evaluated(trial, None if network is None else pack(network))

    return evaluated


def longest_training(recipe: Recipe) -> int:
    """The epochs of the longest training that reads the teacher's logits."""
    sections = [recipe.search_training, recipe.finish.train, recipe.compress.train]
    return max(section.epochs for section in (*sections, *(options for options, _ in trainings(recipe).values())))


def from_cache(
    recipe: Recipe,
    profiles: tuple[HardwareProfile, ...],
    data_dir: Path | None,
    device: str,
    described: dict[str, Any],
    make: Make,
) -> Evaluate:
    """An evaluator in a process that shares the cache with the one that prepared the run: it only reads.

    `described` is what `describe` said of the run; the threads are no more than this process has cores.
    """
    dataset = load_dataset(recipe.dataset, data_dir)
    context = context_from_cache(recipe, profiles, dataset, device, Compute(**described["compute"]))
    return evaluator(replace(context, reference_ms=described["reference_ms"]), space_of(recipe, dataset), make)


def context_from_cache(
    recipe: Recipe, profiles: tuple[HardwareProfile, ...], dataset: Dataset, device: str, compute: Compute
) -> TrainingContext:
    """What all candidates share, as another process has prepared it."""
    place = pick_device(device)
    return prepare(
        recipe,
        profiles,
        dataset,
        place,
        _Silent(),
        typical=space_of(recipe, dataset).middle(),
        epochs=longest_training(recipe),
        known=fitting(compute, place),
        on_compute=lambda compute, steps: None,
    )


def fitting(compute: Compute, device: torch.device) -> Compute:
    """The same with no more threads than this process may run on cores, and in bf16 only where that may help."""
    precision = compute.precision if bf16_may_help(device) else "fp32"
    return replace(compute, precision=precision, threads=min(compute.threads, len(usable_cores())))


def describe(context: TrainingContext) -> dict[str, Any]:
    """How the run's steps are made and what its reference takes, for `from_cache`."""
    return {"compute": asdict(context.compute), "reference_ms": context.reference_ms}


class _Silent(Meter):
    """The search reports for its workers."""

    def say(self, text: str) -> None:
        """Nothing."""
