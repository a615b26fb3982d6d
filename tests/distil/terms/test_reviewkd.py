"""ReviewKD against numpy: the loss of two feature maps, one fusion, and the whole term with weights per sample."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from erde_nas.distil.step import Step
from erde_nas.distil.terms.reviewkd import ABF, ReviewKD, hcl
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.models import MODELS, model_arch

Array = NDArray[np.float64]
GENERATOR = np.random.default_rng(0)
BATCH = 4


def region_means(x: Array, side: int) -> Array:
    """(batch, channels, h, h) -> (batch, channels, side, side): means over regions that cover h pixels evenly."""
    size = x.shape[-1]
    edges = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    return np.array([[x[:, :, a:b, c:d].mean((2, 3)) for c, d in edges] for a, b in edges]).transpose(2, 3, 0, 1)


def numpy_hcl(student: Array, teacher: Array) -> Array:
    def mse(a: Array, b: Array) -> Array:
        return ((a - b) ** 2).reshape(len(a), -1).mean(1)

    sides = [side for side in (4, 2, 1) if side < student.shape[-1]]
    weights = [0.5**i for i in range(len(sides) + 1)]
    terms = [mse(student, teacher), *(mse(region_means(student, s), region_means(teacher, s)) for s in sides)]
    return sum(w * t for w, t in zip(weights, terms, strict=True)) / sum(weights)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 16])
def test_hcl_against_numpy(size: int) -> None:
    student, teacher = GENERATOR.normal(size=(2, BATCH, 3, size, size))
    got = hcl(torch.from_numpy(student), torch.from_numpy(teacher))
    np.testing.assert_allclose(got.numpy(), numpy_hcl(student, teacher), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_hcl_of_a_constant_difference_is_its_square(size: int) -> None:
    """Every region sees the same difference, and the weights of the regions' sizes sum to 1."""
    teacher = torch.randn(BATCH, 2, size, size, generator=torch.Generator().manual_seed(0))
    difference = torch.tensor([0.0, 1.0, -2.0, 0.5])
    got = hcl(teacher + difference.view(-1, 1, 1, 1), teacher)
    torch.testing.assert_close(got, difference.square(), rtol=1e-5, atol=1e-6)


def test_hcl_sees_more_of_what_is_spread_wide() -> None:
    """By hand for 2×2: a checkerboard is gone in the mean of all, so 1/1.5; a constant of the same size counts 1."""
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).view(1, 1, 2, 2)
    assert hcl(board, torch.zeros_like(board)).item() == pytest.approx(2 / 3)
    assert hcl(torch.ones_like(board), torch.zeros_like(board)).item() == pytest.approx(1.0)


def conv(x: Array, layer: nn.Conv2d) -> Array:
    """Stride 1, zeros around, so that the size stays."""
    weight, pad = layer.weight.detach().numpy(), layer.padding[0]
    k, size = weight.shape[-1], x.shape[-1]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = sum(
        np.einsum("oi,nihw->nohw", weight[:, :, a, b], x[:, :, a : a + size, b : b + size])
        for a in range(k)
        for b in range(k)
    )
    return out if layer.bias is None else out + layer.bias.detach().numpy()[:, None, None]


def normalise(x: Array, layer: nn.BatchNorm2d) -> Array:
    """By the batch's own statistics."""
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    scale, shift = (p.detach().numpy()[:, None, None] for p in (layer.weight, layer.bias))
    return (x - mean) / np.sqrt(var + layer.eps) * scale + shift


def nearest(x: Array, size: int) -> Array:
    index = np.arange(size) * x.shape[-1] // size
    return x[:, :, index][:, :, :, index]


def numpy_abf(module: ABF, x: Array, deeper: Array | None, size: int) -> tuple[Array, Array]:
    x = normalise(conv(x, module.reduce[0]), module.reduce[1])
    if deeper is not None:
        deeper = nearest(deeper, x.shape[-1])
        assert module.attention is not None
        maps = 1 / (1 + np.exp(-conv(np.concatenate([x, deeper], 1), module.attention[0])))
        x = x * maps[:, [0]] + deeper * maps[:, [1]]
    x = nearest(x, size)
    return normalise(conv(x, module.expand[0]), module.expand[1]), x


