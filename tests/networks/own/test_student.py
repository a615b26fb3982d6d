"""Students of a user's own network: what they inherit, what is left of it, and how they are kept."""

import copy
import pickle
from functools import cache

import pytest
import torch
from torch import nn

from erde_nas.errors import UserError
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.macs import exit_macs, macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, blank, keep_exits
from erde_nas.networks.own.base import OwnBase, base_of, make_base, remember, save_base, saved_base
from erde_nas.networks.own.network import own_network
from erde_nas.networks.own.student import own_arch
from erde_nas.networks.weights import load_network, save_network
from tests.networks.foreign import ResidualBlock, images, pair

SCALE, SHIFT = 1 / 64, -2.0  # of the pixels that a base takes
NAMES = ("residual", "inverted", "dense", "transformer")


@cache
def base(name: str) -> OwnBase:
    own = own_network(pair(name)[1], name)
    return remember(make_base(own, name, (3, 16, 16), torch.full((3,), SCALE), torch.full((3,), SHIFT), None))


def whole(of: OwnBase) -> list[int]:
    return [group.channels for group in of.groups]


def student(of: OwnBase, widths=None, skipped=(), exits=()) -> EarlyExitNetwork:
    return blank(own_arch(of, widths or whole(of), skipped, exits)).eval()


def pixels(count: int = 4) -> torch.Tensor:
    return (images(count) * 40 + 128).clamp(0, 255).to(torch.uint8)


def prepared(given: torch.Tensor) -> torch.Tensor:
    return given.float() * SCALE + SHIFT


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_network_answers_bit_for_bit(name):
    head = "linear" if name == "transformer" else "gap"
    found = student(base(name), exits=[Exit(0, head), Exit(1, head)])
    with torch.no_grad():
        first, _, last = found(pixels())
        assert torch.equal(last, pair(name)[0](prepared(pixels())))
    assert first.shape == last.shape


def test_parameters_and_macs_of_a_narrow_network_are_those_of_a_hand_count():
    of = base("residual")  # 3 → 8, two blocks of 8 at 16×16; a block 8 → 16 and one of 16 at 8×8; 16 → 5
    assert whole(of) == [16, 16, 16], "what is 8 wide cannot lose 8"
    found = student(of, widths=[8, 8, 8])
    convs = [3 * 8 * 9] + [8 * 8 * 9] * 8 + [8 * 8]
    norms = 10 * 2 * 8
    assert sum(p.numel() for p in found.parameters()) == sum(convs) + norms + 8 * 5 + 5
    at = [256] + [256] * 4 + [64] * 5
    assert macs_per_exit(found)[-1] == sum(conv * side for conv, side in zip(convs, at, strict=True)) + 8 * 5
    assert exit_macs(found.arch) == macs_per_exit(found)


def test_the_channels_of_most_worth_stay_with_their_weights():
    of = base("residual")
    original = pair("residual")[0]
    inner = original.blocks[3]
    makes, reads = inner.conv1.weight.flatten(1), inner.conv2.weight.transpose(0, 1).flatten(1)
    worth = makes.norm(dim=1) ** 2 + reads.norm(dim=1) ** 2 + inner.bn1.weight.abs() ** 2
    found = student(of, widths=[16, 16, 8])
    layers = {name.rpartition(".net.")[2]: layer for name, layer in found.named_modules()}
    kept = layers["blocks.3.conv1"].weight
    rows = [next(i for i, row in enumerate(inner.conv1.weight) if torch.equal(row, mine)) for mine in kept]
    assert rows == sorted(worth.argsort(descending=True)[:8].tolist())
    assert torch.equal(layers["blocks.3.conv2"].weight, inner.conv2.weight[:, rows])
    assert torch.equal(layers["blocks.3.bn1"].running_var, inner.bn1.running_var[rows])


