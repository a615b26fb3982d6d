"""What all candidates share, packed for machines that do not share this one's files: arrays and plain values."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.views import Views
from erde_nas.distil.context import TrainingContext, pick_device
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.measurement.target import machine_of, obstacle
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import on_device
from erde_nas.networks.own.base import OwnBase
from erde_nas.networks.weights import pack, unpack
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.searching.workers.interface import Evaluate
from erde_nas.searching.workers.work import evaluator, fitting
from erde_nas.space.own_space import space_of_any


@dataclass(frozen=True)
class Shipment:
    """Made on the search's machine by `ship`, and unpacked by every worker. The test split stays at home."""

    recipe: Recipe
    profiles: tuple[HardwareProfile, ...]
    dataset: Dataset
    teacher: tuple[Arch, bytes] | None  # none: a program of the user's own, of which candidates need the logits alone
    teacher_macs: tuple[float, ...]
    logits: np.ndarray
    compute: Compute
    reference_ms: Mapping[str, float] | None
    own: OwnBase | None = None

    @property
    def nbytes(self) -> int:
        """What travels to each machine, without the small parts."""
        splits = (self.dataset.train, self.dataset.validation)
        weights = 0 if self.teacher is None else len(self.teacher[1])
        return self.logits.nbytes + sum(split.images.nbytes + split.labels.nbytes for split in splits) + weights


def ship(context: TrainingContext) -> Shipment:
    """Pack what candidates need."""
    test = context.dataset.test
    network = context.teacher.early_exit
    return Shipment(
        context.recipe,
        context.profiles,
        replace(context.dataset, test=Split(test.images[:0], test.labels[:0])),
        None if network is None else (network.arch, pack(network)),
        context.teacher_macs,
        context.logits.cpu().numpy(),
        context.compute,
        context.reference_ms,
        context.own,
    )


def evaluator_of(shipment: Shipment, device: str) -> Evaluate:
    """An evaluator on another machine. Raises UserError where that may not answer for one of the profiles."""
    for profile in shipment.profiles:
        if reason := obstacle(profile, machine_of(profile)):
            raise UserError(f"a machine of the cluster: {reason}")
    place, dataset, recipe = pick_device(device), shipment.dataset, shipment.recipe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of arrays that cannot be written: nobody writes to them
        views = Views(dataset.train, recipe.views, seed=recipe.search.seed, device=place, data=dataset.fingerprint)
        logits = torch.from_numpy(shipment.logits).to(place)
    network: nn.Module = nn.Identity()
    if shipment.teacher is not None:
        network = on_device(unpack(*shipment.teacher), place).eval()
    teacher = Teacher(network, "", trained=False)
    compute = fitting(shipment.compute, place)
    reference_ms = shipment.reference_ms
    context = TrainingContext(
        recipe, shipment.profiles, dataset, views, teacher, shipment.teacher_macs, logits, compute, reference_ms
    )
    return evaluator(context, space_of_any(recipe, dataset, shipment.own))