def randomised(module: nn.Module) -> nn.Module:
    """In double precision; no batch norm is an identity, no bias is 0."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.uniform_(-1, 1)
    return module


@pytest.mark.parametrize(("own", "below", "size"), [(4, 2, 4), (4, 1, 4), (2, 2, 4), (6, 3, 3), (3, 2, 5)])
def test_abf_against_numpy(own: int, below: int, size: int) -> None:
    module = randomised(ABF(3, 5, 2, fuses=True))
    assert isinstance(module, ABF)
    x, deeper = GENERATOR.normal(size=(BATCH, 3, own, own)), GENERATOR.normal(size=(BATCH, 5, below, below))
    got = module(torch.from_numpy(x), torch.from_numpy(deeper), size)
    for mine, expected in zip(got, numpy_abf(module, x, deeper, size), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def arch(widths: Sequence[int], depths: Sequence[int], exits: Sequence[int]) -> Arch:
    stages = [StageChoice(depth, width) for depth, width in zip(depths, widths, strict=True)]
    heads = [Exit(block, "gap") for block in exits]
    return make_arch("resnet", image_shape=(1, 8, 8), classes=3, stem=8, stages=stages, exits=heads)


STUDENT = arch((8, 24), (2, 1), (0, 2))  # hint points 0, 1 and 2: 8, 8 and 24 channels at 8, 8 and 4 pixels
TEACHER = arch((16, 16, 32), (1, 1, 1), (2,))  # 16, 16 and 32 channels at 8, 4 and 2 pixels
MINE, THEIRS = ((8, 8), (8, 8), (24, 4), (24, 4)), ((16, 8), (16, 4), (32, 2), (32, 2))  # the last: before a ReLU
MATCH = (0, 1, 2)  # depths 1/4, 1/2, 1 among 1/3, 2/3, 1


def draw(shapes: Sequence[tuple[int, int]]) -> list[Array]:
    return [GENERATOR.normal(size=(BATCH, channels, size, size)) for channels, size in shapes]


def make_step(mine: list[Array], theirs: list[Array], done: float) -> Step:
    features = [[torch.from_numpy(x) for x in side] for side in (mine, theirs)]
    logits = torch.zeros(2, BATCH, 3, dtype=torch.float64)
    return Step(logits, torch.zeros(BATCH, dtype=torch.long), logits, done, *features)


def test_the_term_against_numpy() -> None:
    """Fused from the deepest level on; the first exit has the first hint point, the last one the rest."""
    term = randomised(ReviewKD(STUDENT, TEACHER))
    assert isinstance(term, ReviewKD)
    assert term.hints.teacher == MATCH
    mine, theirs = draw(MINE), draw(THEIRS)
    weight = GENERATOR.uniform(0, 2, (2, BATCH))
    targets = [theirs[j] for j in MATCH]
    read, target = (np.maximum(side[-1], 0).mean((2, 3), keepdims=True) for side in (mine, theirs))
    fused, deeper = numpy_abf(term.deepest, read, None, 1)
    levels = [numpy_hcl(fused, target)]
    for x, target, level in zip(mine[-2::-1], targets[::-1], reversed(list(term.levels)), strict=True):
        assert isinstance(level, ABF)
        fused, deeper = numpy_abf(level, x, deeper, target.shape[-1])
        levels.append(numpy_hcl(fused, target))  # deepest first
    expected = [(weight[0] * levels[3]).mean(), (weight[1] * (levels[0] + levels[1] + levels[2])).mean()]
    got = term(make_step(mine, theirs, done=1.0), torch.from_numpy(weight))
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-5)  # the loss itself is in single precision


def test_one_exit_has_the_paper_s_levels() -> None:
    """Three stages and what the classifier reads, fused in as many channels as the last has, 512 at most."""
    term = ReviewKD(arch((8, 16, 24), (1, 1, 1), (2,)), arch((16, 32, 64), (2, 3, 2), (1, 4, 6)))
    levels = [*term.levels, term.deepest]
    shapes = [
        (level.reduce[0].in_channels, level.expand[0].out_channels, level.reduce[0].out_channels) for level in levels
    ]
    assert shapes == [(8, 16, 24), (16, 32, 24), (24, 64, 24), (24, 64, 24)]
    assert [level.attention is not None for level in levels] == [True, True, True, False]
    assert term.hints.exits == (0, 0, 0)
    wide = ReviewKD(arch((8, 1024), (1, 1), (1,)), TEACHER)
    assert wide.deepest.reduce[0].out_channels == 512


def test_the_weight_rises_over_the_first_twelfth_of_the_training() -> None:
    term = ReviewKD(STUDENT, TEACHER).double()
    mine, theirs, weight = draw(MINE), draw(THEIRS), torch.ones(2, BATCH).double()
    values = [term(make_step(mine, theirs, done), weight) for done in (0.0, 1 / 24, 1 / 12, 1.0)]
    assert not values[0].any()
    torch.testing.assert_close(values[1], 0.5 * values[3])
    torch.testing.assert_close(values[2], values[3])


def test_an_exit_without_weight_teaches_nothing() -> None:
    term = ReviewKD(STUDENT, TEACHER).double()
    step = make_step(draw(MINE), draw(THEIRS), done=1.0)
    for x in step.student_features:
        x.requires_grad_()
    weight = torch.tensor([[0.0], [1.0]]).double().expand(2, BATCH)
    loss = term(step, weight)
    assert loss[0] == 0
    assert loss[1] > 0
    first, *rest = torch.autograd.grad(loss.sum(), step.student_features)
    assert not first.any()
    assert all(gradient.any() for gradient in rest)
    silent = torch.autograd.grad(term(step, 0 * weight).sum(), [*step.student_features, *term.deepest.parameters()])
    assert not any(gradient.any() for gradient in silent)


def test_shallow_levels_of_the_teacher_teach_deep_ones_of_the_student() -> None:
    """The review: the loss of the first hint point reaches the features behind it, too."""
    term = ReviewKD(STUDENT, TEACHER).double()
    step = make_step(draw(MINE), draw(THEIRS), done=1.0)
    for x in step.student_features:
        x.requires_grad_()
    weight = torch.tensor([[1.0], [0.0]]).double().expand(2, BATCH)
    assert all(g.any() for g in torch.autograd.grad(term(step, weight).sum(), step.student_features))


PUBLISHED = {  # channels of the student's levels, of the teacher's, and of where they are fused
    ("resnet32x4", "resnet8x4"): ([64, 128, 256, 256], [64, 128, 256, 256], 256),
    ("wrn-40-2", "wrn-40-1"): ([16, 32, 64, 64], [32, 64, 128, 128], 64),
    ("vgg13", "vgg8"): ([128, 256, 512, 512, 512], [128, 256, 512, 512, 512], 512),
    ("vgg13", "mobilenetv2"): ([12, 16, 48, 160, 1280], [128, 256, 512, 512, 512], 512),
    ("resnet50", "mobilenetv2"): ([12, 16, 48, 160, 1280], [256, 512, 1024, 2048, 2048], 512),
    ("resnet32x4", "shufflenetv2"): ([116, 232, 464, 1024], [64, 128, 256, 256], 512),
}


@pytest.mark.parametrize(("teacher", "student"), PUBLISHED)
def test_published_pairs_have_the_published_levels(teacher: str, student: str) -> None:
    """The channels in the authors' table of pairs."""
    small, large = (
        model_arch(MODELS[name], image_shape=(3, 32, 32), classes=100, early=(), head="gap")
        for name in (student, teacher)
    )
    with torch.device("meta"):
        term = ReviewKD(small, large)
    levels = [*term.levels, term.deepest]
    own, theirs, middle = PUBLISHED[teacher, student]
    assert [level.reduce[0].in_channels for level in levels] == own
    assert [level.expand[0].out_channels for level in levels] == theirs
    assert {level.reduce[0].out_channels for level in levels} == {middle}
