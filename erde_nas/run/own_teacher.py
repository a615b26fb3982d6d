"""The user's own teacher, looked at before anything is trained: what it is, how good it is, whether it can be deployed.

What cannot teach is refused. What seems to be set wrongly (its normalisation, its order of classes) is said with the
key to set. What cannot be deployed only leaves the baseline's place in the report empty.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from torch import nn

from erde_nas.data.dataset import Dataset
from erde_nas.data.pixels import read_pixels
from erde_nas.device.runtimes import answers_like
from erde_nas.device.runtimes.interface import Setting
from erde_nas.distil.teachers.checkpoint import Checkpoint, checkpoint_path, read_checkpoint
from erde_nas.distil.teachers.foreign import ForeignTeacher
from erde_nas.distil.teachers.normalisation import USUAL, normalisation_of, spread
from erde_nas.distil.teachers.program import load_program
from erde_nas.measurement.failures import LeftOut, leaving_out
from erde_nas.measurement.int8_form import int8_form
from erde_nas.measurement.profile_kinds import all_kinds, kinds_of, measured_together
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import Normalize
from erde_nas.onnx_files.answers import answers
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import check_export, fp32_segments, of_kind, write_file
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe, TeacherSection

MOST_IMAGES, MOST_SECONDS = 512, 10.0  # of a look at the teacher; a large one sees fewer images
LEAST_IMAGES = 256  # by which settings are judged; training images make up for what validation lacks
BATCH = 32
FINE = 0.97  # a teacher this accurate has no wrong setting
FAR_BETTER, SURE = 0.03, 0.01  # gain in accuracy, and the p-value of a sign test, before a setting is called wrong
MEANT, MEANT_FACTOR = 0.6, 5.0  # right on so many, or on so many times what guessing the commonest class gives
SHOWN_CLASSES = 12
OWN, REMOVE = "the data set's own", "remove teacher.mean, std and normalisation"
TRIED_IMAGES = 8


@dataclass(frozen=True)
class Looked:
    """Images, their labels, and the logits of the teacher's last exit (n, classes); `exits` are accuracies on
    validation."""

    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    exits: tuple[float, ...]
    validation: int  # how many of the images, from the first, are validation images

    @property
    def right(self) -> np.ndarray:
        return self.logits.argmax(-1) == self.labels


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
    for line in lines:
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
    exits = (logits[:, :count].argmax(-1) == labels[:count]).mean(1)
    return Looked(images[:seen], labels[:seen], logits[-1], tuple(map(float, exits)), count)


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


def hints(found: Checkpoint, looked: Looked, section: TeacherSection, dataset: Dataset) -> list[str]:
    """Settings with which it would be far more accurate, and the key to set."""
    if looked.right.mean() >= FINE:
        return []
    predicted = _by_normalisation(found.network, looked, section, dataset)
    lines = [*_other_normalisation(predicted, looked), *_other_order(looked, dataset)]
    lines = lines or _other_of_both(predicted, looked, dataset)
    if len(looked.exits) > 1 and max(looked.exits) - looked.exits[-1] >= FAR_BETTER:
        best = int(np.argmax(looked.exits))
        lines.append(f"exit {best} is better than the last one, which is taken for its answer; export that one alone")
    return lines


def _by_normalisation(
    network: nn.Module, looked: Looked, section: TeacherSection, dataset: Dataset
) -> dict[str, np.ndarray]:
    """What it would take the first images for (n,), by the name of every other normalisation; -1 without a logit."""
    prepare = getattr(network, "prepare", None)
    own = getattr(prepare, "normalize", None)
    if not isinstance(network, ForeignTeacher) or not isinstance(own, Normalize):
        return {}
    channels = own.scale.shape[1]
    choices = {name: found for name in USUAL if (found := spread(name, channels)) is not None}
    if normalisation_of(section, dataset) is not None and len(dataset.mean) == channels:
        choices[OWN] = dataset.mean, dataset.std
    predicted = {}
    for name, (mean, std) in choices.items():
        prepare.normalize = Normalize(mean, std).to(own.scale.device)  # type: ignore[union-attr]
        logits = all_logits(network, looked.images[:LEAST_IMAGES], BATCH)[-1]
        predicted[name] = np.where(np.isfinite(logits).all(-1), logits.argmax(-1), -1)
    prepare.normalize = own  # type: ignore[union-attr]
    return predicted


def _other_normalisation(predicted: dict[str, np.ndarray], looked: Looked) -> list[str]:
    now, labels = looked.right[:LEAST_IMAGES], looked.labels[:LEAST_IMAGES]
    best = max(predicted, key=lambda name: (predicted[name] == labels).mean(), default="")
    if not best or not _far_better(predicted[best] == labels, now, labels):
        return []
    key = f"set teacher: {{normalisation: {best}}}" if best != OWN else REMOVE
    return [
        f"with the normalisation of {best} it is right on {(predicted[best] == labels).mean():.1%} of {len(now)} "
        f"images instead of {now.mean():.1%}; {key}"
    ]


def _other_of_both(predicted: dict[str, np.ndarray], looked: Looked, dataset: Dataset) -> list[str]:
    """Another normalisation together with another order, where neither alone helps."""
    right, labels, count = looked.right[:LEAST_IMAGES], looked.labels[:LEAST_IMAGES], len(dataset.classes)
    fits = {}
    for name, guess in predicted.items():
        order = _best_order(guess[::2], labels[::2], count)
        fits[name] = (guess[1::2] >= 0) & (order[guess[1::2]] == labels[1::2])
    best = max(fits, key=lambda name: fits[name].mean(), default="")
    if not best or not _far_better(fits[best], right[1::2], labels[1::2]):
        return []
    names = _names(_best_order(predicted[best], labels, count), dataset)
    key = (
        f"set teacher: {{normalisation: {best}, classes: [{names}]}}"
        if best != OWN
        else (f"{REMOVE}, and set teacher: {{classes: [{names}]}}")
    )
    return [
        f"with the normalisation of {best} and its classes in another order it would be right on "
        f"{fits[best].mean():.1%} of {len(fits[best])} images instead of {right[1::2].mean():.1%}; {key}, as far as "
        "the images show"
    ]


def _other_order(looked: Looked, dataset: Dataset) -> list[str]:
    """A permutation of its classes, found on every other image and judged on the rest."""
    predicted, count = looked.logits.argmax(-1), len(dataset.classes)
    order = _best_order(predicted[::2], looked.labels[::2], count)
    rest = looked.labels[1::2]
    if not _far_better(order[predicted[1::2]] == rest, looked.right[1::2], rest):
        return []
    order = _best_order(predicted, looked.labels, count)
    names = _names(order, dataset)
    return [
        f"in another order of its classes it would be right on {(order[predicted] == looked.labels).mean():.1%} of "
        f"{len(predicted)} images instead of {looked.right.mean():.1%}; set teacher: {{classes: [{names}]}}, as far as "
        "the images show"
    ]


def _names(order: np.ndarray, dataset: Dataset) -> str:
    return ", ".join(dataset.classes[number] for number in order[:100]) + (", ..." if len(order) > 100 else "")


def _best_order(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """For each output (classes,) the class that it stands for in the best one-to-one assignment."""
    confusion = np.zeros((classes, classes))
    known = predicted >= 0
    np.add.at(confusion, (predicted[known], labels[known]), 1)
    confusion += 1e-6 * np.eye(classes)  # what the images do not show stays as it is
    return linear_sum_assignment(confusion, maximize=True)[1]


def _far_better(other: np.ndarray, now: np.ndarray, labels: np.ndarray) -> bool:
    """Whether `other` is right often enough to be meant, and more often than `now` by more than chance."""
    commonest = np.bincount(labels).max() / len(labels) if len(labels) else 1.0
    if not len(labels) or other.mean() < min(MEANT, MEANT_FACTOR * commonest):
        return False
    gained, lost = int((other & ~now).sum()), int((now & ~other).sum())
    if gained - lost < FAR_BETTER * len(now):
        return False
    return bool(binomtest(gained, gained + lost, alternative="greater").pvalue < SURE)


def undeployable(network: nn.Module, profiles: Sequence[HardwareProfile], dataset: Dataset) -> list[str]:
    """Try to deploy a foreign teacher as the run's baseline, in every precision and runtime; what fails, in words."""
    if not isinstance(network, ForeignTeacher) or not profiles:
        return []
    device = next(network.buffers()).device
    whole, images = network.exit(-1).cpu(), dataset.validation.images[:TRIED_IMAGES]
    failed = LeftOut()
    with TemporaryDirectory(prefix="erde-nas-") as folder, leaving_out(failed, "as a file"):
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
