"""Training on a problem that any network solves: it learns, repeats itself exactly, and says when it breaks."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective, cross_entropy_objective
from erde_nas.distil.step import Step
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.compute import Compute, Layout
from erde_nas.distil.training.forward import MEMORY_FORMATS
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Stopped, Training, steps_per_epoch, train
from erde_nas.errors import TrainingFailed
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection

COMPUTE = Compute("fp32", 1, 0.01)
BRIEF = OptimizerSection(epochs=2, batch_size=16, learning_rate=0.05)
ENOUGH = OptimizerSection(epochs=8, batch_size=16, learning_rate=0.05)
CROSS_ENTROPY = cross_entropy_objective(2)
MACS = (1.0, 2.0)


def accuracy(network: EarlyExitNetwork, views: Views) -> list[float]:
    """Share of the plain training images that each exit gets right."""
    network.eval()
    with torch.no_grad():
        return [float((logits.argmax(1) == views.labels).float().mean()) for logits in network(views.images)]


class Own(Objective):
    """An objective whose value is what `loss` makes of the step."""

    def __init__(self, loss: Callable[[Step], Tensor]) -> None:
        super().__init__(DistilSection(loss="ce"), MACS)
        self.loss = loss

    def forward(self, step: Step) -> Tensor:
        return self.loss(step)


def noted(objective: Objective, values: list[float]) -> Objective:
    """`objective`, with every value appended to `values`."""

    def note(step: Step) -> Tensor:
        value = objective(step)
        values.append(float(value.detach()))
        return value

    return Own(note)


def weights_after(network: EarlyExitNetwork, views: Views, seed: int, precision: str = "fp32") -> list[Tensor]:
    train(Training(network, views, CROSS_ENTROPY, BRIEF, targets=None, seed=seed, compute=Compute(precision, 1, 0.0)))
    return [tensor.clone() for tensor in network.state_dict().values()]


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_the_loss_falls_and_every_exit_learns(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    views, network, values = make_views(crop_padding=1), make_network(), []
    last = train(Training(network, views, noted(CROSS_ENTROPY, values), ENOUGH, targets=None, seed=0, compute=COMPUTE))
    assert len(values) == 8 * 6
    assert last == pytest.approx(sum(values[-6:]) / 6, rel=1e-5)
    assert last < 0.5 * sum(values[:6]) / 6
    assert min(accuracy(network, views)) >= 0.95


def test_a_student_learns_from_logits_alone(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    """The labels say nothing here (their loss has next to no weight): what is learnt came through the targets."""
    views, network = make_views(), make_network()
    logits = 8 * torch.nn.functional.one_hot(views.labels, 3).half()[None, :, None].expand(1, -1, 2, -1)
    objective = Objective(DistilSection(kd_weight=1.0, temperature=2.0), MACS, KD(2.0))

    def without_labels(step: Step) -> Tensor:
        assert step.teacher is not None
        assert step.teacher.dtype == torch.float32
        return objective(step) - CROSS_ENTROPY(step)

    train(
        Training(network, views, Own(without_labels), ENOUGH, targets=Targets(logits, (0, 1)), seed=0, compute=COMPUTE)
    )
    assert min(accuracy(network, views)) >= 0.95


def test_every_step_sees_the_pixels_labels_and_logits_of_the_same_images(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    """Logits that carry (view, image, teacher exit) come back beside the labels of those images."""
    views = make_views(flip=True)
    numbers = torch.arange(96.0)
    logits = torch.stack(
        [
            torch.stack([torch.stack([torch.full((96,), v), numbers, torch.full((96,), e)], 1) for e in range(3)], 1)
            for v in range(2)
        ]
    ).half()  # (views, images, teacher exits, 3)
    seen: list[Tensor] = []

    def loss(step: Step) -> Tensor:
        assert step.teacher is not None
        assert torch.equal(views.labels[step.teacher[0, :, 1].long()], step.labels)
        seen.append(step.teacher.clone())
        return step.student.square().mean()

    options = OptimizerSection(epochs=3, batch_size=40, learning_rate=0.01)
    train(Training(make_network(), views, Own(loss), options, targets=Targets(logits, (1, 2)), seed=0, compute=COMPUTE))
    assert [teacher.shape for teacher in seen] == [(2, 40, 3)] * 6  # 96 images are two batches of 40, the rest is left
    for step, teacher in enumerate(seen):
        assert (teacher[..., 0] == step // 2 % 2).all()  # three epochs cycle through two views
        assert teacher[:, :, 2].unique(dim=1).tolist() == [[1], [2]]
        assert torch.equal(teacher[0, :, 1].long(), views.order(step // 2)[40 * (step % 2) :][:40])


def test_the_same_seed_gives_the_same_weights_bit_for_bit(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    first = weights_after(make_network(), make_views(crop_padding=1), 0)
    torch.rand(7)  # what the global generator did before must not matter
    assert equal(weights_after(make_network(), make_views(crop_padding=1), 0), first)
    assert not equal(weights_after(make_network(), make_views(crop_padding=1), 1), first)  # dropout
    assert not equal(weights_after(make_network(), make_views(1, crop_padding=1), 0), first)


def test_bf16_trains_fp32_weights(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    values: list[float] = []
    network = make_network()
    options = ENOUGH.model_copy(update={"epochs": 4})
    train(
        Training(
            network,
            make_views(),
            noted(CROSS_ENTROPY, values),
            options,
            targets=None,
            seed=0,
            compute=Compute("bf16", 1, 0.0),
        )
    )
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert values[-1] < 0.7 * values[0]


@pytest.mark.parametrize(("images", "batch_size", "steps"), [(96, 16, 6), (96, 40, 2), (96, 96, 1), (96, 500, 1)])
def test_steps_per_epoch(
    make_views: Callable[..., Views],
    make_network: Callable[..., EarlyExitNetwork],
    images: int,
    batch_size: int,
    steps: int,
) -> None:
    views, values = make_views(), []
    options = OptimizerSection(epochs=1, batch_size=batch_size, learning_rate=0.01)
    train(Training(make_network(), views, noted(CROSS_ENTROPY, values), options, targets=None, seed=0, compute=COMPUTE))
    assert steps_per_epoch(views, options) == len(values) == steps


def test_progress_hears_of_every_epoch(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    heard: list[tuple[int, int]] = []
    options = BRIEF.model_copy(update={"epochs": 3})
    train(
        Training(make_network(), make_views(), CROSS_ENTROPY, options, targets=None, seed=0, compute=COMPUTE),
        progress=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_loss_that_is_no_number_fails_the_training(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    wild = OptimizerSection(epochs=5, batch_size=16, learning_rate=1e30)
    heard: list[int] = []
    with pytest.raises(TrainingFailed, match=r"the loss became (nan|inf) in epoch 1 of 5"):
        train(
            Training(make_network(), make_views(), CROSS_ENTROPY, wild, targets=None, seed=0, compute=COMPUTE),
            progress=lambda done, total: heard.append(done),
        )
    assert heard == []


def test_it_can_be_stopped_between_two_steps(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    stop, values = threading.Event(), []

    def third(step: Step) -> Tensor:
        values.append(1)
        if len(values) == 3:
            stop.set()
        return CROSS_ENTROPY(step)

    with pytest.raises(Stopped):
        train(
            Training(make_network(), make_views(), Own(third), BRIEF, targets=None, seed=0, compute=COMPUTE), stop=stop
        )
    assert len(values) == 3


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_the_weights_lie_in_memory_as_compute_says(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork], layout: Layout
) -> None:
    network = make_network()
    compute = Compute("fp32", 1, 0.0, layout)
    train(Training(network, make_views(), CROSS_ENTROPY, BRIEF, targets=None, seed=0, compute=compute))
    kernels = [parameter for parameter in network.parameters() if parameter.ndim == 4 and parameter.shape[-1] > 1]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=MEMORY_FORMATS[compute.layout]) for kernel in kernels)


def test_targets_pick_view_images_and_exits_as_a_loop_does() -> None:
    logits = torch.randn(2, 10, 3, 4, generator=torch.Generator().manual_seed(0)).half()
    chosen = torch.tensor([7, 0, 7, 3])
    got = Targets(logits, (0, 2, 2)).batch(1, chosen)
    assert got.dtype == torch.float32
    assert got.shape == (3, 4, 4)
    for i, exit_ in enumerate((0, 2, 2)):
        for j, image in enumerate(chosen.tolist()):
            assert torch.equal(got[i, j], logits[1, image, exit_].float())


def test_without_targets_every_epoch_sees_a_new_view_and_with_them_the_cached_ones(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def view(self: Views, number: int) -> Tensor:
        seen.append(number)
        return self.images

    monkeypatch.setattr(Views, "view", view)
    options = OptimizerSection(epochs=5, batch_size=96, learning_rate=0.01)
    targets = Targets(torch.zeros(2, 96, 2, 3).half(), (0, 1))
    for given in (None, targets):
        train(Training(make_network(), make_views(), CROSS_ENTROPY, options, targets=given, seed=0, compute=COMPUTE))
    assert seen == [0, 1, 2, 3, 4, 0, 1, 0, 1, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_student_learns_on_a_gpu(toy: Dataset, make_network: Callable[..., EarlyExitNetwork], precision: str) -> None:
    device = torch.device("cuda")
    views = Views(toy.train, ViewsSection(crop_padding=1), seed=0, device=device)
    network = on_device(make_network(), device)
    logits = 8 * torch.nn.functional.one_hot(views.labels, 3).half()[None, :, None].expand(1, -1, 2, -1)
    objective = Objective(DistilSection(), MACS, KD(3.0)).to(device)
    compute = calibrate(lambda: on_device(make_network(), device), views, 16, seconds=0.1)
    assert compute.threads == torch.get_num_threads()
    train(
        Training(
            network,
            views,
            objective,
            ENOUGH,
            targets=Targets(logits, (0, 1)),
            seed=0,
            compute=Compute(precision, 1, 0.0),
        )
    )
    assert min(accuracy(network, views)) >= 0.95