@pytest.mark.parametrize("name", ["residual", "inverted"])
def test_a_skipped_block_is_not_there(name):
    of, original = base(name), copy.deepcopy(pair(name)[0])
    body = original.blocks if name == "residual" else original.features
    residual = [n for n, block in enumerate(body) if getattr(block, "residual", getattr(block, "short", 0) is None)]
    assert len(of.skips) == len(residual)
    for number, block in enumerate(residual):
        without = copy.deepcopy(original)
        (without.blocks if name == "residual" else without.features)[block] = nn.Identity()
        found = student(of, skipped=[number])
        with torch.no_grad():
            assert torch.equal(found(pixels())[-1], without(prepared(pixels())))
        assert sum(p.numel() for p in found.parameters()) == sum(p.numel() for p in without.parameters())


def test_halves_of_a_transformer_block_can_be_skipped_and_its_mlp_narrowed():
    of, original = base("transformer"), copy.deepcopy(pair("transformer")[0])
    assert whole(of) == [48, 48], "heads and positions keep their channels"
    assert len(of.skips) == 4, "two attentions and two mlps; positions are no block"
    for block in original.blocks:
        block.attention = Zero()
    with torch.no_grad():
        found = student(of, skipped=[0, 2])(pixels())[-1]
        torch.testing.assert_close(found, original(prepared(pixels())))
    narrow = student(of, widths=[8, 24])
    assert sum(p.numel() for p in student(of).parameters()) - sum(p.numel() for p in narrow.parameters()) == (
        (40 + 24) * (24 + 1 + 24)
    )


class Zero(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


@pytest.mark.parametrize("name", NAMES)
def test_a_narrow_student_with_exits_can_be_trained_and_kept(name, tmp_path):
    of = base(name)
    head = "linear" if name == "transformer" else "conv"
    exits = [Exit(0, head), Exit(1, head)]
    found = student(of, [max(8, width // 2) for width in whole(of)], range(len(of.skips)), exits).train()
    logits, _ = found.forward_all(pixels())
    torch.stack(logits).sum().backward()
    assert all(p.grad is not None for p in found.parameters() if p.requires_grad)
    save_base(of, tmp_path)
    save_network(found, tmp_path / "students" / "a")
    again = load_network(tmp_path / "students" / "a" / "weights.safetensors").eval()
    assert again.arch == found.arch == Arch.from_dict(found.arch.to_dict())
    for mine, theirs in zip(found.eval()(pixels()), again(pixels()), strict=True):
        assert torch.equal(mine, theirs)
    cut = keep_exits(again, [1])
    assert torch.equal(cut.eval()(pixels())[0], again(pixels())[1])
    assert exit_macs(cut.arch)[0] < exit_macs(again.arch)[1], "the first head is gone"


def test_a_base_comes_back_from_its_run_and_from_another_process(tmp_path):
    of = base("inverted")
    save_base(of, tmp_path)
    assert OwnBase.load(*of.dump()).digest == of.digest
    assert pickle.loads(pickle.dumps(of)).digest == of.digest
    assert saved_base(tmp_path).digest == of.digest
    assert saved_base(tmp_path / "elsewhere") is None


def test_a_student_whose_network_is_elsewhere_is_refused():
    arch = own_arch(base("residual"), [16, 16, 16], [], [])
    unknown = Arch.from_dict({**arch.to_dict(), "own": {**arch.to_dict()["own"], "program": "0" * 16}})
    with pytest.raises(UserError, match="of your own 0000000000000000"):
        base_of(unknown.own.program)
    other = Arch.from_dict({**arch.to_dict(), "own": {**arch.to_dict()["own"], "widths": [16]}})
    with pytest.raises(ValueError, match="1 widths"):
        blank(other)


def test_a_damaged_base_is_noticed(tmp_path):
    save_base(base("dense"), tmp_path)
    text = (tmp_path / "own" / "network.json").read_text()
    (tmp_path / "own" / "network.json").write_text(text.replace(base("dense").digest, "f" * 16))
    with pytest.raises(UserError, match="is damaged"):
        saved_base(tmp_path)


def test_a_block_with_a_projection_is_none_that_can_be_skipped():
    assert [skip.place for skip in base("residual").skips] == ["blocks.0", "blocks.1", "blocks.3"]
    assert ResidualBlock(8, 16, 2).short is not None
