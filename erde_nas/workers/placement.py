"""Where a search's candidates are evaluated, as the command line says it -> a pool."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from erde_nas.errors import UserError
from erde_nas.hardware import HardwareProfile
from erde_nas.machine import usable_cores
from erde_nas.shared import Shared
from erde_nas.space import Space
from erde_nas.workers.binding import bindings, check_measurable, visible_gpus
from erde_nas.workers.inline import InlinePool
from erde_nas.workers.interface import Pool
from erde_nas.workers.processes import ProcessPool
from erde_nas.workers.work import describe, evaluator, from_cache


@dataclass(frozen=True)
class Placement:
    """How many candidates at once."""

    workers: int = 1

    def check(self, profiles: tuple[HardwareProfile, ...]) -> str:
        """A remark for the user, or nothing. Raises UserError for more workers than the profiles allow."""
        if self.workers < 1:
            raise UserError(f"--workers must be 1 or more, but got {self.workers}")
        if self.workers == 1:
            return ""
        cores = len(usable_cores())
        check_measurable(self.workers, cores, profiles)
        if self.workers <= cores:
            return ""
        return f"{self.workers} workers share {cores} usable cores: latencies of candidates are measured beside others"


def make_pool(placement: Placement, shared: Shared, space: Space, data_dir: Path | None) -> Pool:
    """The pool that evaluates the candidates of a run whose `shared` is ready."""
    if placement.workers == 1:
        return InlinePool(evaluator(shared, space))
    device = shared.device.type
    gpus = visible_gpus(torch.cuda.device_count()) if device == "cuda" else []
    factory = partial(from_cache, shared.recipe, shared.profiles, data_dir, device, describe(shared))
    return ProcessPool(factory, bindings(placement.workers, usable_cores(), gpus))
