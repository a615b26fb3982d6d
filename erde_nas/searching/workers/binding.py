"""Which cores and which GPU each worker of this machine has, so that one does not disturb what another measures."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Binding:
    """The logical cores of a worker, and its GPU as CUDA_VISIBLE_DEVICES names it (None: as this process)."""

    cores: tuple[int, ...]
    gpu: str | None = None

    def apply(self) -> None:
        """Bind this process. Call it before torch is used: it counts the cores and sees the GPUs only once."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)
        if self.gpu is not None:
            os.environ[VISIBLE] = self.gpu


def bindings(workers: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Binding]:
    """One per worker: neighbouring cores in equal shares, or one core for several workers, and GPUs in turn."""
    found = []
    for worker in range(workers):
        first, last = (number * len(cores) // workers for number in (worker, worker + 1))
        share = tuple(cores[first:last]) or (cores[worker % len(cores)],)
        found.append(Binding(share, gpus[worker % len(gpus)] if gpus else None))
    return found


def visible_gpus(count: int) -> list[str]:
    """The names of the `count` GPUs that torch sees."""
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def check_measurable(workers: int, cores: int, profiles: Sequence[HardwareProfile]) -> None:
    """Raises UserError where a worker would measure with fewer cores than one of the profiles has threads."""
    share = max(1, cores // workers)
    for profile in profiles:
        if profile.device == "cpu" and not profile.elsewhere and profile.threads > share:
            most = max(1, cores // profile.threads)
            raise UserError(
                f"--workers {workers} leaves each worker {share} of the {cores} usable cores, but profile "
                f"{profile.name} measures with {profile.threads} threads; use --workers {most} or fewer"
            )
