"""The user's own teacher: weights of this project or of a published network, a program of `torch.export`, or a model of
timm."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.data.dataset import Dataset
from erde_nas.data.on_disk import read_pixels
from erde_nas.distil.teachers.literature import SUFFIXES, load_literature
from erde_nas.distil.teachers.normalisation import normalisation_of
from erde_nas.distil.teachers.program_teacher import class_order, program_teacher, with_class_order
from erde_nas.distil.teachers.timm_teacher import build_timm
from erde_nas.distil.teachers.wrapper import Answer
from erde_nas.errors import UserError
from erde_nas.files import expanded, sha256_of
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.programs.from_file import load_program
from erde_nas.networks.weights import load_network
from erde_nas.recipe.teacher import TeacherSection

PROGRAM_VERSION = 2  # raise it when the same program would give other logits


@dataclass(frozen=True)
class Checkpoint:
    """The user's own teacher in eval mode, and in words what was assumed of it."""

    network: nn.Module
    key: str  # hash of what determines its answers
    remarks: tuple[str, ...] = ()
    notice: str = ""  # what reading its file may have done


def load_checkpoint(section: TeacherSection, dataset: Dataset, device: torch.device) -> tuple[nn.Module, str]:
    """The network and the key of `read_checkpoint`."""
    found = read_checkpoint(section, dataset, device)
    return found.network, found.key


def read_checkpoint(section: TeacherSection, dataset: Dataset, device: torch.device) -> Checkpoint:
    """The network of `section.checkpoint`, tried on a few images.

    `.safetensors` has `arch.json` beside it, unless `section.timm` names a model; `.pth` needs `section.model`. A
    `.pt2` program takes images normalised as the section says, by default with the training split's mean and standard
    deviation. Raises UserError where the file is missing or damaged, or does not fit the data set.
    """
    path = checkpoint_path(section)
    network: nn.Module
    remarks: tuple[str, ...] = ()
    notice = ""
    how: Any = "checkpoint"
    order = class_order(section, dataset, path)
    if section.timm is not None:
        channels, height, width = dataset.train.images.shape[1:]
        own = normalisation_of(section, dataset)
        network, how = build_timm(
            section.timm, path, (channels, height, width), len(dataset.classes), own, Answer(order=order)
        )
        how = [section.timm, how]
    elif section.model is not None and path.suffix in SUFFIXES:
        network = load_literature(section, path, dataset)
        how = ["literature", section.model, dataset.name, normalisation_of(section, dataset)]
    elif path.suffix == ".safetensors":
        if section.normalisation is not None or section.mean is not None:
            raise UserError(
                f"teacher {path} is a network of erde-nas, which keeps the normalisation that it was trained with; "
                "remove teacher.mean, teacher.std and teacher.normalisation"
            )
        network = load_network(path)
    elif path.suffix == ".pt2":
        loaded = load_program(path)
        network, remarks = program_teacher(loaded, section, dataset, path, device)
        notice = loaded.notice
        how = ["program", PROGRAM_VERSION, normalisation_of(section, dataset)]
    else:
        raise UserError(
            f"teacher checkpoint {path} must end in .safetensors (erde-nas) or .pt2 (torch.export.save); "
            "for the weights of a timm model, name it in teacher.timm, for a published network's .pth in teacher.model"
        )
    network = network.to(device)
    network.eval()
    check_fit(network, path, dataset, device)
    if order is not None and isinstance(network, EarlyExitNetwork):
        network = with_class_order(network, order)
    how = how if order is None else [how, order]
    return Checkpoint(network, content_key([sha256_of(path), dataset.fingerprint, how]), remarks, notice)


def checkpoint_path(section: TeacherSection) -> Path:
    """Raises UserError where there is no such file."""
    path = expanded(section.checkpoint or "")
    if not path.is_file():
        raise UserError(f"teacher checkpoint {path} does not exist; correct teacher.checkpoint in the recipe")
    return path


def content_key(parts: Any) -> str:
    """Sixteen hexadecimal digits that depend on JSON-ready values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@torch.no_grad()
def check_fit(network: nn.Module, path: Path, dataset: Dataset, device: torch.device) -> None:
    """Raises UserError that names `path` where the network does not take the images, or knows other classes."""
    images = torch.from_numpy(read_pixels(dataset.train, np.arange(3))).to(device)
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
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
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
        if not out.isfinite().all():
            raise UserError(
                f"teacher {path}, exit {number}: its logits are not finite; its weights are damaged, or it gives -inf "
                "for some classes, which no student can learn"
            )
