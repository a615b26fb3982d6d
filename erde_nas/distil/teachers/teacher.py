"""The early-exit teacher: trained once with cross-entropy at all exits, or the user's own checkpoint.

A trained teacher is kept in the cache directory under a hash of everything that determines it: its section of the
recipe, the data set's fingerprint, the views, the seed, and the version of this training. While it is trained it is
kept in a folder of the run after every epoch, and so is its result.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from erde_nas.cache import cache_dir, only_writer
from erde_nas.data.dataset import Dataset, square_shape
from erde_nas.data.views import Views
from erde_nas.distil.objective import cross_entropy_objective
from erde_nas.distil.teachers.literature import SUFFIXES
from erde_nas.distil.teachers.load import content_key, load_checkpoint
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.saved import SavedTraining
from erde_nas.distil.training.timing_cache import bf16_may_help
from erde_nas.distil.training.train import Training, train
from erde_nas.errors import TrainingFailed, UserError
from erde_nas.files import read_json, write_json
from erde_nas.networks.arch import Arch
from erde_nas.networks.digest import digest_of
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.networks.seeded import seeded
from erde_nas.networks.weights import load_network, save_network
from erde_nas.networks.whitening import whiten_
from erde_nas.recipe.network import student_arch
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.teacher import TeacherSection

COMPUTE = "compute.json"  # beside the weights: how the steps ran
_COMPUTE = TypeAdapter(Compute)
TRAINING_VERSION = 2  # raise it when the same section would train another teacher


@dataclass(frozen=True)
class Teacher:
    """`network` maps images (batch, channels, h, w), pixels 0..255, to a list of logits (batch, classes)."""

    network: nn.Module
    key: str  # hash of what determines the weights
    trained: bool  # here, or loaded from a cache or a checkpoint
    compute: Compute | None = None  # how the steps of its training ran, where that is known
    weights: str = ""  # their digest, where they were trained here

    @property
    def early_exit(self) -> EarlyExitNetwork | None:
        """The network, unless it is a program of the user's own."""
        return self.network if isinstance(self.network, EarlyExitNetwork) else None


@dataclass(frozen=True)
class Kept:
    """A folder of a run: its teacher is kept there while it is trained, and in the end. `digest` of its weights is that
    of the run's teacher, once candidates have learnt from it: no other one will do."""

    folder: Path
    digest: str = ""


def teacher_arch(section: TeacherSection, dataset: Dataset) -> Arch:
    """The architecture that the recipe's teacher section describes."""
    return student_arch(section, square_shape(dataset), len(dataset.classes))


def prepare_teacher(
    recipe: Recipe,
    dataset: Dataset,
    views: Views,
    calibrate: Callable[[Callable[[], EarlyExitNetwork]], Compute],
    progress: Callable[[int, int, Compute], None],
    say: Callable[[str], None] = lambda _: None,
    kept: Kept | None = None,
) -> Teacher:
    """Load the user's checkpoint, or the cached teacher, or train it and cache it.

    Where it is `kept`, an interrupted training is continued, and a teacher that is gone from the cache is found. Raises
    UserError where the run's teacher is wanted and cannot be made again.

    `calibrate` says how its steps run fastest; `progress` hears (epochs done, epochs in all, that). `say` hears of a
    cached teacher that has to be trained again, and of another process that trains the same one.
    """
    section, device = recipe.teacher, views.device
    if section.checkpoint is not None:
        network, key = load_checkpoint(section, dataset, device)
        if isinstance(network, EarlyExitNetwork):
            network = on_device(network, device)
            if section.exits != "last" and Path(section.checkpoint).suffix in SUFFIXES:
                say(f"teacher {section.checkpoint} has one exit, the last: published weights hold no others")
        return Teacher(network, key, trained=False)
    arch = teacher_arch(section, dataset)
    key = content_key([arch.to_dict(), section.train.model_dump(), _circumstances(recipe, dataset, device)])
    weights = cache_dir() / "teachers" / key / "weights.safetensors"
    places = [weights] if kept is None else [kept.folder / weights.name, weights]
    for place in places:
        if found := _found(place, arch, kept, lambda _: None):
            return _ready(found, key, device)
    with only_writer(weights.parent, say):
        found = _found(weights, arch, kept, say)  # by the process that this one waited for
        trained = found is None
        if trained:
            saved = SavedTraining((weights.parent if kept is None else kept.folder) / "training.safetensors", key)
            if begun := saved.begun():
                say(f"the teacher's training goes on after epoch {begun[0]} of {section.train.epochs}")
            network, compute = _train(recipe, arch, (dataset, views), calibrate, progress, saved)
            save_network(network, weights.parent)
            write_json(weights.with_name(COMPUTE), asdict(compute))
            if kept is None:
                saved.remove()
            found = _found(weights, arch, kept, say)  # as the next start does: its axes lie in another order in memory
    if found is None:
        raise UserError(
            f"the teacher is not the one that the students of the run learnt from, whose weights are gone; restore "
            f"{kept.folder / 'weights.safetensors' if kept else weights}, or search in a new folder"
        )
    return replace(_ready(found, key, device), trained=trained)


