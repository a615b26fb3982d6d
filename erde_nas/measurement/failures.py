"""Files that fail in a final measurement: each is left out with its reason, and the others go on without it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from erde_nas.errors import DeviceLost, RuntimeRefused, UserError
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.measurement.statistics import Timing
from erde_nas.recipe.profile import HardwareProfile

LeftOut = dict[str, str]
"""Why, by the file's key (or the student's name, where it has no file at all)."""


@contextmanager
def leaving_out(left_out: LeftOut, key: str) -> Iterator[None]:
    """What fails inside costs the file `key` alone; an interrupt and a lost device end everything as ever."""
    try:
        yield
    except DeviceLost:
        raise
    except Exception as error:  # exporters, quantizers and runtimes raise many kinds
        left_out[key] = reason_of(error)


def reason_of(error: Exception) -> str:
    """One line: our own words, or a library's with the kind of its exception."""
    own = type(error).__module__.startswith("erde_nas")
    line = (str(error).strip().splitlines() or [""])[0][:300]
    return line if own else f"{type(error).__name__}: {line}".removesuffix(": ")


def measure_each(
    workloads: Sequence[Workload],
    profile: HardwareProfile,
    images: np.ndarray,
    effort: Effort,
    left_out: LeftOut,
    progress: Callable[[int], None] = lambda number: None,
) -> dict[str, Timing]:
    """As `measure`, all in the same processes; where that fails, without the files that fail alone, too.

    Those get their reason in `left_out`. Raises UserError where no file can be measured, or each of them can alone.
    """
    try:
        return measure(workloads, profile, images, effort, progress)
    except DeviceLost:
        raise
    except Exception as error:  # of a runtime, which may raise any
        failed, bad = error, LeftOut()
    brief = replace(effort, processes=1, blocks=1, interval=None, allowance_s=0.0)
    for workload in workloads if len(workloads) > 1 else ():
        with leaving_out(bad, workload.key):
            measure([workload], profile, images, brief)
    good = [workload for workload in workloads if workload.key not in bad]
    if not bad or not good:
        raise failed if isinstance(failed, UserError) else RuntimeRefused(reason_of(failed)) from failed
    left_out |= {key: f"{profile.name}: {why}" for key, why in bad.items()}
    return measure(good, profile, images, effort, progress)
