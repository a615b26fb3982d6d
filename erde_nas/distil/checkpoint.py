"""The user's own teacher: weights of this project or of a published network, a program of `torch.export`, or a model of
timm."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.data.pixels import read_pixels
from erde_nas.distil.foreign import ProgramTeacher
from erde_nas.distil.literature import SUFFIXES, load_literature
from erde_nas.distil.timm_teacher import build_timm
from erde_nas.errors import UserError
from erde_nas.recipe import TeacherSection
from erde_nas.records import Dataset
from erde_nas.students.network import EarlyExitNetwork
from erde_nas.students.weights import load_network


def load_checkpoint(section: TeacherSection, dataset: Dataset, device: torch.device) -> tuple[nn.Module, str]:
    """The network of `section.checkpoint` in eval mode, and a hash of what determines its answers.

    `.safetensors` has `arch.json` beside it, unless `section.timm` names a model; `.pth` needs `section.model`. A
    `.pt2` program takes images normalised with the training split's mean and standard deviation, any batch size. Raises
    UserError where the file is missing or damaged, or does not fit the data set.
    """
    path = Path(section.checkpoint or "").expanduser()
    if not path.is_file():
        raise UserError(f"teacher checkpoint {path} does not exist; correct teacher.checkpoint in the recipe")
    network: nn.Module
    how: Any = "checkpoint"
    if section.timm is not None:
        channels, height, width = dataset.train.images.shape[1:]
        network, how = build_timm(section.timm, path, (channels, height, width), len(dataset.classes))
        how = [section.timm, how]
    elif section.model is not None and path.suffix in SUFFIXES:
        network, how = load_literature(section, path, dataset), ["literature", section.model, dataset.name]
    elif path.suffix == ".safetensors":
        network = load_network(path)
    elif path.suffix == ".pt2":
        try:
            network = ProgramTeacher(torch.export.load(path).module(), dataset)
        except Exception as error:  # torch.export raises many kinds for a damaged file
            raise UserError(f"{path} is not a program that torch.export can load: {error}") from error
    else:
        raise UserError(
            f"teacher checkpoint {path} must end in .safetensors (erde-nas) or .pt2 (torch.export.save); "
            "for the weights of a timm model, name it in teacher.timm, for a published network's .pth in teacher.model"
        )
    network = network.to(device)
    network.eval()
    check_fit(network, path, dataset, device)
    return network, content_key([_digest(path), dataset.fingerprint, how])


def content_key(parts: Any) -> str:
    """Sixteen hexadecimal digits that depend on JSON-ready values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


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
            raise UserError(f"teacher {path}, exit {number}: its logits are not finite; its weights are damaged")