def _ready(teacher: Teacher, key: str, device: torch.device) -> Teacher:
    assert teacher.early_exit is not None
    return replace(teacher, network=on_device(teacher.early_exit, device).eval(), key=key)


def _found(weights: Path, arch: Arch, kept: Kept | None, say: Callable[[str], None]) -> Teacher | None:
    """The teacher in a file, without its key, where it is the one that is wanted."""
    wanted = "" if kept is None else kept.digest
    if kept is not None and weights.parent == kept.folder and not wanted:
        return None
    if (network := _cached(weights, arch, say)) is None:
        return None
    digest = digest_of(network.state_dict())
    if wanted and digest != wanted:
        return None
    try:
        compute = _COMPUTE.validate_python(read_json(weights.with_name(COMPUTE)))
    except (OSError, ValueError):  # of an earlier version
        compute = None
    return Teacher(network, "", False, compute, digest)


def _cached(weights: Path, arch: Arch, say: Callable[[str], None]) -> EarlyExitNetwork | None:
    """The teacher in the cache; None where there is none, or one that cannot be used."""
    if not weights.is_file():
        return None
    try:
        network = load_network(weights)
    except UserError as error:
        say(f"{error}; the teacher is trained again")
        return None
    if network.arch != arch:
        say(f"{weights} is another teacher's; the teacher is trained again")
        return None
    return network


def _train(
    recipe: Recipe,
    arch: Arch,
    data: tuple[Dataset, Views],
    calibrate: Callable[[Callable[[], EarlyExitNetwork]], Compute],
    progress: Callable[[int, int, Compute], None],
    kept: SavedTraining,
) -> tuple[EarlyExitNetwork, Compute]:
    seed, options, (dataset, views) = recipe.search.seed, recipe.teacher.train, data

    def make() -> EarlyExitNetwork:
        with seeded(seed):
            network = EarlyExitNetwork(arch, dataset.mean, dataset.std)
        return on_device(whiten_(network, views.patch_covariance), views.device)

    compute, network = calibrate(make), make()
    if (begun := kept.begun()) and (begun[1].precision == "fp32" or bf16_may_help(views.device)):
        compute = replace(begun[1], seconds_per_step=compute.seconds_per_step)  # as it began, for the same weights
    objective = cross_entropy_objective(len(arch.exits), recipe.teacher.head_gradient).to(views.device)
    training = Training(network, views, objective, options, targets=None, seed=seed, compute=compute)
    try:
        train(training, lambda done, total: progress(done, total, compute), saved=kept)
    except TrainingFailed as error:
        raise UserError(
            f"the teacher could not be trained: {error}; lower teacher.train.learning_rate in the recipe"
        ) from error
    return network, compute


def _circumstances(recipe: Recipe, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    head_gradient = recipe.teacher.head_gradient
    later = {} if head_gradient == 1 else {"head_gradient": head_gradient}  # older teachers are found again
    return later | {
        "dataset": dataset.fingerprint,
        "views": recipe.views.model_dump(exclude={"cached_views"}),
        "seed": recipe.search.seed,
        "device": device.type,
        "version": TRAINING_VERSION,
    }
