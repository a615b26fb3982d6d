"""The early-exit teacher: trained once with cross-entropy at all exits, or the user's own checkpoint.

A trained teacher is kept in the cache directory under a hash of everything that determines it: its section of the
recipe, the data set's fingerprint, the views, the seed, and the version of this training.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erde_nas.data.cache import cache_dir
from erde_nas.data.views import Views
from erde_nas.distil.objective import cross_entropy_objective
from erde_nas.distil.train import Compute, train
from erde_nas.errors import TrainingFailed, UserError
from erde_nas.recipe import Recipe, TeacherSection
from erde_nas.records import Arch, Dataset, Exit
from erde_nas.students.families import StageChoice, make_arch, stage_ends
from erde_nas.students.network import EarlyExitNetwork, Normalize, on_device
from erde_nas.students.weights import load_network, save_network

TRAINING_VERSION = 1  # raise it when the same section would train another teacher


@dataclass(frozen=True)
class Teacher:
    """`network` maps images (batch, channels, h, w), pixels 0..255, to a list of logits (batch, classes)."""

    network: nn.Module
    key: str  # hash of what determines the weights
    trained: bool  # here, or loaded from a cache or a checkpoint

    @property
    def early_exit(self) -> EarlyExitNetwork | None:
        """The network, unless it is a program of the user's own."""
        return self.network if isinstance(self.network, EarlyExitNetwork) else None


class ProgramTeacher(nn.Module):
    """A `torch.export` program of the user's own, with one tensor of logits or a sequence of them, shallowest first."""

    def __init__(self, program: nn.Module, dataset: Dataset) -> None:
        super().__init__()
        self.normalize, self.program = Normalize(dataset.mean, dataset.std), program

    def forward(self, images: Tensor) -> list[Tensor]:
        """(batch, channels, h, w), pixels 0..255 -> list of (batch, classes)."""
        logits = self.program(self.normalize(images))
        return [logits] if isinstance(logits, Tensor) else list(logits)

    def train(self, mode: bool = True) -> "ProgramTeacher":
        """Exported programs have no training mode."""
        self.training = False
        return self


def image_shape(dataset: Dataset) -> tuple[int, int, int]:
    """(channels, size, size). Raises UserError for images that are not square."""
    channels, height, width = dataset.train.images.shape[1:]
    if height != width:
        raise UserError(
            f"the images of {dataset.name} are {height}×{width}; erde-nas needs square ones: set image_size"
        )
    return channels, height, width


def teacher_arch(section: TeacherSection, dataset: Dataset) -> Arch:
    """The architecture that the recipe's teacher section describes: an exit at the end of each stage."""
    stages = [StageChoice(depth, width) for depth, width in zip(section.depths, section.widths, strict=True)]
    return make_arch(
        section.family,
        image_shape=image_shape(dataset),
        classes=len(dataset.classes),
        stem=section.stem,
        stages=stages,
        exits=[Exit(block, section.head) for block in stage_ends(section.depths)],
    )


def prepare_teacher(
    recipe: Recipe,
    dataset: Dataset,
    views: Views,
    calibrate: Callable[[Callable[[], EarlyExitNetwork]], Compute],
    progress: Callable[[int, int, Compute], None],
) -> Teacher:
    """Load the user's checkpoint, or the cached teacher, or train it and cache it.

    `calibrate` says how its steps run fastest; `progress` hears (epochs done, epochs in all, that).
    """
    section = recipe.teacher
    device = views.images.device
    if section.checkpoint is not None:
        return load_checkpoint(Path(section.checkpoint).expanduser(), dataset, device)
    arch = teacher_arch(section, dataset)
    key = _key([arch.to_dict(), section.train.model_dump(), _circumstances(recipe, dataset, device)])
    folder = cache_dir() / "teachers" / key
    if (folder / "weights.safetensors").is_file():
        return Teacher(load_network(folder / "weights.safetensors").to(device).eval(), key, trained=False)

    def make() -> EarlyExitNetwork:
        torch.manual_seed(recipe.search.seed)
        return on_device(EarlyExitNetwork(arch, dataset.mean, dataset.std), device)

    compute = calibrate(make)
    network = make()
    try:
        train(
            network,
            views,
            cross_entropy_objective(len(arch.exits)).to(device),
            section.train,
            targets=None,
            seed=recipe.search.seed,
            compute=compute,
            progress=lambda done, total: progress(done, total, compute),
        )
    except TrainingFailed as error:
        raise UserError(
            f"the teacher could not be trained: {error}; lower teacher.train.learning_rate in the recipe"
        ) from error
    save_network(network, folder)
    return Teacher(network.eval(), key, trained=True)


def _circumstances(recipe: Recipe, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    return {
        "dataset": dataset.fingerprint,
        "views": recipe.views.model_dump(exclude={"cached_views"}),
        "seed": recipe.search.seed,
        "device": device.type,
        "version": TRAINING_VERSION,
    }


def _key(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def load_checkpoint(path: Path, dataset: Dataset, device: torch.device) -> Teacher:
    """The user's own teacher: `.safetensors` with `arch.json` beside it, or a `.pt2` program of `torch.export`.

    A program takes images normalised with the training split's mean and standard deviation, any batch size.
    Raises UserError where the file is missing or damaged, or does not fit the data set.
    """
    if not path.is_file():
        raise UserError(f"teacher checkpoint {path} does not exist; correct teacher.checkpoint in the recipe")
    network: nn.Module
    if path.suffix == ".safetensors":
        network = load_network(path)
    elif path.suffix == ".pt2":
        try:
            network = ProgramTeacher(torch.export.load(path).module(), dataset)
        except Exception as error:  # torch.export raises many kinds for a damaged file
            raise UserError(f"{path} is not a program that torch.export can load: {error}") from error
    else:
        raise UserError(f"teacher checkpoint {path} must end in .safetensors (erde-nas) or .pt2 (torch.export.save)")
    network = network.to(device)
    network.eval()
    _check_fit(network, path, dataset, device)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Teacher(network, _key([digest, dataset.fingerprint, "checkpoint"]), trained=False)


@torch.no_grad()
def _check_fit(network: nn.Module, path: Path, dataset: Dataset, device: torch.device) -> None:
    images = torch.from_numpy(dataset.train.images[:3]).to(device)
    shape = "×".join(map(str, images.shape[1:]))
    if isinstance(network, EarlyExitNetwork):  # it would spread one channel over three by broadcasting
        arch = network.arch
        own = f"{arch.in_channels}×{arch.image_size}×{arch.image_size}"
        if own != shape:
            raise UserError(
                f"teacher {path} takes images of {own}, but {dataset.name}'s are {shape}; use one trained on those"
            )
    try:
        logits = network(images)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"teacher {path} cannot take {dataset.name}'s images of {shape}: {reason}") from error
    wanted = (len(images), len(dataset.classes))
    for number, out in enumerate(logits):
        if not isinstance(out, Tensor):
            raise UserError(
                f"teacher {path} must give a tensor of logits or a sequence of them, but its output {number} is "
                f"{out!r:.40}; export it so that it returns the logits alone"
            )
        if tuple(out.shape) != wanted:
            raise UserError(
                f"teacher {path}, exit {number}: {dataset.name} has {wanted[1]} classes, so three images must "
                f"give logits of shape {wanted}, but got {tuple(out.shape)}; use one trained on {dataset.name}"
            )
