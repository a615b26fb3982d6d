"""A first recipe for somebody's own images: budgets that fit a given time, as commented YAML."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGE = 20_000  # training images, from which on a teacher learns from batches of 512
STUDENTS = 3  # trained to the end
SHARES = {"teacher": 0.25, "search": 0.35, "finish": 0.2, "prune": 0.06}  # of the time; the rest measures and exports
MEASURING_S = 60.0  # at least, of the final measurement
MIRRORED = "true # false, if mirrored images mean something else: text, digits, left and right"
NOT_MIRRORED = "false # true, if a mirrored image means the same"
WORDS = ("true", "false", "null", "yes", "no", "on", "off")  # that YAML takes for something else than texts
CANDIDATE_S = 2.0  # of a candidate, besides its training


SPACE = """\
space: # a small network that ends in an exit, and a tail behind it for the images that need more
  families: [resnet]
  stems: [8, 16]
  stem_strides: [1, 2]
  depths: [[1, 2], [1, 2], [1, 2], [1, 2]]
  widths: [[8, 16, 32], [16, 32, 48], [32, 64], [48, 96]]
  strides: [[1], [2], [2], [1]]
  heads: [gap, pool2]
  max_exits: 2
  exits: stage-ends
  first_exit_stage: 2
"""


@dataclass(frozen=True)
class Speed:
    """Seconds of an epoch of the teacher (0: it is there already) and of a middling student, and of the teacher's
    answers to all images."""

    teacher_epoch_s: float
    student_epoch_s: float
    teacher_pass_s: float


@dataclass(frozen=True)
class Budget:
    """Epochs and numbers of a recipe, and the seconds that they should take."""

    teacher_epochs: int
    views: int
    trials: int
    brief_epochs: int
    finish_epochs: int
    prune_epochs: int
    seconds: float


def budget(speed: Speed, hours: float) -> Budget:
    """The largest budget that should fit, by fixed shares of the time; where even the least does not, that one."""
    left = 3600 * hours - MEASURING_S
    views = 4 if 4 * speed.teacher_pass_s <= 0.1 * left else 2
    left -= views * speed.teacher_pass_s

    def epochs(stage: str, epoch_s: float, least: int, most: int) -> int:
        return most if epoch_s <= 0 else min(most, max(least, int(SHARES[stage] * left / epoch_s)))

    teacher = epochs("teacher", speed.teacher_epoch_s, 4, 40) if speed.teacher_epoch_s else 0
    finish = epochs("finish", STUDENTS * speed.student_epoch_s, 4, 60)
    brief = max(1, min(10, finish // 5))
    prune = epochs("prune", STUDENTS * speed.student_epoch_s, 1, 20)
    candidate_s = brief * speed.student_epoch_s + CANDIDATE_S
    trials = min(200, max(6, int(SHARES["search"] * left / candidate_s)))
    seconds = (
        teacher * speed.teacher_epoch_s
        + views * speed.teacher_pass_s
        + trials * candidate_s
        + STUDENTS * (finish + prune) * speed.student_epoch_s
        + MEASURING_S
    )
    return Budget(teacher, views, trials, brief, finish, prune, seconds)


@dataclass(frozen=True)
class Facts:
    """What a recipe is written for. `dataset` holds the keys of its section; `goal` those of `compress.goal`."""

    name: str
    dataset: Mapping[str, Any]
    channels: int
    size: int  # of the images, in pixels
    images: int  # for training
    profiles: tuple[str, ...]
    checkpoint: str = ""
    goal: Mapping[str, float] | None = None


def recipe_text(facts: Facts, found: Budget) -> str:
    """The recipe as YAML, with what it assumes in comments."""
    size = f"{facts.channels}x{facts.size}x{facts.size}"
    flip = MIRRORED if facts.channels > 1 else NOT_MIRRORED
    return f"""\
# Written by `erde-nas init` for {facts.images} training images of {size} pixels.
# A key that is not here has its default; `erde-nas recipes show quickstart` explains them all.
name: {_yaml(facts.name)}

dataset:
{_lines(facts.dataset)}
views: # augmentation
  crop_padding: {max(2, facts.size // 16)}
  flip: {flip}
  cached_views: {found.views}

{_teacher(facts, found)}
{SPACE}
train: {{epochs: {found.brief_epochs}, batch_size: {_batch(facts)}, learning_rate: 0.1}} # every candidate

search:
  trials: {found.trials}
  population: {max(3, min(12, found.trials // 4))}
  objectives: [error, latency] # or macs, params

finish:
  students: {STUDENTS}
  rungs: 1
  train: {{epochs: {found.finish_epochs}, batch_size: {_batch(facts)}, learning_rate: 0.1}}

compress:
{_goal(facts)}
  train: {{epochs: {found.prune_epochs}, batch_size: {_batch(facts)}, learning_rate: 0.05}}

profiles: [{", ".join(map(_yaml, facts.profiles))}]
"""


def _teacher(facts: Facts, found: Budget) -> str:
    if facts.checkpoint:
        return (
            f"teacher:\n  checkpoint: {_yaml(facts.checkpoint)}\n"
            "  # normalisation: imagenet # or mean and std, if it wants others than those of the training images\n"
        )
    large = facts.images >= LARGE
    widths, stem = ("[64, 256, 256]", 24) if large else ("[64, 128, 128]", 16)
    train = (
        "batch_size: 512, learning_rate: 2.25, momentum: 0.85, weight_decay: 0.00044, bias_rate: 64,\n"
        "    schedule: triangular, label_smoothing: 0.2, lookahead: 5"
        if large
        else "batch_size: 64, learning_rate: 0.3, weight_decay: 0.00017, label_smoothing: 0.1"
    )
    return f"""\
teacher: # or your own classifier: {{checkpoint: model.pt2}}
  family: airbench
  stem: {min(stem, 8 * facts.channels)}
  depths: [2, 2, 2]
  widths: {widths}
  head: max
  head_gradient: 0.0
  train: {{epochs: {found.teacher_epochs}, {train}}}
"""


def _batch(facts: Facts) -> int:
    return 128 if facts.images >= LARGE else 64


def _goal(facts: Facts) -> str:
    if not facts.goal:
        return "  prune: [0.5]"
    return f"  goal: {{{', '.join(f'{key}: {value:g}' for key, value in facts.goal.items())}}}"


def _lines(section: Mapping[str, Any]) -> str:
    return "".join(f"  {key}: {_yaml(value)}\n" for key, value in section.items())


def _yaml(value: Any) -> str:
    """A scalar as YAML: JSON's strings are YAML's."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value) and value.lower() not in WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
