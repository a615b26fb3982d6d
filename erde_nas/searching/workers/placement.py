"""Where a search's candidates are evaluated, as the command line says it -> a pool."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from erde_nas.device.machine import usable_cores
from erde_nas.distil.context import TrainingContext
from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.searching.evaluate import Make
from erde_nas.searching.workers import cluster
from erde_nas.searching.workers.binding import bindings, check_measurable, visible_gpus
from erde_nas.searching.workers.inline import InlinePool
from erde_nas.searching.workers.interface import Pool
from erde_nas.searching.workers.processes import ProcessPool
from erde_nas.searching.workers.shipment import evaluator_of, ship
from erde_nas.searching.workers.work import evaluator, from_cache, prepared
from erde_nas.space.space import Space


@dataclass(frozen=True)
class Placement:
    """`workers` candidates at once, as processes here or on a Ray cluster; None: one, or as many as fit there.

    `device` is what students train on, as pick_device knows it; how they train is timed, unless it is
    `deterministic`.
    """

    workers: int | None = None
    cluster: str | None = None
    device: str = "auto"
    deterministic: bool = False

    @property
    def at_once(self) -> int:
        """How many candidates, as far as it is known beforehand."""
        return self.workers or 1

    @property
    def own_device(self) -> str:
        """What this process trains on: the GPU that is wanted may be the cluster's alone."""
        return "auto" if self.cluster is not None and self.device == "cuda" else self.device


@contextmanager
def open_placement(placement: Placement, profiles: tuple[HardwareProfile, ...]) -> "Iterator[Place]":
    """Check what can be checked before anything takes time. Raises UserError for what cannot be had.

    A connection to a cluster lasts as long as the context.
    """
    if placement.workers is not None and placement.workers < 1:
        raise UserError(f"--workers must be 1 or more, but got {placement.workers}")
    if placement.cluster is not None:
        threads = max([1, *(p.threads for p in profiles if p.device == "cpu" and not p.elsewhere)])
        has = cluster.connect(placement.cluster)
        try:
            needs = cluster.slots(has, placement.workers, placement.device, threads)
            yield Place(needs.count, needs, f"{needs.count} workers on the cluster {placement.cluster}")
        finally:
            cluster.disconnect()
        return
    workers, cores, remark = placement.at_once, len(usable_cores()), ""
    if workers > 1:
        check_measurable(workers, cores, profiles)
    if workers > cores:
        remark = f"{workers} workers share {cores} usable cores: latencies of candidates are measured beside others"
    yield Place(workers, remark=remark)


@dataclass(frozen=True)
class Place:
    """What `open_placement` found: how many at once, the cluster's slots, and what to tell the user."""

    workers: int
    slots: cluster.Slots | None = None
    remark: str = ""

    def pool(self, context: TrainingContext, space: Space, data_dir: Path | None, make: Make) -> Pool:
        """The pool that evaluates the candidates of a run whose `context` is ready; `make` makes their networks.

        On a cluster they are always trained.
        """
        if self.slots is not None:
            prepare = partial(evaluator_of, device="cuda" if self.slots.gpus else "cpu")
            return cluster.RayPool(ship(context), prepare, self.slots)
        if self.workers == 1:
            return InlinePool(evaluator(context, space, make))
        device = context.device.type
        gpus = visible_gpus(torch.cuda.device_count()) if device == "cuda" else []
        factory = partial(from_cache, prepared(context, data_dir), make)
        return ProcessPool(factory, bindings(self.workers, usable_cores(), gpus))
