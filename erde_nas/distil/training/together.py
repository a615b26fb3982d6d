"""Several networks trained at once over the same images and the same teacher logits.

Each runs in a thread of its own: on a CPU on one core, on a GPU in its own stream, where small students leave most of
the device idle. torch lets go of Python's lock while it computes, so threads share what processes would have to copy.
A network comes out the same, bit for bit, whoever else is trained beside it: nothing random is shared.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import torch

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Progress, train
from erde_nas.errors import TrainingFailed
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.recipe import OptimizerSection


@dataclass(frozen=True)
class Job:
    """One training, with the arguments of `train`. Jobs share neither networks nor objectives."""

    network: EarlyExitNetwork
    views: Views
    objective: Objective
    options: OptimizerSection
    targets: Targets | None
    seed: int
    compute: Compute
    repetition: int = 0

    def run(self, progress: Progress | None = None, stop: threading.Event | None = None) -> float:
        """Train here and now; the last epoch's mean loss. Raises what `train` raises."""
        return train(
            self.network,
            self.views,
            self.objective,
            self.options,
            targets=self.targets,
            seed=self.seed,
            compute=self.compute,
            repetition=self.repetition,
            progress=progress,
            stop=stop,
        )


def train_together(
    jobs: Sequence[Job], workers: int, progress: Callable[[int, int, int], None] | None = None
) -> list[float | TrainingFailed]:
    """Train the networks of `jobs` in place, `workers` at a time: each one's last mean loss, or why it failed.

    On a CPU every job has one thread, whatever its compute says. `progress` hears (number of the job, epochs done,
    epochs in all), one call at a time. An interrupt, or any error but a failed training, stops all within a step.
    """
    stop, heard = threading.Event(), threading.Lock()
    per_thread = threading.local()

    def run(number: int) -> float | TrainingFailed:
        def hear(done: int, total: int) -> None:
            if progress is not None:
                with heard:
                    progress(number, done, total)

        return _run(jobs[number], per_thread, hear, stop)

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, number) for number in range(len(jobs))]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()  # raises what went wrong, before those that still run are waited for
            return [future.result() for future in futures]
        finally:  # after an error or an interrupt; otherwise nothing is left to stop
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)


def _run(
    job: Job, per_thread: threading.local, progress: Callable[[int, int], None], stop: threading.Event
) -> float | TrainingFailed:
    device = job.views.device
    compute = replace(job.compute, threads=1) if device.type == "cpu" else job.compute
    with contextlib.ExitStack() as stack:
        if device.type == "cuda":
            if not hasattr(per_thread, "stream"):
                per_thread.stream = torch.cuda.Stream(device)
            per_thread.stream.wait_stream(torch.cuda.default_stream(device))  # where networks and targets were made
            stack.enter_context(torch.cuda.stream(per_thread.stream))
            stack.callback(per_thread.stream.synchronize)
        try:
            views = _views_of_this_thread(job.views, per_thread)
            return replace(job, views=views, compute=compute).run(progress, stop)
        except TrainingFailed as error:
            return error
        except (torch.OutOfMemoryError, MemoryError) as error:
            return TrainingFailed((str(error).splitlines() or [type(error).__name__])[0])


def _views_of_this_thread(views: Views, per_thread: threading.local) -> Views:
    """The same views with a cache of their own: threads that are in different epochs would empty each other's."""
    known: tuple[Views, Views] | None = getattr(per_thread, "views", None)
    if known is None or known[0] is not views:
        own = Views(views.split, views.section, seed=views.seed, device=views.device, data=views.data)
        known = per_thread.views = (views, own)
    return known[1]
