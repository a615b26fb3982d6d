"""Settings with which a user's own teacher would be far more accurate: its normalisation, the order of its classes."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from torch import nn

from erde_nas.data.dataset import Dataset
from erde_nas.distil.teachers.load import Checkpoint
from erde_nas.distil.teachers.normalisation import USUAL, normalisation_of, spread
from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import Normalize
from erde_nas.recipe.teacher import TeacherSection

LEAST_IMAGES = 256  # by which settings are judged; training images make up for what validation lacks
BATCH = 32
FINE = 0.97  # a teacher this accurate has no wrong setting
FAR_BETTER, SURE = 0.03, 0.01  # gain in accuracy, and the p-value of a sign test, before a setting is called wrong
MEANT, MEANT_FACTOR = 0.6, 5.0  # right on so many, or on so many times what guessing the commonest class gives
OWN, REMOVE = "the data set's own", "remove teacher.mean, std and normalisation"


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
