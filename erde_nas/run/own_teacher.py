"""The user's own teacher, looked at before anything is trained: what it is, how good it is, whether it can be deployed.

What cannot teach is refused. What seems to be set wrongly (its normalisation, its order of classes) is said with the
key to set. What cannot be deployed only leaves the baseline's place in the report empty.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from erde_nas.data.dataset import Dataset
from erde_nas.data.on_disk import read_pixels
from erde_nas.device.runtimes import answers_like
from erde_nas.device.runtimes.interface import Setting
from erde_nas.distil.teachers.load import checkpoint_path, read_checkpoint
from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.files import Scratch, sha256_of
from erde_nas.measurement.failures import LeftOut, leaving_out
from erde_nas.measurement.int8_form import int8_form
from erde_nas.measurement.profile_kinds import all_kinds, kinds_of, measured_together
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import accuracy_per_exit
from erde_nas.networks.programs.from_file import load_program
from erde_nas.onnx_files.answers import answers
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import check_export, fp32_segments, of_kind, write_file
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.run.teacher_hints import BATCH, LEAST_IMAGES, Looked, hints

MOST_IMAGES, MOST_SECONDS = 512, 10.0  # of a look at the teacher; a large one sees fewer images
SHOWN_CLASSES = 12
TRIED_IMAGES = 8


def identity_of(recipe: Recipe, dataset: Dataset, device: torch.device) -> dict[str, str]:
    """What decides a result besides the recipe and the profiles: images, the teacher's file, and where it trains.

    Raises UserError where the teacher's file is missing.
    """
    known = {"dataset": dataset.fingerprint, "device": device.type}
    if recipe.teacher.checkpoint is None:
        return known
    return {**known, "teacher file": sha256_of(checkpoint_path(recipe.teacher))}


def inspect_teacher(
    recipe: Recipe,
    profiles: tuple[HardwareProfile, ...],
    dataset: Dataset,
    device: torch.device,
    say: Callable[[str], None],
) -> list[str]:
    """Say in a few lines what the recipe's checkpoint is, and return them; nothing for a teacher trained here.

    Takes seconds. Raises UserError where it cannot teach.
    """
    if recipe.teacher.checkpoint is None:
        return []
    found = read_checkpoint(recipe.teacher, dataset, device)
    looked = look(found.network, dataset)
    lines = [*found.remarks, *accuracy_lines(looked, dataset), *hints(found, looked, recipe.teacher, dataset)]
    lines += undeployable(found.network, profiles, dataset)
    name = Path(recipe.teacher.checkpoint).name
    for line in filter(None, [found.notice, *lines]):
        say(f"teacher {name}: {line}")
    return lines


def check_teacher_of(recipe: Recipe, profiles: tuple[HardwareProfile, ...], dataset: Dataset | None) -> list[str]:
    """What `inspect_teacher` says of a recipe's checkpoint; without its data set, what the file alone shows."""
    said: list[str] = []
    if dataset is not None:
        inspect_teacher(recipe, profiles, dataset, torch.device("cpu"), said.append)
        return said
    path = checkpoint_path(recipe.teacher)
    if recipe.teacher.timm is None and path.suffix == ".pt2":
        said.append(f"teacher {path.name}: {load_program(path).text()}")
    return [*said, f"teacher {path.name}: not checked on images, nor as a baseline, since there are none"]


def look(network: nn.Module, dataset: Dataset) -> Looked:
    """Ask the teacher about validation images, and training images where those are few, for some seconds at most."""
    validation = dataset.validation
    count = min(MOST_IMAGES, len(validation))
    more = min(max(0, LEAST_IMAGES - count), len(dataset.train))
    images = np.concatenate([validation.images[:count], read_pixels(dataset.train, np.arange(more))])
    labels = np.concatenate([validation.labels[:count], dataset.train.labels[:more]])
    found: list[np.ndarray] = []
    begin = time.monotonic()
    for start in range(0, len(images), BATCH):
        found.append(all_logits(network, images[start : start + BATCH]))
        if time.monotonic() - begin > MOST_SECONDS:
            break
    logits = np.concatenate(found, 1)  # (exits, n, classes)
    seen = logits.shape[1]
    count = min(count, seen)
    exits = accuracy_per_exit(logits[:, :count], labels[:count])
    return Looked(images[:seen], labels[:seen], logits[-1], exits, count)


def accuracy_lines(looked: Looked, dataset: Dataset) -> list[str]:
    """Accuracy on validation, of every exit and of every class; of many classes the worst."""
    right, labels = looked.right[: looked.validation], looked.labels[: looked.validation]
    present = [number for number in range(len(dataset.classes)) if (labels == number).any()]
    shares = {dataset.classes[number]: float(right[labels == number].mean()) for number in present}
    shown = sorted(shares, key=lambda name: shares[name])[:SHOWN_CLASSES] if len(shares) > SHOWN_CLASSES else shares
    per_exit = ", ".join(f"exit {number} {share:.1%}" for number, share in enumerate(looked.exits))
    several = f" ({per_exit})" if len(looked.exits) > 1 else ""
    which = "the worst classes:" if len(shown) < len(shares) else "by class:"
    return [
        f"right on {looked.exits[-1]:.1%}{several} of {looked.validation} validation images; {which} "
        + ", ".join(f"{name} ({shares[name]:.0%})" for name in shown)
    ]


def undeployable(network: nn.Module, profiles: Sequence[HardwareProfile], dataset: Dataset) -> list[str]:
    """Try to deploy a foreign teacher as the run's baseline, in every precision and runtime; what fails, in words."""
    if not isinstance(network, ForeignTeacher) or not profiles:
        return []
    device = next(network.buffers()).device
    whole, images = network.exit(-1).cpu(), dataset.validation.images[:TRIED_IMAGES]
    failed = LeftOut()
    with Scratch() as folder, leaving_out(failed, "as a file"):
        fp32 = fp32_segments(whole, images.shape[1:])
        calibration = read_pixels(dataset.train, np.arange(min(TRIED_IMAGES, len(dataset.train))))
        files = {}
        for kind in all_kinds(profiles):
            with leaving_out(failed, f"in {kind}"):
                path = Path(folder) / f"{kind}.onnx"
                write_file(of_kind(fp32, kind, calibration, int8_form(profiles)), (), path, {})
                if kind == FP32:
                    check_export(path, whole, images, ())
                files[kind] = path
        for group in measured_together(tuple(profiles)).values():
            profile = group[0]
            if profile.elsewhere or answers_like(profile.runtime) != profile.runtime:  # that one is slow to load
                continue
            for kind in (kind for kind in kinds_of(profile) if kind in files):
                with leaving_out(failed, f"in {kind} on {profile.name}"):
                    _try_runtime(files[kind], whole, profile, kind.precision, images)
    network.to(device)
    return [
        f"it cannot be a baseline {where}: {why}; students are searched and measured all the same"
        for where, why in failed.items()
    ]


def _try_runtime(path: Path, network: nn.Module, profile: HardwareProfile, precision: str, images: np.ndarray) -> None:
    setting = Setting(profile.device, profile.threads, precision, profile.batch_size, profile.provider)
    batch = np.resize(images, (profile.batch_size, *images.shape[1:]))
    logits = answers(profile.runtime, DeployableFile(path, network), setting, batch, 1)
    if not np.isfinite(logits).all():
        raise ValueError("its logits are not finite there")
