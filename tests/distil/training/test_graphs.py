"""Training with a recorded step: on a GPU the same as without a recording; elsewhere, and where it fails, as it was."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.training import graphs
from erde_nas.distil.training import train as training
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.graphs import fastest_step, restore_
from erde_nas.distil.training.step_runner import StepRunner
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.together import train_together
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection

OPTIONS = OptimizerSection(epochs=3, batch_size=16, learning_rate=0.05)
MACS = (1.0, 2.0)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def loaded(network: EarlyExitNetwork, views: Views) -> StepRunner:
    network.train()
    runner = StepRunner(network, Objective(DistilSection(), MACS), OPTIONS, steps=20, compute=Compute("fp32", 1, 0.0))
    runner.load(views.images[:16], views.labels[:16], None)
    return runner


def test_a_cpu_runs_the_step_as_it_is(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    runner = loaded(make_network(head="gap"), make_views())
    assert fastest_step(runner, torch.Generator()) == runner.run


class Pretended:
    """A runner that says it is on a GPU."""

    def __init__(self, runner: StepRunner) -> None:
        self.device = torch.device("cuda")
        self.run, self.state = runner.run, runner.state


def test_what_cannot_be_recorded_runs_as_it_is_from_where_it_was_with_one_line(
    make_views: Callable[..., Views],
    make_network: Callable[..., EarlyExitNetwork],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The warm-up steps of the failed recording leave no trace in weights, statistics, momenta or dropout."""
    runner, generator = loaded(make_network(), make_views()), torch.Generator().manual_seed(1)
    before = [tensor.clone() for tensor in runner.state()]
    drawn = generator.get_state()

    def record(pretended: Pretended, own: torch.Generator) -> Callable[[], None]:
        for _ in range(3):
            pretended.run()
            torch.rand(3, generator=own)
        raise RuntimeError("operation not permitted when stream is capturing\nand many lines more")

    monkeypatch.setattr(graphs, "_record", record)
    pretended = Pretended(runner)
    assert fastest_step(pretended, generator) == runner.run  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(runner.state(), before, strict=True))
    assert torch.equal(generator.get_state(), drawn)
    said = capsys.readouterr().err
    assert said == (
        "training without a CUDA graph, which is slower: operation not permitted when stream is capturing\n"
    )


def test_a_recording_leaves_the_state_as_it_was(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, replayed = loaded(make_network(head="gap"), make_views()), []
    before = [tensor.clone() for tensor in runner.state()]

    def record(pretended: Pretended, own: torch.Generator) -> Callable[[], None]:
        pretended.run()
        return lambda: replayed.append(1)

    monkeypatch.setattr(graphs, "_record", record)
    fastest_step(Pretended(runner), torch.Generator())()  # type: ignore[arg-type]
    assert replayed == [1]
    assert all(torch.equal(a, b) for a, b in zip(runner.state(), before, strict=True))
    restore_(runner, [torch.full_like(tensor, 2) for tensor in before])
    assert all((tensor == 2).all() for tensor in runner.state())


@pytest.fixture
def on_gpu(toy: Dataset) -> Iterator[Views]:
    """Views on the GPU, with kernels that repeat themselves."""
    torch.backends.cudnn.deterministic = True
    yield Views(toy.train, ViewsSection(crop_padding=1, flip=True), seed=0, device=torch.device("cuda"))
    torch.backends.cudnn.deterministic = False


def job(network: EarlyExitNetwork, views: Views, precision: str = "fp32", seed: int = 0) -> Training:
    logits = torch.randn(2, 96, 2, 3, generator=torch.Generator().manual_seed(0)).half().to(views.device)
    objective = Objective(DistilSection(entropy_warmup=0.5), MACS, KD(3.0)).to(views.device)
    compute = Compute(precision, 1, 0.0)
    return Training(network.to(views.device), views, objective, OPTIONS, Targets(logits, (0, 1)), seed, compute)


def eager(monkeypatch: pytest.MonkeyPatch, one: Training) -> float:
    with monkeypatch.context() as patch:
        patch.setattr(training, "fastest_step", lambda runner, _: runner.run)
        return train(one)


def weights(network: EarlyExitNetwork) -> list[Tensor]:
    return [tensor.float().cpu() for tensor in network.state_dict().values()]


@pytest.mark.parametrize("head", ["gap", "erde"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 2e-2)])
@pytest.mark.gpu
@needs_gpu
def test_a_recorded_training_is_the_eager_one(
    on_gpu: Views,
    make_network: Callable[..., EarlyExitNetwork],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str,
    tolerance: float,
    head: str,
) -> None:
    """Losses and weights; `erde` heads drop out, from the same random numbers."""
    recorded, plain = (job(make_network(head=head), on_gpu, precision) for _ in range(2))
    loss = train(recorded)
    assert "without a CUDA graph" not in capsys.readouterr().err
    assert loss == pytest.approx(eager(monkeypatch, plain), rel=tolerance)
    for a, b in zip(weights(recorded.network), weights(plain.network), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
@needs_gpu
def test_a_term_that_waits_for_the_device_trains_without_a_recording(
    on_gpu: Views, make_network: Callable[..., EarlyExitNetwork], capsys: pytest.CaptureFixture[str]
) -> None:
    class Waits(KD):
        def forward(self, step: object, weight: Tensor) -> Tensor:
            assert float(weight.sum()) >= 0  # the program needs a number: no graph can hold that
            return super().forward(step, weight)  # type: ignore[arg-type]

    one = job(make_network(head="gap"), on_gpu)
    one.objective.term = Waits(3.0)
    assert train(one) > 0
    assert capsys.readouterr().err.count("training without a CUDA graph") == 1


@pytest.mark.gpu
@needs_gpu
def test_trainings_in_streams_of_their_own_are_the_single_ones(
    on_gpu: Views, make_network: Callable[..., EarlyExitNetwork]
) -> None:
    alone = [job(make_network(seed=s), on_gpu, seed=s) for s in range(4)]
    losses = [train(one) for one in alone]
    jobs = [job(make_network(seed=s), on_gpu, seed=s) for s in range(4)]
    assert train_together(jobs, 4) == pytest.approx(losses, rel=1e-4)
    for a, b in zip(jobs, alone, strict=True):
        for x, y in zip(weights(a.network), weights(b.network), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)
