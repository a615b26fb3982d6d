"""Batch norm of few channels, held against a derivation in float64, finite differences and torch's own."""

import pytest
import torch
from torch import Tensor, nn

from erde_nas.distil import narrow_batch_norm as module
from erde_nas.distil.narrow_batch_norm import NarrowBatchNorm, find_narrow, wide_registers

LAST = torch.channels_last


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors too take the way that large ones take."""
    monkeypatch.setattr(module, "MANY", 1)


def make(channels: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """x (5, channels, height, width) with a mean and a spread of its own in each channel, weight, bias."""
    generator = torch.Generator().manual_seed(channels * height + width)
    c = torch.arange(channels, dtype=torch.float64)
    x = torch.randn(5, channels, height, width, generator=generator, dtype=torch.float64)
    x = (x * (0.5 + c).view(-1, 1, 1) + 3 * c.view(-1, 1, 1)).to(dtype).contiguous(memory_format=LAST)
    return (
        x,
        (0.5 + c / 4).to(torch.promote_types(dtype, torch.float32)),
        (c / 3).float().to(torch.promote_types(dtype, torch.float32)),
    )


@pytest.mark.parametrize(("channels", "height", "width"), [(8, 4, 16), (8, 3, 7), (8, 1, 1), (5, 6, 6), (1, 2, 12)])
def test_it_is_the_textbook_formula(channels: int, height: int, width: int) -> None:
    x, weight, bias = make(channels, height, width, torch.float32)
    output, mean, variance = NarrowBatchNorm.apply(x, weight, bias, 1e-5)
    flat = x.double().permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(mean.double(), flat.mean(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(variance.double(), flat.var(1, unbiased=False), rtol=1e-4, atol=1e-5)
    wanted = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    wanted = wanted * weight[:, None] + bias[:, None]
    torch.testing.assert_close(output.permute(1, 0, 2, 3).flatten(1).double(), wanted, rtol=1e-4, atol=1e-4)
    assert output.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize(("channels", "width"), [(8, 4), (3, 5)])
def test_its_gradients_are_those_of_finite_differences(channels: int, width: int) -> None:
    x, weight, bias = (t.requires_grad_(True) for t in make(channels, 2, width, torch.float64))
    assert torch.autograd.gradcheck(lambda *inputs: NarrowBatchNorm.apply(*inputs, 1e-5)[0], (x, weight, bias))


def both(channels: int, dtype: torch.dtype = torch.bfloat16) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Output, gradients and statistics of torch's layer and of ours after two batches; and those batches."""
    batches = make(channels, 8, 16, dtype)[0]
    found = []
    for ours in (False, True):
        norm = nn.BatchNorm2d(channels)
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, channels))
            norm.bias.copy_(torch.linspace(-1, 1, channels))
        for scale in (1.0, 2.0):
            x = (scale * batches).detach().requires_grad_(True)
            if ours:
                with wide_registers(find_narrow(norm)):
                    output = norm(x)
            else:
                output = norm(x)
            output.float().pow(3).sum().backward()
        assert x.grad is not None
        assert norm.weight.grad is not None
        assert norm.bias.grad is not None
        statistics = [norm.running_mean, norm.running_var, norm.num_batches_tracked]
        found.append([output.detach(), x.grad, norm.weight.grad, norm.bias.grad, *statistics])
    return found[0], found[1], batches  # type: ignore[return-value]


def test_a_layer_in_bf16_is_torchs_to_its_rounding() -> None:
    theirs, ours, _ = both(8)
    for number, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        assert a.dtype == b.dtype
        scale = float(a.float().abs().max())
        tolerance = 2**-7 if number in (0, 1) else 2**-9  # bf16 has 8 bits; the rest is fp32, of bf16 numbers
        torch.testing.assert_close(a.float(), b.float(), rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize(("channels", "dtype"), [(16, torch.bfloat16), (8, torch.float32)])
def test_other_layers_are_left_to_torch(channels: int, dtype: torch.dtype) -> None:
    theirs, ours, _ = both(channels, dtype)
    assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))


@pytest.mark.parametrize("change", ["eval", "untracked", "contiguous"])
def test_modes_that_are_left_to_torch(change: str) -> None:
    x, norm = make(8, 4, 8, torch.bfloat16)[0], nn.BatchNorm2d(8)
    if change == "eval":
        norm.eval()
    elif change == "untracked":
        norm.track_running_stats = False
    else:
        x = x.contiguous()
    plain = norm(x)
    mean = norm.running_mean.clone()  # type: ignore[union-attr]
    with wide_registers(find_narrow(norm)):
        assert torch.equal(norm(x), plain)
    if change != "contiguous":
        assert torch.equal(norm.running_mean, mean)  # type: ignore[arg-type]


def test_the_layers_are_as_before_afterwards() -> None:
    norm = nn.Sequential(nn.BatchNorm2d(8))
    with pytest.raises(RuntimeError, match="stop"), wide_registers(find_narrow(norm)):
        raise RuntimeError("stop")
    assert "forward" not in norm[0].__dict__


def test_small_tensors_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 5 * 8 * 8 * 16 + 1)
    theirs, ours, _ = both(8)
    assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))
