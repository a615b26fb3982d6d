"""Heads of several kinds at several places of a frozen network, trained on what it computes anyway."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.data.memory import available_bytes, readable
from erde_nas.data.views import Views
from erde_nas.device.machine import usable_cores
from erde_nas.distil.context import TrainingContext
from erde_nas.distil.frozen.budget import HeadPlan, plan_heads
from erde_nas.distil.frozen.features import Backbone, Features, batch_of, keep_features, spread_over_cores
from erde_nas.distil.frozen.heads import HeadTraining, kinds_at, make_heads, train_heads
from erde_nas.errors import TrainingFailed, UserError
from erde_nas.networks.attached import AttachedHead, Place
from erde_nas.progress.meter import Meter
from erde_nas.recipe.recipe import Recipe

FEATURES, HEADS = "features", "exits"  # the stages, as the progress meter calls them
PROBED = 3  # batches, by which speed is judged


@dataclass(frozen=True)
class TrainedExit:
    """A trained head: where it is, of which kind, and its logits on validation (n, classes)."""

    place: Place
    kind: str
    head: AttachedHead
    val_logits: np.ndarray


@dataclass(frozen=True)
class TrainedExits:
    """All that were trained, shallowest first, and the network's own logits on validation (n, classes)."""

    exits: tuple[TrainedExit, ...]
    own: np.ndarray


def train_exits(backbone: Backbone, context: TrainingContext, meter: Meter, seconds: float) -> TrainedExits:
    """Train every kind of head at every place in about so many seconds; what that allows is said.

    Raises UserError where training fails.
    """
    views, validation, recipe = context.views, context.dataset.validation.images, context.recipe
    classes = int(backbone(views.batch(0, torch.arange(1)))[1].shape[1])
    kinds = {place: kinds_at(place) for place in backbone.places}
    every = [make_heads(place, kinds[place], classes, recipe.search.seed) for place in backbone.places]
    plan = _planned(backbone, every, views, recipe, seconds)
    _say(plan, backbone, views, meter)
    checking_s = plan.feature_s / (plan.images * plan.views) * len(validation)
    meter.plan({FEATURES: plan.feature_s + checking_s, HEADS: plan.head_s})

    def computed(images: int) -> None:
        meter.add(FEATURES, plan.feature_s / (plan.images * plan.views) * images, "what the network holds at its exits")

    chosen = views.order(0)[: plan.images]
    features = keep_features(backbone, views, chosen, plan.views, computed)
    trainings = _trainings(every, features, recipe)

    def trained(images: int) -> None:
        meter.add(HEADS, plan.head_s / (plan.epochs * plan.images) * images / len(trainings), "heads of all places")

    try:
        train_heads(trainings, plan.epochs, trained)
    except TrainingFailed as error:
        raise UserError(f"{error}: give images as the network was trained on, with its normalisation") from error
    meter.close(HEADS)
    found = _on_validation(backbone, every, validation, computed)
    meter.close(FEATURES)
    numbers = [(place, number) for place in range(len(every)) for number in range(len(every[place]))]
    exits = [
        TrainedExit(place, kinds[place][number], cast(AttachedHead, every[at][number]), logits)
        for (at, number), logits in zip(numbers, found, strict=False)
        for place in backbone.places[at : at + 1]
    ]
    return TrainedExits(tuple(exits), found[-1])


def _trainings(every: list[nn.ModuleList], features: Features, recipe: Recipe) -> list[HeadTraining]:
    return [
        HeadTraining(heads, place, features, recipe.distil, recipe.train, recipe.search.seed)
        for place, heads in enumerate(every)
    ]


def _planned(backbone: Backbone, every: list[nn.ModuleList], views: Views, recipe: Recipe, seconds: float) -> HeadPlan:
    """What the time allows, by how long a few batches take on every core at once."""
    cores, size = len(usable_cores()), batch_of(views.image_shape)
    images = views.batch(0, torch.arange(min(size, len(views))))
    batches = PROBED * cores
    list(spread_over_cores(backbone, [images] * cores))  # the first time something is made ready
    feature_s = _seconds(lambda: list(spread_over_cores(backbone, [images] * batches))) / (batches * len(images))
    small = keep_features(backbone, views, torch.arange(min(recipe.train.batch_size, len(views))), 1)
    trainings = [
        HeadTraining(make_heads(place, kinds_at(place), small.logits.shape[-1], 0), number, small, recipe.distil,
                     recipe.train, 0)
        for number, place in enumerate(backbone.places)
    ]  # fmt: skip
    head_s = _seconds(lambda: train_heads(trainings, PROBED, lambda images: None)) / (PROBED * len(small.labels))
    free = available_bytes()
    return plan_heads(
        len(views), views.count(views.section.cached_views), feature_s=feature_s, head_s=head_s,
        sample_bytes=backbone.sample_bytes, free_bytes=free, seconds=seconds,
    )  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _say(plan: HeadPlan, backbone: Backbone, views: Views, meter: Meter) -> None:
    size = readable(backbone.sample_bytes * plan.images * plan.views)
    several = f" in {plan.views} views" if plan.views > 1 else ""
    meter.say(
        f"exits: learn from {plan.images:,} of {len(views):,} training images{several}, {plan.epochs} epochs, towards "
        f"the network's own answers; what it holds at {len(backbone.places)} places is computed once and kept in "
        f"memory, {size} in fp16"
    )


def _on_validation(
    backbone: Backbone, every: list[nn.ModuleList], images: np.ndarray, progress: Callable[[int], None]
) -> list[np.ndarray]:
    """The logits (n, classes) of every head, place by place, and of the network itself."""
    size = batch_of(images.shape[1:])

    def answers(batch: Tensor) -> list[Tensor]:
        seen, own = backbone(batch)
        found = [cast(AttachedHead, head).head(x) for x, heads in zip(seen, every, strict=True) for head in heads]
        return [*found, own]

    batches: Iterable[Tensor] = (torch.from_numpy(images[i : i + size]) for i in range(0, len(images), size))
    parts: list[list[Tensor]] = []
    for found in spread_over_cores(answers, batches):
        parts.append(found)
        progress(len(found[-1]))
    return [torch.cat(logits).float().numpy() for logits in zip(*parts, strict=True)]
