"""Several networks trained at once over the same images and the same teacher logits.

Each runs in a thread of its own: on a CPU on one core, on a GPU in its own stream, where small students leave most of
the device idle. torch lets go of Python's lock while it computes, so threads share what processes would have to copy.
A network comes out the same, bit for bit, whoever else is trained beside it: nothing random is shared.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace

import torch

from erde_nas.data.views import Views
from erde_nas.distil.training.train import Training, train
from erde_nas.errors import TrainingFailed


def train_together(
    trainings: Sequence[Training], workers: int, progress: Callable[[int, int, int], None] | None = None
) -> list[float | TrainingFailed]:
    """Train the networks of `trainings` in place, `workers` at a time: each one's last mean loss, or why it failed.

    On a CPU each has one thread, whatever its compute says. `progress` hears (number of the training, epochs done,
    epochs in all), one call at a time. An interrupt, or any error but a failed training, stops all within a step.
    """
    stop, heard = threading.Event(), threading.Lock()
    per_thread = threading.local()

    def run(number: int) -> float | TrainingFailed:
        def hear(done: int, total: int) -> None:
            if progress is not None:
                with heard:
                    progress(number, done, total)

        return _run(trainings[number], per_thread, hear, stop)

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, number) for number in range(len(trainings))]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()  # raises what went wrong, before those that still run are waited for
            return [future.result() for future in futures]
        finally:  # after an error or an interrupt; otherwise nothing is left to stop
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)


def _run(
    training: Training, per_thread: threading.local, progress: Callable[[int, int], None], stop: threading.Event
) -> float | TrainingFailed:
    device = training.views.device
    compute = replace(training.compute, threads=1) if device.type == "cpu" else training.compute
    with contextlib.ExitStack() as stack:
        if device.type == "cuda":
            if not hasattr(per_thread, "stream"):
                per_thread.stream = torch.cuda.Stream(device)
            per_thread.stream.wait_stream(torch.cuda.default_stream(device))  # where networks and targets were made
            stack.enter_context(torch.cuda.stream(per_thread.stream))
            stack.callback(per_thread.stream.synchronize)
        try:
            views = _views_of_this_thread(training.views, per_thread)
            return train(replace(training, views=views, compute=compute), progress, stop)
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
