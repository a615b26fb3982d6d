"""Training side by side changes nothing: the same weights for any number of workers, and failures stay alone."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.together import train_together
from erde_nas.distil.training.train import Training, train
from erde_nas.errors import TrainingFailed
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.optimizer import OptimizerSection

OPTIONS = OptimizerSection(epochs=3, batch_size=16, learning_rate=0.05)
FOR_EVER = OptimizerSection(epochs=100_000, batch_size=16, learning_rate=0.001)
WILD = OptimizerSection(epochs=5, batch_size=16, learning_rate=1e30)

MakeJobs = Callable[..., list[Training]]


@pytest.fixture
def make_jobs(make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]) -> MakeJobs:
    """Networks with dropout, of different seeds and precisions, over the same views and targets."""
    logits = torch.randn(2, 96, 2, 3, generator=torch.Generator().manual_seed(0)).half()

    def make(count: int = 4, options: OptimizerSection = OPTIONS) -> list[Training]:
        views, targets = make_views(crop_padding=1), Targets(logits, (0, 1))
        return [
            Training(
                make_network(seed=number),
                views,
                Objective(DistilSection(), (1.0, 2.0), KD(3.0)),
                options,
                targets,
                seed=number,
                compute=Compute("bf16" if number % 2 else "fp32", 1, 0.0),
            )
            for number in range(count)
        ]

    return make


def weights(jobs: list[Training]) -> list[Tensor]:
    return [tensor for job in jobs for tensor in job.network.state_dict().values()]


def test_weights_do_not_depend_on_the_number_of_workers(make_jobs: MakeJobs) -> None:
    alone = make_jobs()
    losses = [train(job) for job in alone]
    for workers in (1, 2, 4):
        jobs = make_jobs()
        assert train_together(jobs, workers) == losses
        assert all(torch.equal(a, b) for a, b in zip(weights(jobs), weights(alone), strict=True))


def test_several_really_run_at_once(make_jobs: MakeJobs) -> None:
    """Two workers meet in their first epoch: with one at a time they would wait for each other for ever."""
    meeting = threading.Barrier(2, timeout=60)

    class Meets(Objective):
        def forward(self, step: object) -> Tensor:
            if not hasattr(self, "met"):
                self.met = meeting.wait()
            return super().forward(step)  # type: ignore[arg-type]

    jobs = [replace(job, objective=Meets(DistilSection(loss="ce"), (1.0, 2.0))) for job in make_jobs(2)]
    assert all(isinstance(result, float) for result in train_together(jobs, 2))


def test_a_failing_training_takes_no_other_along(make_jobs: MakeJobs) -> None:
    jobs, alone = make_jobs(), make_jobs()

    class OutOfMemory(Objective):
        def forward(self, step: object) -> Tensor:
            raise torch.OutOfMemoryError("3 GiB asked for\nand a long story")

    jobs[1] = replace(jobs[1], options=WILD)
    jobs[2] = replace(jobs[2], objective=OutOfMemory(DistilSection(), (1.0, 2.0)))
    results = train_together(jobs, 2)
    assert isinstance(results[1], TrainingFailed)
    assert "in epoch 1 of 5" in str(results[1])
    assert isinstance(results[2], TrainingFailed)
    assert str(results[2]) == "3 GiB asked for"
    kept, sound = [jobs[0], jobs[3]], [alone[0], alone[3]]
    assert [results[0], results[3]] == [train(job) for job in sound]
    assert all(torch.equal(a, b) for a, b in zip(weights(kept), weights(sound), strict=True))


def test_progress_hears_of_every_epoch_of_every_job(make_jobs: MakeJobs) -> None:
    heard: list[tuple[int, int, int]] = []
    train_together(make_jobs(3), 2, lambda number, done, total: heard.append((number, done, total)))
    assert sorted(heard) == [(number, done, 3) for number in range(3) for done in (1, 2, 3)]
    assert [done for number, done, _ in heard if number == 1] == [1, 2, 3]


def test_the_number_of_threads_is_as_before(make_jobs: MakeJobs) -> None:
    torch.set_num_threads(2)
    jobs = [replace(job, compute=Compute("fp32", 2, 0.0)) for job in make_jobs(2)]
    train_together(jobs, 2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    single = make_jobs(2)
    for job in single:
        train(replace(job, compute=Compute("fp32", 1, 0.0)))
    assert all(torch.equal(a, b) for a, b in zip(weights(jobs), weights(single), strict=True))


def test_an_interrupt_stops_all_within_moments(make_jobs: MakeJobs) -> None:
    def interrupt(number: int, done: int, total: int) -> None:
        if (number, done) == (0, 2):  # once: a second interrupt may cut the wait for the threads short
            os.kill(os.getpid(), signal.SIGINT)

    running = threading.active_count()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train_together(make_jobs(4, FOR_EVER), 2, interrupt)
    assert time.monotonic() - begin < 30
    assert threading.active_count() == running


def test_an_error_that_is_no_failed_training_stops_all(make_jobs: MakeJobs) -> None:
    """The last job breaks while the first would go on for ever."""

    class Broken(Objective):
        def forward(self, step: object) -> Tensor:
            raise KeyError("a mistake in the program")

    jobs = make_jobs(2, FOR_EVER)
    jobs[1] = replace(jobs[1], objective=Broken(DistilSection(), (1.0, 2.0)))
    with pytest.raises(KeyError, match="a mistake"):
        train_together(jobs, 2)


def test_nothing_to_do() -> None:
    assert train_together([], 2) == []
