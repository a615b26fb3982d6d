"""`forward_all` and `forward_after` against forward hooks, the plain forward pass, and gradients of separate losses."""

import pytest
import torch
from torch import Tensor

from erde_nas.networks.arch import Exit
from erde_nas.networks.blocks import is_block
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.gradient_flow import GradientFlow
from erde_nas.networks.network import EarlyExitNetwork, hint_blocks, scale_gradient
from erde_nas.registry import FAMILIES
from tests.networks.builders import build

IMAGES = torch.randint(0, 256, (6, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def network(family: str, depths: tuple[int, ...], exits: tuple[int, ...]) -> EarlyExitNetwork:
    arch = make_arch(
        family,
        image_shape=(1, 16, 16),
        classes=5,
        stem=8,
        stages=[StageChoice(depth, 8 * (i + 1), 3, 2) for i, depth in enumerate(depths)],
        exits=[Exit(block, "gap") for block in exits],
    )
    return build(arch)


@pytest.mark.parametrize(
    ("depths", "exits", "expected"),
    [
        ((2, 2, 2), (5,), (1, 3, 5)),  # one exit: the end of every resolution
        ((2, 2, 2), (0, 3, 5), (0, 1, 3, 5)),
        ((4,), (1, 2, 3), (1, 2, 3)),
        ((1, 1, 1, 1), (3,), (0, 1, 2, 3)),
        ((3, 1), (0, 3), (0, 2, 3)),
    ],
)
def test_hint_blocks_by_hand(depths: tuple[int, ...], exits: tuple[int, ...], expected: tuple[int, ...]) -> None:
    made = network("resnet", depths, exits)
    assert made.hint_blocks == hint_blocks(made.arch) == expected


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("rescale", [False, True])
def test_features_are_what_hooks_on_the_blocks_see_and_logits_those_of_the_forward_pass(
    family: str, rescale: bool
) -> None:
    made, seen = network(family, (2, 3, 1), (0, 2, 5)), []
    blocks = [module for module in made.modules() if is_block(module)]
    assert len(blocks) == 6
    for block in blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    logits, features = made.forward_all(IMAGES, GradientFlow(rescaled=rescale))
    assert made.hint_blocks == (0, 1, 2, 4, 5)
    *features, read = features
    assert [x.shape[1] for x in features] == [made.arch.blocks[number].width for number in made.hint_blocks]
    assert torch.equal(read, made.parts[-1].head.features[0](features[-1]))  # a `gap` head starts with its norm
    assert len(seen) == 6
    for got, number in zip(features, made.hint_blocks, strict=True):
        assert torch.equal(got, seen[number])
    for got, expected in zip(logits, made(IMAGES), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_runs_after_a_block_is_the_tail_of_the_whole(family: str) -> None:
    """Of every hint block; where it is an exit's, that exit lies before it."""
    made = network(family, (2, 3, 1), (0, 2, 5))
    logits, features = made.forward_all(IMAGES)
    for position, block in enumerate(made.hint_blocks):
        tail_logits, tail_features = made.forward_after(block, features[position])
        behind = [out for out, exit_ in zip(logits, made.arch.exits, strict=True) if exit_.block > block]
        last = block == made.arch.exits[-1].block  # then nothing is left to run
        for tail, whole in ((tail_logits, behind), (tail_features, [] if last else features[position + 1 :])):
            assert len(tail) == len(whole)
            assert all(torch.equal(a, b) for a, b in zip(tail, whole, strict=True))


def test_a_scaled_gradient_leaves_the_value_as_it_is() -> None:
    x = torch.tensor([1.5, -2.0], requires_grad=True)
    y = scale_gradient(x, 0.25)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.75, -1.0]  # 0.25 · 2x


def gradients(loss: Tensor, made: EarlyExitNetwork) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(made.parameters()), allow_unused=True, retain_graph=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(made.named_parameters(), found, strict=True)
    }


def losses(made: EarlyExitNetwork, flow: GradientFlow, *, of_features: bool) -> list[Tensor]:
    """One loss per exit: on its logits, or on the features that belong to it."""
    logits, features = made.forward_all(IMAGES, flow)
    if not of_features:
        return [out.logsumexp(1).mean() * (number + 1) for number, out in enumerate(logits)]
    owners = [next(e for e, exit_ in enumerate(made.arch.exits) if exit_.block >= block) for block in made.hint_blocks]
    features = features[:-1]  # the last belongs to a head
    return [sum(x.square().mean() for x, o in zip(features, owners, strict=True) if o == e) for e in range(len(logits))]


@pytest.mark.parametrize("heads", [0.0, 0.3])
@pytest.mark.parametrize("rescaled", [False, True])
def test_the_trunk_gets_its_share_of_early_heads_gradients_and_heads_their_own(rescaled: bool, heads: float) -> None:
    made = network("resnet", (2, 2, 2), (0, 3, 5)).double()
    separate = [gradients(loss, made) for loss in losses(made, GradientFlow(), of_features=False)]
    together = gradients(sum(losses(made, GradientFlow(rescaled, heads), of_features=False)), made)
    for name, got in together.items():
        segment, part = int(name.split(".")[1]), name.split(".")[2]
        if part == "head":
            expected = sum(found[name] for found in separate)
        else:
            expected = heads * (separate[0][name] + separate[1][name]) + separate[2][name]
            expected = expected / (3 - segment if rescaled else 1)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
        assert got.any()


@pytest.mark.parametrize("of_features", [False, True])
def test_rescaled_gradients_are_the_mean_over_the_exits_behind(of_features: bool) -> None:
    """Segment n of L has L - n exits behind it. Exit e's loss comes back times 1/(L - e) and, at every exit k between
    them, times (L - k - 1)/(L - k): a product that telescopes to 1/(L - n). A head gets its own loss's gradient whole.
    """
    made = network("resnet", (2, 2, 2), (0, 3, 5)).double()
    exits = len(made.arch.exits)
    separate = [gradients(loss, made) for loss in losses(made, GradientFlow(), of_features=of_features)]
    together = gradients(sum(losses(made, GradientFlow(rescaled=True), of_features=of_features)), made)
    for name, got in together.items():
        segment, part = int(name.split(".")[1]), name.split(".")[2]
        total = sum(found[name] for found in separate)
        expected = total if part == "head" else total / (exits - segment)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
        assert got.any() or (of_features and part == "head")


def test_one_exit_has_nothing_to_rescale() -> None:
    made = network("mobilenet", (1, 2), (2,))
    plain, scaled = (gradients(losses(made, GradientFlow(r), of_features=False)[0], made) for r in (False, True))
    assert all(torch.equal(plain[name], scaled[name]) for name in plain)
