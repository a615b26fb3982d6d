"""Dropout from a generator of one's own: the share that is dropped, the scale, and who else may draw meanwhile."""

import pytest
import torch
from torch import Tensor, nn

from erde_nas.distil.training.dropout import seeded_dropout


def drawn(seed: int, p: float = 0.25, count: int = 20_000) -> Tensor:
    layer = nn.Sequential(nn.Dropout(p)).train()
    with seeded_dropout(layer, torch.Generator().manual_seed(seed)):
        return layer(torch.ones(count))


def test_the_mean_stays_and_the_share_that_is_dropped_is_p() -> None:
    out = drawn(0)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 20_000) ** 0.5)


def test_the_generator_alone_decides() -> None:
    before = torch.get_rng_state()
    first = drawn(3)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    assert torch.equal(drawn(3), first)
    assert not torch.equal(drawn(4), first)


def test_the_gradient_is_the_mask() -> None:
    layer, x = nn.Dropout(0.5).train(), torch.randn(100, requires_grad=True)
    with seeded_dropout(layer, torch.Generator().manual_seed(0)):
        out = layer(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(out, x * x.grad)


@pytest.mark.parametrize(("p", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_and_everything_dropped(p: float, value: float) -> None:
    assert drawn(0, p, 10).tolist() == [value] * 10


@pytest.mark.parametrize("training", [True, False])
def test_the_layers_are_as_before_afterwards_even_after_an_error(training: bool) -> None:
    layer = nn.Dropout(0.5).train(training)
    with pytest.raises(RuntimeError, match="stop"), seeded_dropout(layer, torch.Generator()):  # noqa: PT012
        assert layer(torch.ones(100)).unique().tolist() == [0.0, 2.0]
        raise RuntimeError("stop")
    assert layer.training is training
    assert not layer._forward_hooks
